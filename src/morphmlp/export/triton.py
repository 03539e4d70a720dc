"""The `config.pbtxt` of an ONNX export, for NVIDIA's Triton Inference Server."""

from pathlib import Path

from morphmlp.config import ModelConfig
from morphmlp.export.formats import INPUT_NAME, OUTPUT_NAME, Shape

MOST_CLIPS_A_BATCH = 32


def write_triton(folder: Path, model: ModelConfig, shape: Shape, *, name: str) -> None:
    """Writes `config.pbtxt`: float32 clips without the batch, which Triton adds, and batches made as requests come."""
    size = [-1, -1] if shape.any_size else [shape.height, shape.width]
    given = [3, *([model.frames] if model.temporal else []), *size]
    answer = [model.num_classes, *(size if model.task == "segmentation" else [])]
    text = f"""name: "{name}"
backend: "onnxruntime"
default_model_filename: "model.onnx"
max_batch_size: {MOST_CLIPS_A_BATCH}
input [ {{ name: "{INPUT_NAME}", data_type: TYPE_FP32, dims: {given} }} ]
output [ {{ name: "{OUTPUT_NAME}", data_type: TYPE_FP32, dims: {answer} }} ]
dynamic_batching {{ }}
"""
    (folder / "config.pbtxt").write_text(text, encoding="utf-8")
