"""The files of an exported model: one function a format, each from the model to what its engine reads.

All begin with `torch.export`, on a batch of two: of one, the batch would be fixed.
"""

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.exc import UserError as TraceError
from torch.export import Dim, ExportedProgram

from morphmlp.errors import ConfigError
from morphmlp.export.layout import for_engines
from morphmlp.export.sizes import for_any_size
from morphmlp.inference.device import torch_dtype
from morphmlp.inference.runtimes import (
    FEATURES,
    LEAST_SIZE_PX,
    LOGITS,
    MODEL_FILES,
    OUTPUTS,
    SIZE_STEP_PX,
    openvino_core,
    require_package,
)
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.segmenter import Segmenter

OPSET = 20  # the first with GELU as one operator
MOST_CLIPS, MOST_SIZE_PX = 4096, 8192
INPUT_NAME = "clips"


@dataclass(frozen=True)
class Shape:
    """What an exported model takes beside any number of clips.

    Attributes:
        height, width: in px.
        any_size: whether the export takes other sizes as well: whole multiples of 32 px from 64 px on.
    """

    height: int
    width: int
    any_size: bool = False


def outputs_of(model: MorphMLP) -> tuple[str, ...]:
    """The names of what an exported model gives: of a classifier logits and features, of a segmenter logits."""
    return (LOGITS,) if isinstance(model, Segmenter) else OUTPUTS


class Outputs(nn.Module):
    """A model that gives all outputs of its export: of a classifier also the features, which its head is given."""

    def __init__(self, model: MorphMLP):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """`[B, 3, ...]` -> logits `[B, classes]` and features `[B, C]`; of a segmenter logits `[B, classes, H, W]`."""
        if isinstance(self.model, Segmenter):
            return (self.model(x),)
        features = self.model.pooled(self.model.forward_features(x)[-1])
        return self.model.head(features), features


class InPrecision(nn.Module):
    """`Outputs` in half precision that take and return float32; the LayerNorms are computed in float32.

    Their sums of squares overflow in fp16.
    """

    def __init__(self, model: Outputs, dtype: torch.dtype):
        super().__init__()
        self.dtype = dtype
        self.model = copy.deepcopy(model).to(dtype)
        for module in list(self.model.modules()):
            for name, child in module.named_children():
                if type(child) is nn.LayerNorm:
                    setattr(module, name, Float32LayerNorm(child))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """`[B, 3, ...]` float32 -> the outputs, float32."""
        return tuple(output.float() for output in self.model(x.to(self.dtype)))


class Float32LayerNorm(nn.Module):
    """A LayerNorm that is computed in float32, whatever it is given and returns."""

    def __init__(self, norm: nn.LayerNorm):
        super().__init__()
        self.norm = norm.float()

    def forward(self, x: Tensor) -> Tensor:
        """`[..., C]` -> the same shape and dtype."""
        return self.norm(x.float()).to(x.dtype)


def write_onnx(model: MorphMLP, folder: Path, shape: Shape, precision: str) -> dict[str, Any]:
    """Writes `model.onnx`, weights and all."""
    require_package("onnxscript", why="--format onnx and openvino export through ONNX")
    _save_onnx(exported_program(for_engines(model), shape, precision), folder / "model.onnx", outputs_of(model))
    return {"opset": OPSET}


def write_onnx_file(model: nn.Module, clips: Tensor, path: Path) -> None:
    """Writes any model as ONNX, for any number of clips of this size; ours in the form that `write_onnx` writes."""
    with quiet(), torch.no_grad():
        two = torch.cat([clips, clips])[:2]
        program = torch.export.export(for_engines(model), (two,), dynamic_shapes=({0: any_batch()},), strict=False)
    _save_onnx(program, path, [LOGITS])


def _save_onnx(program: ExportedProgram, path: Path, outputs: Sequence[str]) -> None:
    with quiet():
        onnx = torch.onnx.export(
            program, input_names=[INPUT_NAME], output_names=outputs, dynamo=True, opset_version=OPSET
        )
    assert onnx is not None
    onnx.save(path, external_data=False)


def write_openvino(model: MorphMLP, folder: Path, shape: Shape, precision: str) -> dict[str, Any]:
    """Writes `model.xml` and `model.bin`: weights in float32, or in float16 for fp16.

    The precision of the computation is a hint to the engine, which `runtimes` gives it.
    """
    details = write_onnx(model, folder, shape, "fp32")
    converted = read_openvino(folder / "model.onnx")
    for result in converted.get_results():  # the name stays within the graph: see `runtimes`
        if FEATURES in result.output(0).get_names():
            converted.remove_result(result)
    save_openvino(converted, folder, precision)
    (folder / "model.onnx").unlink()
    return details


def read_openvino(path: Path) -> Any:
    """OpenVINO's model of an ONNX file, or of an `.xml` file."""
    openvino, core = require_package("openvino", why="--format openvino"), openvino_core()
    return openvino.convert_model(path) if path.suffix == ".onnx" else core.read_model(path)


def save_openvino(model: Any, folder: Path, precision: str) -> None:
    """Writes OpenVINO's model; by itself it would round all weights to float16."""
    openvino = require_package("openvino", why="--format openvino")
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=precision == "fp16")


def write_torch(model: MorphMLP, folder: Path, shape: Shape, precision: str) -> dict[str, Any]:
    """Writes `model.pt2`, which `torch.export.load` reads."""
    torch.export.save(exported_program(model, shape, precision), folder / MODEL_FILES["torch"][0])
    return {"opset": None}


Writer = Callable[[MorphMLP, Path, Shape, str], dict[str, Any]]
FORMATS: dict[str, Writer] = {"onnx": write_onnx, "openvino": write_openvino, "torch": write_torch}


def exported_program(model: MorphMLP, shape: Shape, precision: str) -> ExportedProgram:
    """The model's graph, for any number of clips, with the outputs of `outputs_of`.

    Raises:
        ConfigError: any size is asked for, and a layer computes in a way that depends on the size.
    """
    frames = (model.config.frames,) if model.config.temporal else ()
    example = torch.zeros(2, 3, *frames, shape.height, shape.width)
    dims: dict[int, Any] = {0: any_batch()}
    if shape.any_size:
        first = example.dim() - 2
        steps = {"min": LEAST_SIZE_PX // SIZE_STEP_PX, "max": MOST_SIZE_PX // SIZE_STEP_PX}
        dims |= {first: SIZE_STEP_PX * Dim("rows", **steps), first + 1: SIZE_STEP_PX * Dim("columns", **steps)}
    outputs = Outputs(for_any_size(model) if shape.any_size else model)
    module = outputs if precision == "fp32" else InPrecision(outputs, torch_dtype(precision))
    with quiet(), torch.no_grad():
        try:
            return torch.export.export(module.eval(), (example,), dynamic_shapes=(dims,), strict=False)
        except (TraceError, ValueError) as error:
            if not shape.any_size:
                raise
            raise ConfigError(
                f"{model.config.name} cannot be exported for any size, because one of its layers computes in a way "
                "that depends on it; leave out --dynamic-size, and choose a size by --size '[HEIGHT,WIDTH]'"
            ) from error


def any_batch() -> Any:
    """The axis of the clips, of which there may be any number."""
    return Dim("batch", min=1, max=MOST_CLIPS)


@contextmanager
def quiet() -> Iterator[None]:
    """The exporters print, log, and warn of their own parts."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
