"""Exports of tests, which share the ONNX file of one model."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny

from morphmlp.export import formats


def use_onnx_of(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Lets `export` take the ONNX file of an earlier export of the same model: PyTorch's exporter takes 15 s."""

    def copy(model: Any, out: Path, *arguments: Any) -> dict[str, Any]:
        shutil.copy(folder / "model.onnx", out)
        return {"opset": formats.OPSET}

    patch.setattr(formats, "write_onnx", copy)
    patch.setitem(formats.FORMATS, "onnx", copy)


def export(checkpoint: Path, data: Path, out: Path, *options: object) -> Path:
    result = tiny.run_command("export", checkpoint, out, "--data", data / "val", *options)
    assert result.returncode == 0, result.stderr
    return out
