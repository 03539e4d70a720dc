"""What the engines of exported models leave behind in their process."""

import subprocess
import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from morphmlp.inference.runtimes import OPENERS, ExportInfo

TWO_MODELS = """
import signal, sys
from pathlib import Path

import numpy as np
import openvino
from openvino import opset13 as ops

from morphmlp.inference.runtimes import OPENERS, ExportInfo

folder = Path(sys.argv[1])
clips = ops.parameter([1, 2], np.float32, name="clips")
openvino.save_model(openvino.Model([ops.relu(clips)], [clips]), folder / "model.xml")
signal.signal(signal.SIGTERM, lambda number, frame: print("handled"))
info = ExportInfo("openvino", "fp32", {}, None, None)
first, second = (OPENERS["openvino"](openvino, folder, info) for _ in range(2))
print(second(np.array([[-1, 2]], np.float32)).tolist())
del first
del second
signal.raise_signal(signal.SIGTERM)
"""


def test_a_signal_is_handled_after_two_models_of_openvino(tmp_path):
    pytest.importorskip("openvino")
    ended = subprocess.run([sys.executable, "-c", TWO_MODELS, tmp_path], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout.splitlines()) == (0, ["[[0.0, 2.0]]", "handled"]), ended.stderr


def test_threads_of_onnx_runtime_rest_between_two_runs(tmp_path):
    onnxruntime, given = pytest.importorskip("onnxruntime"), []
    engine = SimpleNamespace(
        SessionOptions=onnxruntime.SessionOptions,
        InferenceSession=lambda path, options, providers: given.append(options) or MagicMock(),
    )
    OPENERS["onnx"](engine, tmp_path, ExportInfo("onnx", "fp32", {}, 32, 32))
    assert given[0].get_session_config_entry("session.intra_op.allow_spinning") == "0"
