"""Measuring memory: what a forward pass keeps, what a call reads and writes, and the most that it takes at once."""

import weakref
from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _ParameterCopies(TorchDispatchMode):
    """Adds autocast's copies of parameters in another dtype to `known`, tensors by storage."""

    def __init__(self, known: dict[int, Tensor]):
        super().__init__()
        self.known = known

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and _storage(args[0]) in self.known:
            self.known[_storage(result)] = result
        return result


def saved_bytes(forward: Callable[[], Tensor], model: nn.Module) -> int:
    """Bytes that a forward pass keeps for its backward pass: a measure of memory that is the same on every device.

    Each storage counts once and in full, though many views of it may be kept. The model's parameters and buffers, and
    autocast's copies of them, do not count: they do not grow with the batch. With gradient checkpointing the inputs of
    the blocks count, not what the backward pass computes again, one block at a time.

    >>> layer, x = torch.nn.Linear(8, 4), torch.zeros(2, 8)
    >>> saved_bytes(lambda: layer(x), layer)  # its input: 2 x 8 floats
    64
    """
    # By address; the tensors too, because a storage that is freed would leave its address to another.
    known = {_storage(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept.setdefault(_storage(tensor), tensor.detach())
        # Not the tensor itself: an output that its own node keeps would hold the graph, and that the output, for ever.
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), _ParameterCopies(known):
        result = forward()
    total = sum(tensor.untyped_storage().nbytes() for storage, tensor in kept.items() if storage not in known)
    del result  # the graph had to live until here
    return total


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class _Traffic(TorchDispatchMode):
    """Adds up the bytes that each operator reads and writes."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.bytes += _moved_bytes(func, args, kwargs or {}, result)
        return result


_WRITE_ONLY = {"copy_", "fill_", "zero_", "bernoulli_", "normal_", "uniform_"}  # their first argument is not read


def _moved_bytes(func: Any, args: Any, kwargs: Any, result: Any) -> int:
    """Of one operator: its inputs, what it writes in place, and its outputs that are new."""
    schema = func._schema
    name = schema.name.removeprefix("aten::")
    if func.is_view or "empty" in name or name in ("detach", "_unsafe_view"):
        return 0
    only_shape = name.startswith("new_") or name.endswith("_like")  # of an argument, which is not read
    given = dict(zip((argument.name for argument in schema.arguments), args, strict=False)) | kwargs
    moved = 0
    for argument in schema.arguments:
        written = argument.alias_info is not None and argument.alias_info.is_write
        read = not (only_shape or (written and (argument.is_out or name in _WRITE_ONLY)))
        moved += (read + written) * _tensor_bytes(given.get(argument.name))
    results = [result] if len(schema.returns) == 1 else result or ()
    for returned, value in zip(schema.returns, results, strict=False):
        moved += _tensor_bytes(value) if returned.alias_info is None else 0
    return moved


def _tensor_bytes(values: Any) -> int:
    return sum(leaf.numel() * leaf.element_size() for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


def traffic_bytes(call: Callable[[], Any]) -> int:
    """Bytes that the operators of a call read and write, each tensor whole: what memory moves where no cache helps.

    The operators of a compiled call cannot be seen.

    >>> x = torch.zeros(8, 4)
    >>> traffic_bytes(lambda: x.t() + 1)  # reads 8 x 4 floats, writes as many
    256
    """
    with _Traffic() as traffic:
        call()
    return traffic.bytes


class _LiveTensors(TorchDispatchMode):
    """Adds up the storages that operators allocate, until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._live = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for storage in _storages((args, kwargs)):
            if storage._cdata not in self._seen:  # there before the call
                self._seen.add(storage._cdata)
                weakref.finalize(storage, self._seen.discard, storage._cdata)
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            if storage._cdata not in self._seen:
                self._seen.add(storage._cdata)
                self._live += storage.nbytes()
                weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self._live)
        return result

    def _forget(self, address: int, num_bytes: int) -> None:
        self._live -= num_bytes
        self._seen.discard(address)


def _storages(values: Any) -> list[torch.UntypedStorage]:
    """The storages of all strided tensors among the values; a library's packed weights have none."""
    leaves = tree_leaves(values)
    return [leaf.untyped_storage() for leaf in leaves if isinstance(leaf, Tensor) and leaf.layout == torch.strided]


def peak_bytes(call: Callable[[], Any], device: torch.device) -> int:
    """The most bytes of tensors that a call holds at once, beyond those that were there before it.

    On a GPU whose allocator keeps its peak, that counts. Elsewhere each operator's inputs and outputs count, not what
    it uses within itself, and not the memory of the process, which depends on what ran in it before.

    >>> x = torch.zeros(1000)
    >>> peak_bytes(lambda: (x + 1).exp().sum(), torch.device("cpu"))  # two tensors of 1,000 floats
    8000
    """
    kind = torch.get_device_module(device)
    if hasattr(kind, "reset_peak_memory_stats"):  # of CUDA and XPU
        kind.reset_peak_memory_stats(device)
        before = kind.memory_allocated(device)
        call()
        return kind.max_memory_allocated(device) - before
    with _LiveTensors() as tensors:
        call()
    return tensors.peak
