"""The `config.pbtxt` of an ONNX export, for NVIDIA's Triton Inference Server."""

from pathlib import Path

from morphmlp.config import ModelConfig
from morphmlp.export.formats import INPUT_NAME, Shape
from morphmlp.inference.runtimes import OUTPUTS

MOST_CLIPS_A_BATCH = 32


def write_triton(folder: Path, model: ModelConfig, shape: Shape, *, name: str) -> None:
    """Writes `config.pbtxt`: float32 clips without the batch, which Triton adds, and batches made as requests come."""
    size = [-1, -1] if shape.any_size else [shape.height, shape.width]
    given = [3, *([model.frames] if model.temporal else []), *size]
    masks = model.task == "segmentation"
    shapes = [[model.num_classes, *size]] if masks else [[model.num_classes], [model.map_widths[-1]]]
    given_back = [
        f'{{ name: "{output}", data_type: TYPE_FP32, dims: {dims} }}'
        for output, dims in zip(OUTPUTS, shapes, strict=False)
    ]
    text = f"""name: "{name}"
backend: "onnxruntime"
default_model_filename: "model.onnx"
max_batch_size: {MOST_CLIPS_A_BATCH}
input [ {{ name: "{INPUT_NAME}", data_type: TYPE_FP32, dims: {given} }} ]
output [ {", ".join(given_back)} ]
dynamic_batching {{ }}
"""
    (folder / "config.pbtxt").write_text(text, encoding="utf-8")
