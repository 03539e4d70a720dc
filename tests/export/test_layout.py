"""The graph that is exported: its outputs, how often it transposes, and the rank of its tensors."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_values import fill_model
from torch import Tensor

from morphmlp.export import formats
from morphmlp.export.formats import quiet, write_onnx_file
from morphmlp.export.layout import ChannelMajorChunkFC, for_engines
from morphmlp.models.morphfc import ChunkFC
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.zoo import create_model

MOST_DIMENSIONS = 5  # what CoreML and others take


@given(
    num_tokens=st.integers(1, 30),
    chunk_length=st.integers(1, 20),
    width=st.sampled_from([4, 6, 7, 12, 30]),
    strided=st.booleans(),
    along=st.sampled_from([1, 2, -2]),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_channel_major_chunks_give_the_same_outputs(num_tokens, chunk_length, width, strided, along):
    layer = ChunkFC(width, chunk_length, strided=strided).double()
    fill_model(layer)
    shape = [2, 3, 2, width]
    shape[along] = num_tokens
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(ChannelMajorChunkFC(layer)(x, dim=along), layer(x, dim=along), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ["morphmlp_video_nano", "morphmlp_image_nano"])
@torch.no_grad()
def test_the_model_that_is_exported_gives_the_same_outputs_and_leaves_the_model_as_it_is(name):
    model = create_model(name, num_classes=5).eval()
    fill_model(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    frames = (model.config.frames,) if model.config.temporal else ()
    clips = torch.randn(2, 3, *frames, 64, 96, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(for_engines(model)(clips), model(clips), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_what_bench_times_is_the_form_that_is_exported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    saved: list[Any] = []
    monkeypatch.setattr(formats, "_save_onnx", lambda program, path, outputs: saved.append(program))
    write_onnx_file(MorphMLP(tiny.model_config(3)).eval(), torch.zeros(2, 3, 4, 32, 32), tmp_path / "model.onnx")
    assert any(name.endswith("horizontal.weight") for name in saved[0].graph_signature.inputs_to_parameters.values())


# Two for the chunks of each layer. Where a chunk spans two columns, those come first, and go back: of x, of the output,
# and of the mean. Stage 4 has one spatial branch, and its mean reads a chunk slot by slot.
@pytest.mark.parametrize(
    ("stage", "map_size", "expected"), [(0, 2, 6), (1, 1, 6), (2, 0.5, 9), (3, 1, 5)], ids=["1", "2", "3", "4"]
)
def test_a_block_has_few_transposes_and_no_tensor_of_more_than_five_dimensions(
    stage: int, map_size: float, expected: int, tmp_path: Path
):
    pytest.importorskip("onnxscript")
    graph = optimized_graph(stage, map_size, tmp_path)
    assert sum(node.op_type == "Transpose" for node in graph.node) == expected
    assert max(len(value.type.tensor_type.shape.dim) for value in graph.value_info) <= MOST_DIMENSIONS


def optimized_graph(stage: int, map_size: float, folder: Path) -> Any:
    """The first block of a stage, on a map as wide as so many chunks are long, as ONNX Runtime runs it."""
    import onnx
    import onnxruntime

    model = for_engines(create_model("morphmlp_video_nano", num_classes=5, frames=4)).eval()
    length, width = model.config.chunk_lengths[stage], model.config.widths[stage]
    side = round(length**0.5) if stage == 3 else round(map_size * length)
    x: Tensor = torch.zeros(2, model.config.num_steps, side, side, width)
    batch = ({0: torch.export.Dim("batch", min=1, max=64)},)
    with quiet(), torch.no_grad():
        program = torch.export.export(model.blocks()[stage][0], (x,), dynamic_shapes=batch, strict=False)
        exported = torch.onnx.export(program, dynamo=True, opset_version=20)
    assert exported is not None
    exported.save(folder / "block.onnx")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(folder / "optimized.onnx"), 3
    onnxruntime.InferenceSession(folder / "block.onnx", options, providers=["CPUExecutionProvider"])
    return onnx.shape_inference.infer_shapes(onnx.load(folder / "optimized.onnx")).graph
