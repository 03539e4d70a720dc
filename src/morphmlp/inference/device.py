"""Where a model runs, and in which precision. Torch is imported where it is used: an exported model runs without."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from morphmlp.distributed import local_rank
from morphmlp.errors import ConfigError, DataError, NotFiniteError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def show_nothing(done: int, total: int) -> None:
    """The progress of work that nobody watches."""


@dataclass(frozen=True)
class Execution:
    """How a model is run, whatever it is run on.

    Attributes:
        device: "auto", "cpu" or "cuda"; "auto" is the CUDA device of this process where there is one, else the CPU.
        precision: "fp32", "bf16" or "fp16".
        workers: processes that decode; with 0, this one does.
        progress: called with the samples done and the samples in all, of this process.
    """

    device: str = "auto"
    precision: str = "fp32"
    workers: int = 2
    progress: Callable[[int, int], None] = show_nothing


AS_USUAL = Execution()


@contextmanager
def evaluating(model: "nn.Module") -> Iterator[None]:
    """The model in evaluation mode; afterwards in the mode that it was in."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def resolve_device(device: str) -> "torch.device":
    """ "auto" is the CUDA device of this process where there is one: of the first process on a machine the first."""
    import torch

    if device == "auto":
        device = f"cuda:{local_rank()}" if torch.cuda.is_available() else "cpu"
    try:
        if torch.device(device).type not in ("cpu", "cuda"):
            raise RuntimeError
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError):
        raise DataError(
            f"device {device!r} cannot be used here; allowed: auto, cpu, or cuda with a CUDA device"
        ) from None


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
    """Mixed precision as `TrainConfig.precision` names it."""
    import torch

    dtypes = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision not in dtypes:
        raise ConfigError(f"precision is {precision!r}; allowed: {', '.join(dtypes)}")
    return torch.autocast(device.type, dtypes[precision]) if dtypes[precision] else nullcontext()
