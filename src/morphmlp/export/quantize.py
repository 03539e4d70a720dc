"""int8 after training: products of 8-bit numbers, whose scales come from real clips."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from morphmlp.export.formats import INPUT_NAME, quiet, read_openvino, save_openvino
from morphmlp.inference.runtimes import FEATURES, require_package
from morphmlp.system import noted_signal_stack

QUANTIZED_OPS = ["MatMul", "Gemm", "Conv"]
RANKING_CLIPS = 16  # of those that lose most: by them NNCF ranks layers, for each of which it compiles a model
TIE_BREAK = 1e-6
CALLS_BEFORE_TRYING = 3  # on the first clip alone, and on all: in float32, and in int8
TELL_EVERY_S = 30.0


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


def quantize_openvino(
    source: Path,
    folder: Path,
    clips: Sequence[np.ndarray],
    *,
    best: Sequence[np.ndarray],
    max_drop: float,
    stage: Callable[[str], None] = lambda text: None,
) -> dict[str, int]:
    """Quantisation by NNCF, in its preset for transformers, whose LayerNorms and GELUs the model has too.

    Where it gives more of the clips another class than allowed, layers go back to float32 one by one, the one that
    costs most first, until no more do.

    Args:
        clips: as of `quantize_onnx`; the scales come from them, and the drop is that on them.
        best: of each clip the class that the checkpoint names, `[1]`, or those of the pixels, `[1, H, W]`.
        max_drop: share of the clips, or pixels, that may get another class.
        stage: is told now and then how many models were tried, where layers have to go back.

    Returns:
        How many products and convolutions there are, and how many of them are computed in 8 bits.
    """
    nncf = require_package("nncf", why="--precision int8 of --format openvino")
    model: Any = read_openvino(source / "model.xml")
    # Each item is a clip and its class, of which the model takes the clip.
    data = nncf.Dataset(list(zip(clips, best, strict=True)), lambda item: item[0])
    restoring = nncf.AdvancedAccuracyRestorerParameters(ranking_subset_size=RANKING_CLIPS)
    set_signal_stack = noted_signal_stack()  # NNCF makes a core for each model that it tries: see `openvino_core`
    try:
        with quiet():
            quantized = nncf.quantize_with_accuracy_control(
                model,
                data,
                data,
                Watched(stage, set_signal_stack),
                max_drop=max_drop + 2 * TIE_BREAK,
                model_type=nncf.ModelType.TRANSFORMER,
                subset_size=len(clips),
                advanced_accuracy_restorer_parameters=restoring,
            )
    finally:
        set_signal_stack()
    save_openvino(quantized, folder, "int8")
    in_int8 = [_in_8_bits(op) for op in quantized.get_ops() if op.get_type_name() in ("MatMul", "Convolution")]
    return {"products": len(in_int8), "products_in_int8": sum(in_int8)}


class Watched:
    """`agreement_with_checkpoint`, which says where NNCF has begun to try models: that takes long.

    Args:
        before: called before each model is tried.
    """

    def __init__(self, stage: Callable[[str], None], before: Callable[[], None]):
        self.stage, self.before, self.calls, self.told_s = stage, before, 0, -math.inf

    def __call__(
        self, compute: Callable[[list[np.ndarray]], Any], items: Iterable[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[float, list[float]]:
        self.before()
        self.calls += 1
        tried = self.calls - CALLS_BEFORE_TRYING
        if tried > 0 and time.monotonic() - self.told_s > TELL_EVERY_S:
            self.stage(f"too many clips get another class; to find by which layers: {tried} tried")
            self.told_s = time.monotonic()
        return agreement_with_checkpoint(compute, items)


def agreement_with_checkpoint(
    compute: Callable[[list[np.ndarray]], Any], items: Iterable[tuple[np.ndarray, np.ndarray]]
) -> tuple[float, list[float]]:
    """The share of the clips that get the checkpoint's class; of all, and of each.

    NNCF ranks layers by it. Where as many clips agree, the probability of the checkpoint's class decides: a millionth
    of it is added, which is less than one clip counts.

    Args:
        compute: from `[clip]` to the outputs, logits first.
        items: each a clip, and its class as of `quantize_openvino`.
    """
    values = []
    for clip, best in items:
        logits = compute([clip])[0]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares = shares / shares.sum(axis=1, keepdims=True)
        of_best = np.take_along_axis(shares, np.expand_dims(best, 1), axis=1)
        values.append(float((logits.argmax(axis=1) == best).mean() + TIE_BREAK * of_best.mean()))
    return float(np.mean(values)), values


def _in_8_bits(op: Any) -> bool:
    """Whether the weights of an operator of OpenVINO are: what NNCF computes in 8 bits has such weights."""
    node = op.input_value(1).get_node()
    while node.get_type_name() in ("Convert", "Multiply", "Subtract", "Reshape"):
        node = node.input_value(0).get_node()
    return node.get_type_name() == "Constant" and node.get_element_type().size == 1
