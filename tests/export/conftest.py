"""One export of a tiny model for each format, which the tests share."""

from pathlib import Path

import pytest
import tiny

FORMATS = ("onnx", "openvino", "torch")


@pytest.fixture(scope="session", params=FORMATS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny classifier, in each format."""
    return export(
        request.getfixturevalue("checkpoint"), request.getfixturevalue("data"), request.param, tmp_path_factory
    )


_DONE: dict[str, Path] = {}


def export(checkpoint: Path, data: Path, format: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if format not in _DONE:
        pytest.importorskip({"onnx": "onnxscript", "openvino": "openvino", "torch": "torch"}[format])
        out = tmp_path_factory.mktemp("exported") / format
        result = tiny.run_command("export", checkpoint, out, "--format", format, "--data", data / "val")
        assert result.returncode == 0, result.stderr
        _DONE[format] = out
    return _DONE[format]


@pytest.fixture
def onnx_folder(checkpoint: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(checkpoint, data, "onnx", tmp_path_factory)
