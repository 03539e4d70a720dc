"""Inference as fast as the hardware allows: the same outputs from a copy of a model that is arranged for it.

What it does, each exact in arithmetic: batch normalisation goes into the stem's convolutions; linear layers run on
oneDNN on a CPU, with the GELU in the same pass; memory that a layer frees stays in the process for the next one, and a
large batch is worked through clip by clip; weights are kept in bfloat16 where that is asked for. `docs/speed.md` has
what each of them is worth.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphmlp.errors import ConfigError, UserError
from morphmlp.inference.allocator import keep_freed_memory
from morphmlp.inference.device import Execution, evaluating, resolve_device, torch_dtype
from morphmlp.inference.engines import MOST_CLIPS_AT_A_TIME, Job, fastest, work_per_clip
from morphmlp.models.block import MLP
from morphmlp.models.branch_mean import KeepsMeanFCs, mean_weights
from morphmlp.models.morphfc import ChunkFC
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.stem import Stem

PRECISIONS = ("fp32", "bf16")
# Of the self-test's outputs, which are within -12 and 12: half a step of bfloat16 there is 0.03.
SELF_TEST_BOUNDS = {torch.float32: 1e-4, torch.bfloat16: 0.1}
TOKENS_PER_PASS = 25_088  # those of one clip of 16 x 224 x 224: what a CPU computes at a time
ROWS_HINT = 1568  # of a product, for which oneDNN orders the weights; any other number works as well
WIDE_DTYPES = (torch.complex128, torch.complex64, torch.float32)  # only moved, never computed with


def optimize(
    model: MorphMLP, dtype: str = "fp32", *, compile: bool = False, allocator: bool = True
) -> "InferenceModel":
    """A copy of the model for inference; the model itself stays as it is.

    Args:
        model: any of the package's models, on any device, which the copy shares.
        dtype: "fp32" gives the model's outputs to rounding; "bf16" keeps weights and activations in bfloat16, which
            is faster where the processor has instructions for its products.
        compile: with torch.compile, which takes a minute or more on the first clip of each shape. It is meant for
            GPUs; on a CPU it was slower than without (`docs/speed.md`).
        allocator: lets the process keep freed memory for the next tensors, on a CPU with glibc. This changes the
            allocator of the whole process for good: see below. False leaves it as it is, and is slower.

    Returns:
        A module that takes what the model takes and returns its outputs in float32. It cannot be trained or saved, and
        its dtype is fixed. On a CPU the first one changes the process for good, also when the module is gone: up to
        128 MiB of freed memory are kept for the next tensors, those of other libraries too. `allocator=False`, or the
        environment variable `MALLOC_TRIM_THRESHOLD_=131072`, leaves the process as it is; see
        `allocator.keep_freed_memory`.

    Raises:
        ConfigError: another dtype.
        UserError: the model is optimized already, or none of this package's.

    Example:
        >>> import torch, morphmlp
        >>> model = morphmlp.create_model("morphmlp_video_nano", num_classes=8, frames=16)
        >>> fast = morphmlp.optimize(model, dtype="bf16")
        >>> fast(torch.zeros(2, 3, 16, 64, 64)).shape
        torch.Size([2, 8])
    """
    if dtype not in PRECISIONS:
        raise ConfigError(f"dtype is {dtype!r}; allowed: {', '.join(PRECISIONS)}")
    if isinstance(model, InferenceModel):
        raise UserError("the model is optimized already; give the one that it was made from")
    if not isinstance(model, MorphMLP):
        raise UserError(f"a {type(model).__name__} cannot be optimized; give a model of create_model or load")
    return InferenceModel(model, torch_dtype(dtype), compile=compile, allocator=allocator)


class InferenceModel(nn.Module):
    """What `optimize` returns; see there.

    Attributes:
        config: that of the model.
        dtype: of weights and activations.
    """

    def __init__(self, model: MorphMLP, dtype: torch.dtype, *, compile: bool, allocator: bool = True):
        super().__init__()
        self.config = model.config
        self.dtype = dtype
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.model.gradient_checkpointing = False
        for module in self.model.modules():
            if isinstance(module, Stem):
                _fold_norms(module)
        self.model.to(dtype)
        on_cpu = next(self.model.parameters()).device.type == "cpu"
        if on_cpu and allocator:
            keep_freed_memory()
        if on_cpu and not compile and _has_one_dnn(dtype):  # the compiler fuses by itself
            _use_one_dnn(self.model)
        self.model.eval()
        self._compiled = torch.compile(self.model, dynamic=False) if compile else None
        self.training = False

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """`[B, 3, T, H, W]` or `[B, 3, H, W]` -> what the model returns, in float32.

        Raises:
            InputShapeError: as the model does.
        """
        if not x.is_floating_point():
            raise UserError(f"input of {x.dtype}: the model takes normalised values, of float32 or another float type")
        by_parts = x.is_cpu and x.dim() >= 4 and self._compiled is None
        parts = x.split(self._clips_per_pass(x)) if by_parts else [x]
        with torch.autocast(x.device.type, enabled=False):  # the dtype is chosen already
            model = self.model if self._compiled is None else self._compiled
            return torch.cat([model(part.to(self.dtype)) for part in parts]).float()

    def _clips_per_pass(self, x: Tensor) -> int:
        tokens_per_clip = math.prod(x.shape[2:]) / (32 if self.config.temporal else 16)
        return max(1, round(TOKENS_PER_PASS / max(tokens_per_clip, 1)))

    def train(self, mode: bool = True) -> Self:
        """Refuses training mode."""
        if mode:
            raise UserError("an optimized model cannot be trained; train the model that it was made from")
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Refuses another dtype, as of `half()` and `to(torch.float64)`; another device is taken."""
        dtype = fn(torch.empty(0, dtype=self.dtype, device="cpu")).dtype
        if dtype != self.dtype:
            raise UserError(
                f"an optimized model keeps its dtype, {self.dtype}, not {dtype}; optimize the model that it was made "
                f"from with dtype={' or '.join(map(repr, PRECISIONS))}"
            )
        return super()._apply(fn, recurse)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Refuses: the weights are folded, and those of a checkpoint do not fit."""
        raise UserError("an optimized model takes no weights; load them into a model, and optimize that")

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Refuses: the weights are folded, so no checkpoint could hold them."""
        raise UserError("an optimized model cannot be saved; save the model that it was made from")


@dataclass(frozen=True)
class Agreement:
    """How near an optimized model comes to its model.

    Attributes:
        top1: share of the clips (of a segmenter: of the pixels) for which both name the same class.
        largest_difference: of a logit, as a share of the largest one of the model.
    """

    top1: float
    largest_difference: float


@torch.no_grad()
def agreement(model: nn.Module, optimized: nn.Module, clips: Tensor) -> Agreement:
    """Compares the logits of both on clips `[B, 3, T, H, W]` or images `[B, 3, H, W]`, the model's in float32.

    Of a segmenter, the classes of all pixels are compared. The model is in evaluation mode meanwhile.
    """
    with evaluating(model):
        expected, actual = model(clips.float()).float(), optimized(clips).float()
    same = expected.argmax(dim=1) == actual.argmax(dim=1)
    return Agreement(same.sum().item() / same.numel(), ((expected - actual).abs().max() / expected.abs().max()).item())


class FusedLinear(nn.Module):
    """A linear layer, and the GELU after it if there is one, in one pass of oneDNN where the tensor is on a CPU.

    PyTorch gives float32 products to MKL, which is slow on processors of other makers; oneDNN is not. The weights
    are in memory twice: as they are, and in the order in which oneDNN reads them.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, gelu: bool = False):
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.gelu = gelu
        self._packed: Tensor | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_packed": None}  # it can neither be copied nor pickled

    def forward(self, x: Tensor) -> Tensor:
        """`[..., C]` -> `[..., C']`."""
        if x.is_cpu:
            if self._packed is None:
                self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach(), ROWS_HINT)
            post_op = ("gelu", [], "none") if self.gelu else ("none", [], "")
            return torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, *post_op)
        out = F.linear(x, self.weight, self.bias)
        return F.gelu(out) if self.gelu else out


class FusedChunkFC(ChunkFC, KeepsMeanFCs):
    """A `ChunkFC` that carries the D channels of a token's group as few wide elements instead of D narrow ones.

    It keeps the FCs of the mean by number of slots: a size takes one, or two where a chunk does not divide it.
    """

    def __init__(self, layer: ChunkFC):
        nn.Module.__init__(self)
        self.chunk_length, self.group_width, self.strided = layer.chunk_length, layer.group_width, layer.strided
        self.fc: Any = FusedLinear(layer.fc.weight, layer.fc.bias)
        self._mean_fcs = nn.ModuleDict()

    def __getstate__(self) -> dict[str, Any]:
        # Without the kept FCs: another thread may be adding one while this is copied.
        return self.__dict__ | {"_modules": self._modules | {"_mean_fcs": nn.ModuleDict()}}

    def mix(self, chunks: Tensor) -> Tensor:
        """`[chunks, L, groups, D]` -> the same shape."""
        num_bytes = self.group_width * chunks.element_size()
        dtype = next((wide for wide in WIDE_DTYPES if num_bytes % wide.itemsize == 0), chunks.dtype)
        vectors = chunks.view(dtype).transpose(1, 2).contiguous().view(chunks.dtype)  # [chunks, groups, L, D]
        mixed = self.fc(vectors.flatten(2)).view_as(vectors)
        return mixed.view(dtype).transpose(1, 2).contiguous().view(chunks.dtype)

    def mean_fc(self, num_slots: int) -> nn.Module:
        """The FC from `[..., slots * D]` to `[..., D]`, the mean over the slots."""
        slots = str(num_slots)
        if slots not in self._mean_fcs:
            self._mean_fcs[slots] = FusedLinear(*mean_weights(self, num_slots)).eval()
        return self._mean_fcs[slots]


def _has_one_dnn(dtype: torch.dtype) -> bool:
    """Whether this PyTorch has the operators, and they compute what they should on this processor; tried once."""
    return torch.backends.mkldnn.is_available() and _one_dnn_is_right(FusedLinear.forward, dtype)


@cache
def _one_dnn_is_right(forward: Callable[..., Tensor], dtype: torch.dtype) -> bool:
    """Compares a layer with GELU and one without with their definition, on numbers that need no generator.

    The operators are private ones of PyTorch: another version may have them with another meaning.

    Args:
        forward: that of `FusedLinear`, for which the answer is kept.
    """
    x, weight, bias = (
        torch.arange(math.prod(shape), dtype=torch.float64, device="cpu").mul_(scale).sin_().view(shape).to(dtype)
        for shape, scale in (((40, 24), 0.7), ((16, 24), 1.3), ((16,), 2.1))
    )
    expected = F.linear(x.double(), weight.double(), bias.double())
    try:
        found = [forward(FusedLinear(weight, bias, gelu=gelu), x) for gelu in (False, True)]
    except (AttributeError, RuntimeError, TypeError):
        return False
    pairs = zip(found, (expected, F.gelu(expected)), strict=True)
    return all(torch.allclose(out.double(), right, rtol=0, atol=SELF_TEST_BOUNDS[dtype]) for out, right in pairs)


def _use_one_dnn(module: nn.Module) -> None:
    """Replaces layers at every depth by those above, which compute the same."""
    for name, child in module.named_children():
        if type(child) is ChunkFC:
            setattr(module, name, FusedChunkFC(child))
        elif type(child) is MLP:
            first = FusedLinear(child.fc1.weight, child.fc1.bias, gelu=True)
            setattr(module, name, nn.Sequential(first, FusedLinear(child.fc2.weight, child.fc2.bias)))
        elif type(child) is nn.Linear:
            setattr(module, name, FusedLinear(child.weight, child.bias))
        else:
            _use_one_dnn(child)


def _fold_norms(stem: Stem) -> None:
    """Batch normalisation by its running statistics goes into the convolution before it."""
    for conv, name in ((stem.conv1, "norm1"), (stem.conv2, "norm2")):
        norm, bias = getattr(stem, name), conv.get_parameter("bias")
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        bias.copy_((bias - norm.running_mean) * scale + norm.bias)
        conv.weight.mul_(scale.view(-1, *[1] * (conv.weight.dim() - 1)))
        stem.register_module(name, nn.Identity())


def for_inference(model: MorphMLP, execution: Execution) -> tuple[nn.Module, Execution]:
    """The model on its device as it infers fastest there, and the execution with the precision left to autocast.

    On a GPU it stays as it is: `optimize` has been measured on CPUs only.

    Args:
        execution: of its engines, "auto" takes plain PyTorch or "optimized", for batches of many clips.

    Raises:
        ConfigError: the engine is "optimized", and the device or precision none that `optimize` is for.
    """
    device = resolve_device(execution.device)
    model = model.to(device)
    fits = execution.precision in PRECISIONS and device.type == "cpu"
    engine = execution.engine
    if engine == "optimized" and not fits:
        raise ConfigError(
            f"--engine optimized computes {' and '.join(PRECISIONS)} on a cpu, not {execution.precision} on "
            f"{device.type}; give --engine auto"
        )
    if engine == "auto" and fits:
        size = model.config.image_size
        job = Job(work_per_clip(model.config, size, size), execution.precision, MOST_CLIPS_AT_A_TIME)
        engine = fastest(job, free={"optimized"})
    if engine == "optimized":
        return optimize(model, execution.precision), replace(execution, precision="fp32")
    return model, execution
