"""Exports of tests, which share the ONNX file of one model, and processes that use them without torch."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny

from morphmlp.export import formats

ABSENT = ("torch", "torchvision", "timm", "accelerate", "matplotlib")
WITHOUT_TORCH = """
import json, sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in json.loads(sys.argv[2]):
            raise ModuleNotFoundError(f"no {name} here", name=name)

sys.meta_path.insert(0, Refuse())
from morphmlp import cli
results = []
for arguments in json.loads(sys.argv[1]):
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        status = cli.main(arguments)
    results.append((status, out.getvalue(), err.getvalue()))
print(json.dumps(results))
"""


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


def without_torch(*commands: list[Any]) -> list[tuple[int, str, str]]:
    """Status, output and errors of each command, in one process that has neither torch nor matplotlib."""
    texts = json.dumps([list(map(str, command)) for command in commands])
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, texts, json.dumps(ABSENT)],
        capture_output=True,
        text=True,
        env=tiny.environment(),
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)
