"""One export of a tiny model for each format, which the tests share."""

from dataclasses import replace
from pathlib import Path

import pytest
from exporting import export, use_onnx_of

from morphmlp.checkpoints.folder import rewrite_info


@pytest.fixture(scope="session")
def calibrated(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny classifier with a temperature, and a threshold that some answers do not reach."""
    folder = tmp_path_factory.mktemp("calibrated") / "tiny"
    rewrite_info(checkpoint, lambda info: replace(info, temperature=2.0, threshold=0.32), out=folder)
    return folder


@pytest.fixture(scope="session")
def onnx_folder(calibrated: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    return export(calibrated, data, tmp_path_factory.mktemp("exported") / "onnx", "--format", "onnx")


@pytest.fixture(scope="session")
def openvino_folder(onnx_folder: Path, calibrated: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("openvino")
    with pytest.MonkeyPatch.context() as patch:
        use_onnx_of(onnx_folder, patch)
        return export(calibrated, data, tmp_path_factory.mktemp("exported") / "openvino", "--format", "openvino")


@pytest.fixture(scope="session")
def torch_folder(calibrated: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(calibrated, data, tmp_path_factory.mktemp("exported") / "torch", "--format", "torch")


@pytest.fixture(scope="session", params=["onnx", "openvino", "torch"])
def exported(request: pytest.FixtureRequest) -> Path:
    """The calibrated classifier, in each format."""
    return request.getfixturevalue(f"{request.param}_folder")
