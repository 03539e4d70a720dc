"""Where a model runs, and in which precision. Torch is imported where it is used: an exported model runs without."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from morphmlp.distributed import local_rank
from morphmlp.errors import ConfigError, DataError, NotFiniteError
from morphmlp.formatting import first_line
from morphmlp.system import processor_kind

if TYPE_CHECKING:
    import torch
    from torch import Tensor

DEVICES = ("cpu", "cuda", "mps", "xpu")
DTYPE_NAMES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}  # of torch, by precision
_HINTS = {
    "cuda": "; cuda is a GPU of NVIDIA or AMD, and needs its driver and PyTorch's build for it",
    "mps": "; mps is the GPU of an Apple computer, from macOS 14 on",
    "xpu": "; xpu is an Intel GPU, and needs PyTorch's build for it",
}


def show_nothing(done: int, total: int) -> None:
    """The progress of work that nobody watches."""


@dataclass(frozen=True)
class Execution:
    """How a model is run, whatever it is run on.

    Attributes:
        device: "auto", "cpu", "cuda", "mps" or "xpu"; "auto" is the accelerator of this process, else the CPU.
        precision: "fp32", "bf16" or "fp16".
        workers: processes that decode; with 0, this one does.
        progress: called with the samples done and the samples in all, of this process.
        engine: what computes, of `engines.ENGINES`; "auto" is the one that is fastest by the figures known.
    """

    device: str = "auto"
    precision: str = "fp32"
    workers: int = 2
    progress: Callable[[int, int], None] = show_nothing
    engine: str = "auto"


AS_USUAL = Execution()


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """The module in evaluation mode; afterwards in the mode that it was in. An exported model has no other mode."""
    if not hasattr(model, "training"):
        yield
        return
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def resolve_device(device: str) -> "torch.device":
    """The device of a name; "auto" is the accelerator of this process where there is one, else the CPU.

    Of several accelerators, the first process on a machine has the first.

    Raises:
        DataError: the name is unknown, or the device is not there.
    """
    import torch

    if device == "auto":
        found = _accelerator()
        return torch.device("cpu") if found is None else _of_this_process(found)
    try:
        if (kind := torch.device(device).type) not in DEVICES:
            raise RuntimeError
    except RuntimeError:
        raise DataError(
            f"device {device!r} is unknown; allowed: auto, {', '.join(DEVICES)}, or one of several as cuda:1"
        ) from None
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError):
        here = " and ".join(filter(None, ("cpu", _accelerator())))
        raise DataError(
            f"device {device!r} is not there: PyTorch {torch.__version__} finds {here} on this machine; use one of "
            f"these, or auto{_HINTS.get(kind, '')}"
        ) from None


def native_precision(device: "torch.device") -> str:
    """The fastest precision that keeps fp32's range and that a device computes itself: "bf16" or "fp32".

    A processor that lacks the instructions has bf16 imitated, which is slower than fp32.
    """
    import torch

    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu" and processor_kind().split()[-1] in ("amx", "avx512_bf16"):
        return "bf16"
    return "fp32"


def _accelerator() -> str | None:
    """The kind of accelerator that PyTorch finds, if it is one that this package is written for."""
    import torch

    found = torch.accelerator.current_accelerator(check_available=True)
    return found.type if found is not None and found.type in DEVICES else None


def _of_this_process(kind: str) -> "torch.device":
    import torch

    return torch.device(kind, local_rank() % max(torch.accelerator.device_count(), 1))


def require_finite(logits: "Tensor | np.ndarray", paths: Sequence[object]) -> None:
    """Raises NotFiniteError where a logit is NaN or infinite: no class could be told, yet the first would be named.

    Args:
        logits: `[items, ...]`.
        paths: of the items, for the message.
    """
    if isinstance(logits, np.ndarray):
        finite = np.isfinite(logits).reshape(len(logits), -1).all(axis=1)
    else:
        finite = logits.isfinite().flatten(1).all(dim=1).cpu().numpy()
    if not finite.all():
        path = paths[int(finite.argmin())]
        raise NotFiniteError(
            f"the model's outputs for {path} are not finite (NaN or infinity): the weights are damaged, or too large "
            "for the precision; use another checkpoint, or --precision fp32"
        )


def autocast(device: "torch.device", precision: str) -> Any:
    """Mixed precision as `TrainConfig.precision` names it.

    Raises:
        ConfigError: an unknown precision, or one that the device does not compute in.
    """
    import torch

    dtype = torch_dtype(precision)
    if dtype is torch.float32:
        return nullcontext()
    with warnings.catch_warnings():  # torch says so in a warning, and goes on in float32
        warnings.simplefilter("error", UserWarning)
        try:
            return torch.autocast(device.type, dtype)
        except (RuntimeError, UserWarning) as error:
            raise ConfigError(
                f"precision {precision} is not for {device.type} devices ({first_line(error)}); use --precision fp32"
            ) from None


def torch_dtype(precision: str) -> "torch.dtype":
    """What values are kept in at a precision.

    Raises:
        ConfigError: an unknown precision.
    """
    import torch

    if precision not in DTYPE_NAMES:
        raise ConfigError(f"precision is {precision!r}; allowed: {', '.join(DTYPE_NAMES)}")
    return getattr(torch, DTYPE_NAMES[precision])
