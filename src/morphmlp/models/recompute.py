"""Less memory for little time: what is cheap to compute is made again in the backward pass; products are not.

A product keeps its input for the gradient of its weights. Where that input is a GELU, a LayerNorm or a copy of what is
kept anyway, how to make it is kept instead.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Function = Callable[..., Tensor]


def remade(function: Function, *inputs: Tensor) -> Tensor:
    """`function(*inputs)`, which within `remaking` is not kept for the backward pass but made again there.

    Args:
        function: cheap, without random numbers, and of a new tensor.
        inputs: what is kept anyway, or remade as well.
    """
    output = function(*inputs)
    if (made := _made.get()) is not None and torch.is_grad_enabled():
        made.note(output, function, inputs)
    return output


@contextmanager
def remaking(enabled: bool) -> Iterator[None]:
    """A forward pass in which the outputs of `remade` are not kept, if enabled."""
    if not enabled:
        yield
        return
    made = _Made()
    keep, take = _hooks_around()
    token = _made.set(made)
    try:
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: made.view(tensor) or keep(tensor),
            lambda kept: _again(kept) if isinstance(kept, _View) else take(kept),
        ):
            yield
    finally:
        _made.reset(token)
        made.recipes.clear()  # the graph holds those that it needs, and frees them one by one


class _Made:
    """How the tensors that are to be remade were made, by the address of their memory."""

    def __init__(self) -> None:
        self.recipes: dict[int, tuple[weakref.ref[Tensor], _Recipe]] = {}

    def note(self, output: Tensor, function: Function, inputs: tuple[Tensor, ...]) -> None:
        kind = output.device.type
        autocast = kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
        recipe = _Recipe(function, tuple(self.view(tensor) or tensor.detach() for tensor in inputs), autocast)
        self.recipes[_address(output)] = weakref.ref(output), recipe

    def view(self, tensor: Tensor) -> "_View | None":
        """How to make a tensor again, or None where it is none of those."""
        output, recipe = self.recipes.get(_address(tensor), (None, None))
        # While the output lives, no other tensor has its address.
        if output is None or recipe is None or output() is None:
            return None
        return _View(recipe, tensor.shape, tensor.stride(), int(tensor.storage_offset()))


@dataclass(frozen=True)
class _Recipe:
    function: Function
    inputs: tuple[Any, ...]  # tensors, or how to make them
    autocast: tuple[str, torch.dtype, bool]


@dataclass(frozen=True)
class _View:
    """A tensor in the memory of one that is made again."""

    recipe: _Recipe
    shape: torch.Size
    stride: tuple[int, ...]
    offset: int


def _again(view: _View) -> Tensor:
    recipe = view.recipe
    with torch.no_grad(), torch.autocast(*recipe.autocast):
        inputs = [_again(kept) if isinstance(kept, _View) else kept for kept in recipe.inputs]
        return recipe.function(*inputs).as_strided(view.shape, view.stride, view.offset)


def _hooks_around() -> tuple[Callable[[Tensor], Any], Callable[[Any], Tensor]]:
    """The hooks that are in force, such as `save_on_cpu`: of several, PyTorch itself calls the last only."""
    private: Any = torch._C
    top = getattr(private._autograd, "_top_saved_tensors_default_hooks", lambda ignore_is_tracing: None)
    return top(True) or (Tensor.detach, lambda kept: kept)


def _address(tensor: Tensor) -> int:
    """Of the storage, which views of a tensor share, and which tensors without values have too."""
    return tensor.untyped_storage()._cdata


_made: ContextVar[_Made | None] = ContextVar("_made", default=None)
