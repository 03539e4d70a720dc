"""int8 after training: products of 8-bit numbers, whose scales come from real clips."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from morphmlp.export.formats import INPUT_NAME, quiet, read_openvino, save_openvino
from morphmlp.inference.runtimes import FEATURES, require_package

QUANTIZED_OPS = ["MatMul", "Gemm", "Conv"]


def quantize_onnx(source: Path, folder: Path, clips: Sequence[np.ndarray]) -> None:
    """Static quantisation by ONNX Runtime, in its QDQ form: weights by channel, activations by tensor.

    Args:
        source: the folder of the model in float32.
        clips: `[1, 3, ...]` each, for the scales.
    """
    onnx = require_package("onnx", why="--precision int8 of --format onnx")
    require_package("onnxruntime", why="--precision int8 of --format onnx")
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Clips(CalibrationDataReader):
        def __init__(self) -> None:
            self._clips: Iterator[np.ndarray] = iter(clips)

        def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
            clip = next(self._clips, None)
            return None if clip is None else {INPUT_NAME: clip}

    # As an output, the features would be rounded to 8 bits, and keep the head out of them.
    model = onnx.load(source / "model.onnx")
    features = [output for output in model.graph.output if output.name == FEATURES]
    for output in features:
        model.graph.output.remove(output)
    path = folder / "model.onnx"
    with quiet():
        quantize_static(
            model,
            str(path),
            Clips(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=QUANTIZED_OPS,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
    quantized = onnx.load(path)
    quantized.graph.output.extend(features)
    onnx.save(quantized, path)


def quantize_openvino(source: Path, folder: Path, clips: Sequence[np.ndarray]) -> None:
    """Quantisation by NNCF, in its preset for transformers, whose LayerNorms and GELUs the model has too."""
    nncf = require_package("nncf", why="--precision int8 of --format openvino")
    model: Any = read_openvino(source / "model.xml")
    with quiet():
        quantized = nncf.quantize(
            model, nncf.Dataset(list(clips)), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(clips)
        )
    save_openvino(quantized, folder, "int8")


QUANTIZERS = {"onnx": quantize_onnx, "openvino": quantize_openvino}
