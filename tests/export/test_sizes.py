"""Exports for any height and width: `--dynamic-size`."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from exporting import export

from morphmlp import load
from morphmlp.errors import ConfigError
from morphmlp.export.formats import Shape, write_torch
from morphmlp.export.sizes import for_any_size
from morphmlp.inference.runtimes import OPENERS, ExportInfo, load_runtime
from morphmlp.models.morphmlp import MorphMLP


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (96, 32), (160, 128)])
def test_the_model_that_is_exported_for_any_size_gives_the_same_outputs(checkpoint: Path, size: tuple[int, int]):
    model, clips = load(checkpoint), torch.randn(2, 3, 4, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(for_any_size(model)(clips), model(clips), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "openvino", "torch"])
def test_an_export_for_any_size_takes_all_multiples_of_32_px(checkpoint: Path, data: Path, tmp_path: Path, format: str):
    export(checkpoint, data, tmp_path / "out", "--format", format, "--dynamic-size")
    runtime, model = load_runtime(tmp_path / "out"), load(checkpoint)
    for size in ((64, 64), (96, 64), (64, 160), (128, 128)):
        clips = np.random.default_rng(0).standard_normal((3, 3, 4, *size), dtype=np.float32)
        with torch.no_grad():
            np.testing.assert_allclose(runtime.logits(clips), model(torch.from_numpy(clips)).numpy(), atol=2e-5)
    with pytest.raises(ConfigError, match=r"exported for 3 x 4 x any x any; any is a multiple of 32 px from 64 px on"):
        runtime.logits(np.zeros((1, 3, 4, 64, 80), np.float32))


def test_torch_takes_sizes_whose_chunks_need_padding_from_a_graph_made_without(tmp_path: Path):
    config = tiny.model_config(3, temporal=False, frames=1, chunk_lengths=(4, 8, 8, 4))
    model, info = MorphMLP(config).eval(), ExportInfo("torch", "fp32", {}, None, None)
    write_torch(model, tmp_path, Shape(64, 64, any_size=True), "fp32")
    compute = OPENERS["torch"](torch, tmp_path, info)
    for size in ((64, 64), (96, 96), (64, 160)):
        images = np.random.default_rng(0).standard_normal((2, 3, *size), dtype=np.float32)
        with torch.no_grad():
            np.testing.assert_allclose(compute(images), model(torch.from_numpy(images)).numpy(), atol=2e-5)
