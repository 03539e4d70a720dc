"""Inference as fast as the hardware allows: the same outputs from a copy of a model that is arranged for it.

What it does, each exact in arithmetic: batch normalisation goes into the stem's convolutions; linear layers run on
oneDNN on a CPU, with the GELU in the same pass; memory that a layer frees stays in the process for the next one, and a
large batch is worked through clip by clip; weights are kept in bfloat16 where that is asked for. `docs/speed.md` has
what each of them is worth.
"""

import copy
import math
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphmlp.errors import ConfigError, UserError
from morphmlp.inference.allocator import keep_freed_memory
from morphmlp.inference.device import Execution, evaluating, resolve_device
from morphmlp.models.block import MLP
from morphmlp.models.branch_mean import KeepsMeanFCs, mean_weights
from morphmlp.models.morphfc import ChunkFC, to_chunks, to_tokens
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.stem import Stem

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TOKENS_PER_PASS = 25_088  # those of one clip of 16 x 224 x 224: what a CPU computes at a time
ROWS_HINT = 1568  # of a product, for which oneDNN orders the weights; any other number works as well
WIDE_DTYPES = (torch.complex128, torch.complex64, torch.float32)  # only moved, never computed with


def optimize(model: MorphMLP, dtype: str = "fp32", *, compile: bool = False) -> "InferenceModel":
    """A copy of the model for inference; the model itself stays as it is.

    Args:
        model: any of the package's models, on any device, which the copy shares.
        dtype: "fp32" gives the model's outputs to rounding; "bf16" keeps weights and activations in bfloat16, which
            is faster where the processor has instructions for its products.
        compile: with torch.compile, which takes a minute or more on the first clip of each shape. It is meant for
            GPUs; on a CPU it was slower than without (`docs/speed.md`).

    Returns:
        A module that takes what the model takes and returns its outputs in float32. It cannot be trained or saved, and
        its dtype is fixed. On a CPU the first one changes the process for good, also when the module is gone: up to
        128 MiB of freed memory are kept for the next tensors, those of other libraries too. The environment variable
        `MALLOC_TRIM_THRESHOLD_=131072` leaves the process as it is; see `allocator.keep_freed_memory`.

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
    if dtype not in DTYPES:
        raise ConfigError(f"dtype is {dtype!r}; allowed: {', '.join(DTYPES)}")
    if isinstance(model, InferenceModel):
        raise UserError("the model is optimized already; give the one that it was made from")
    if not isinstance(model, MorphMLP):
        raise UserError(f"a {type(model).__name__} cannot be optimized; give a model of create_model or load")
    return InferenceModel(model, DTYPES[dtype], compile=compile)


class InferenceModel(nn.Module):
    """What `optimize` returns; see there.

    Attributes:
        config: that of the model.
        dtype: of weights and activations.
    """

    def __init__(self, model: MorphMLP, dtype: torch.dtype, *, compile: bool):
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
        if on_cpu:
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
                f"from with dtype={' or '.join(map(repr, DTYPES))}"
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

    def forward(self, tokens: Tensor) -> Tensor:
        """`[..., N, C]` -> `[..., N, C]`."""
        num_bytes = self.group_width * tokens.element_size()
        dtype = next((wide for wide in WIDE_DTYPES if num_bytes % wide.itemsize == 0), tokens.dtype)
        shape = self.chunk_length, num_bytes // dtype.itemsize
        vectors = to_chunks(tokens.view(dtype), *shape, strided=self.strided).contiguous()
        vectors = self.fc(vectors.view(tokens.dtype)).view(dtype)
        mixed = to_tokens(vectors, tokens.shape[-2], *shape, strided=self.strided)
        return mixed.contiguous().view(tokens.dtype)

    def mean_fc(self, num_slots: int) -> nn.Module:
        """The FC from `[..., slots * D]` to `[..., D]`, the mean over the slots."""
        slots = str(num_slots)
        if slots not in self._mean_fcs:
            self._mean_fcs[slots] = FusedLinear(*mean_weights(self, num_slots)).eval()
        return self._mean_fcs[slots]


def _has_one_dnn(dtype: torch.dtype) -> bool:
    """Whether this PyTorch has the operators, and this processor what they need for the dtype."""
    if not torch.backends.mkldnn.is_available():
        return False
    try:
        weight, bias, x = (torch.zeros(shape, dtype=dtype, device="cpu") for shape in ((16, 16), (16,), (1, 16)))
        FusedLinear(weight, bias)(x)
    except (AttributeError, RuntimeError):
        return False
    return True


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
    """
    device = resolve_device(execution.device)
    model = model.to(device)
    if execution.precision in DTYPES and device.type == "cpu":
        return optimize(model, execution.precision), replace(execution, precision="fp32")
    return model, execution
