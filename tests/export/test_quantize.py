"""int8 by NNCF: what it goes by, and which layers go back to float32."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny

from morphmlp.errors import UserError
from morphmlp.export.quantize import agreement_with_checkpoint, quantize_openvino
from morphmlp.inference.runtimes import openvino_core


def test_the_share_of_clips_with_the_checkpoint_s_class_counts_and_then_its_probability():
    even, sure = np.zeros((1, 2)), np.log([[0.25, 0.75]])
    items = [(even, np.array([0])), (sure, np.array([1])), (sure, np.array([0]))]
    agreement, of_each = agreement_with_checkpoint(lambda clips: [clips[0]], items)
    assert of_each == pytest.approx([1 + 0.5e-6, 1 + 0.75e-6, 0.25e-6], rel=1e-12)
    assert agreement == pytest.approx(2 / 3 + 0.5e-6, rel=1e-12)


def test_of_pixels_each_counts():
    logits = np.array([[[[2.0, 0.0]], [[0.0, 2.0]]]])  # [1, classes, H, W]: two pixels of two classes
    (_, (share,)) = agreement_with_checkpoint(lambda clips: [clips[0]], [(logits, np.array([[[0, 0]]]))])
    assert share == pytest.approx(0.5, abs=2e-6)


@pytest.mark.parametrize(("max_drop", "in_int8"), [(1.0, 2), (0.0, 1)])
def test_the_layer_that_8_bits_break_goes_back_to_float32_and_only_where_too_many_clips_change(
    tmp_path: Path, max_drop: float, in_int8: int
):
    """The first layer takes the difference of two large numbers, which differ by less than a step of 8 bits."""
    pytest.importorskip("nncf", reason="nncf is not installed: pip install 'morphmlp[int8]'")
    import openvino
    from openvino import opset13 as ops

    clips = ops.parameter([1, 2], np.float32, name="clips")
    difference = ops.matmul(clips, ops.constant(np.array([[1, -1], [-1, 1]], np.float32)), False, False)
    logits = ops.matmul(difference, ops.constant(np.array([[2, 1], [1, 2]], np.float32)), False, False)
    openvino.save_model(openvino.Model([logits], [clips], "small"), tmp_path / "model.xml", compress_to_fp16=False)
    given = [np.array([[100 + sign * 0.1, 100]], np.float32) for sign in (1, -1) * 4]
    best = [np.array([0 if clip[0, 0] > 100 else 1]) for clip in given]
    (tmp_path / "int8").mkdir()
    told: list[str] = []
    openvino_core()
    before = tiny.signal_stack()
    counts = quantize_openvino(tmp_path, tmp_path / "int8", given, best=best, max_drop=max_drop, stage=told.append)
    assert tiny.signal_stack() == before  # not one that NNCF's cores have freed, see `openvino_core`
    assert counts == {"products": 2, "products_in_int8": in_int8}
    assert len(told) == (in_int8 == 1)
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compute = openvino_core().compile_model(tmp_path / "int8" / "model.xml", "CPU", hint)
    agreement, _ = agreement_with_checkpoint(compute, zip(given, best, strict=True))
    assert (agreement >= 1) == (in_int8 == 1)


def test_an_int8_export_without_nncf_names_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(UserError, match="needs nncf: pip install nncf"):
        quantize_openvino(tmp_path, tmp_path, [], best=[], max_drop=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_int8_holds_the_classes_of_most_clips(checkpoint: Path, data: Path, tmp_path: Path, format: str):
    if format == "openvino":
        pytest.importorskip("nncf", reason="nncf is not installed: pip install 'morphmlp[int8]'")
    options = ["--format", format, "--precision", "int8", "--data", data / "train", "--max-drop", "0.3"]
    result = tiny.run_command("export", checkpoint, tmp_path / "out", *options)
    assert result.returncode == 0, result.stderr
    export = json.loads((tmp_path / "out" / "config.json").read_text())["export"]
    assert export["precision"] == "int8"
    if format == "openvino":
        assert 0 < export["products_in_int8"] <= export["products"]
        assert f"{export['products_in_int8']} of {export['products']} products are in int8" in result.stdout
