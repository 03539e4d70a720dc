"""Models that `bench` times outside PyTorch: what is compared, and what `--engine auto` reads of it; never a time."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import nn

from morphmlp.analysis.bench.bench import bench, input_for
from morphmlp.analysis.bench.candidates import Subject
from morphmlp.analysis.bench.engines import engine_candidates, speeds_of
from morphmlp.analysis.bench.report import report_tables
from morphmlp.analysis.bench.timing import Machine
from morphmlp.analysis.bench.torchvision_models import Published, Reference
from morphmlp.export.formats import save_openvino
from morphmlp.inference.runtimes import OPENERS, ExportInfo, Runtime
from morphmlp.models.morphmlp import MorphMLP

MACHINE = Machine("some processor", 2, 1, "2.0", "cpu", None, {"fp32": 100.0, "bf16": 200.0}, 10.0)


@pytest.fixture(autouse=True)
def _instant(monkeypatch: pytest.MonkeyPatch):
    """No peaks are measured, and no model is optimized."""
    monkeypatch.setattr("morphmlp.analysis.bench.bench.describe_machine", lambda device: MACHINE)
    monkeypatch.setattr("morphmlp.analysis.bench.candidates.optimize", lambda model, dtype="bf16", compile=False: model)


def write_mean(model: nn.Module, clips: torch.Tensor, path: Path) -> None:
    """In the place of PyTorch's exporter, which takes 15 s: a graph whose logits are the means of the channels."""
    onnx = pytest.importorskip("onnx")
    kind, shape = onnx.TensorProto.FLOAT, ["batch", *clips.shape[1:]]
    values = [
        onnx.helper.make_tensor_value_info("clips", kind, shape),
        onnx.helper.make_tensor_value_info("logits", kind, shape[:2]),
    ]
    axes = onnx.helper.make_tensor("axes", onnx.TensorProto.INT64, [len(shape) - 2], list(range(2, len(shape))))
    node = onnx.helper.make_node("ReduceMean", ["clips", "axes"], ["logits"], keepdims=0)
    graph = onnx.helper.make_graph([node], "mean", values[:1], values[1:], [axes])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10), path)


@pytest.fixture
def _quick_export(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("morphmlp.analysis.bench.engines.write_onnx_file", write_mean)


@pytest.mark.usefixtures("_quick_export")
def test_every_model_is_timed_in_every_engine_in_the_same_turns():
    def build() -> nn.Module:
        return nn.Sequential(nn.Conv3d(3, 3, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten())

    model = MorphMLP(tiny.model_config(3)).eval()
    fed, engines = input_for(model, batch=2, size=32), ["onnxruntime", "openvino"]
    other = Reference("other", build, Published(50.0, 4, 1))
    measured = bench(model, fed, against=[other], engines=engines, turns=1)
    elsewhere = ["fp32, onnxruntime", "fp32, openvino", "bf16, openvino"]
    own = [row for row in measured.rows if row.model == model.config.name]
    assert [row.setting for row in own] == ["fp32", "fp32, optimized", "bf16, optimized", "bf16 autocast", *elsewhere]
    assert [row.setting for row in measured.rows if row.model == "other"][-3:] == elsewhere
    timed = {row.setting: row for row in own if row.refused is None}
    assert all(timed[setting].export_s for setting in timed if setting in elsewhere)
    assert timed["fp32, openvino"].largest_difference is not None
    found = {row.precision: row for row in speeds_of(model, fed, measured.rows, source="a test")}
    assert set(found["fp32"].ms) == {"torch", "optimized", "onnxruntime", "openvino"}
    assert found["fp32"].ms["torch"] == pytest.approx(1000 * timed["fp32"].median_s / 2, abs=1e-4)
    assert found["bf16"].ms["torch"] == pytest.approx(1000 * timed["bf16 autocast"].median_s / 2, abs=1e-4)
    assert set(found["fp32"].export_s) == {"onnxruntime", "openvino"}
    assert (found["fp32"].batch, found["fp32"].source) == (2, "a test")


def test_a_model_that_cannot_be_exported_is_a_row_that_says_so(monkeypatch: pytest.MonkeyPatch):
    def fail(*arguments: Any) -> None:
        raise AttributeError("no such operator\nand a page of graph")

    monkeypatch.setattr("morphmlp.analysis.bench.engines.write_onnx_file", fail)
    model = MorphMLP(tiny.model_config(3)).eval()
    fed = input_for(model, batch=1, size=32)
    rows = bench(model, fed, engines=["openvino"], turns=1).rows
    assert [row.refused for row in rows[-2:]] == ["cannot be exported: no such operator"] * 2
    assert set(speeds_of(model, fed, rows, source="")[0].ms) == {"torch", "optimized"}


@pytest.mark.usefixtures("_quick_export")
def test_openvino_traces_a_model_whose_onnx_file_it_cannot_read(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("openvino")

    def fail(path: Path) -> Any:
        raise Exception("Model wasn't fully converted")

    def save(model: Any, folder: Path, precision: str) -> None:
        shapes.append(model.input(0).get_partial_shape())
        save_openvino(model, folder, precision)

    shapes: list[Any] = []
    monkeypatch.setattr("morphmlp.analysis.bench.engines.read_openvino", fail)
    monkeypatch.setattr("morphmlp.analysis.bench.engines.save_openvino", save)
    other = nn.Sequential(nn.Conv3d(3, 3, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten()).eval()
    clips = torch.randn(1, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    fp32 = engine_candidates(other, Subject("other", 1, None), clips, ["openvino"])[0]
    assert fp32.agreement is not None
    assert fp32.agreement().largest_difference < 1e-5  # it is the model, not the means that stand for its ONNX file
    # As of an ONNX file, or the comparison is not fair: of any batch and one size, so that it is compiled for parts.
    assert [str(shape) for shape in shapes] == ["[?,3,4,8,8]"]
    with pytest.raises(Exception, match="wasn't fully converted"):  # ours is timed as `export` makes it, or not at all
        engine_candidates(MorphMLP(tiny.model_config(3)).eval(), Subject("ours", 1, None), clips, ["openvino"])


def test_an_exported_model_is_timed_as_it_is(tmp_path: Path):
    config = tiny.model_config(3)
    clips = torch.zeros(1, 3, 4, 32, 32)
    write_mean(MorphMLP(config), clips, tmp_path / "model.onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    info = ExportInfo("onnx", "int8", {}, 32, 32)
    runtime = Runtime(tmp_path, config, info, OPENERS["onnx"](onnxruntime, tmp_path, info))
    measured = bench(runtime, input_for(runtime, batch=1, size=32), turns=1)
    (row,) = measured.rows
    assert (row.setting, row.ratio, row.share_of_peak) == ("int8, onnxruntime", 1.0, None)  # no peak of int8 is known
    assert len(report_tables(measured)) == 2  # a share that is not known is left empty
