"""How a decoding process hands a batch over: through shared memory, or through a pipe where that is full.

Docker gives a container 64 MB of shared memory by default: less than one batch of a video model.
"""

import dataclasses
import multiprocessing.queues
import os
import shutil
import sys
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from morphmlp.output import tell

SHARED_MEMORY = "/dev/shm"
_LEFT = (ConnectionError, EOFError)  # the other side of a pipe or a socket has gone
BYTES_FOR_QUEUES = 2**20  # what the locks of the workers' queues need, and some more


def handed_over(batch: Any) -> Any:
    """A batch whose tensors are in shared memory, or are sent as bytes if they do not fit there.

    By itself torch shares them in a thread beside, where an error is printed, the batch is lost, and the main process
    waits for it for ever.

    Args:
        batch: a named tuple or a dataclass.
    """
    fields = batch._asdict() if isinstance(batch, tuple) else vars(batch)  # type: ignore[attr-defined]
    tensors = {name: value for name, value in fields.items() if isinstance(value, Tensor)}
    as_bytes = {name: _AsBytes(tensor) for name, tensor in tensors.items() if not _is_shared(tensor)}
    if not as_bytes:
        return batch
    return batch._replace(**as_bytes) if isinstance(batch, tuple) else dataclasses.replace(batch, **as_bytes)  # type: ignore[attr-defined]


def _is_shared(tensor: Tensor) -> bool:
    """Moves a tensor into shared memory; whether there was room."""
    try:
        tensor.share_memory_()
    except (RuntimeError, OSError):
        return False
    return True


class _AsBytes:
    """A tensor that is one again on the other side of the pipe."""

    def __init__(self, tensor: Tensor):
        self.array = tensor.numpy()

    def __reduce__(self) -> tuple:
        return torch.from_numpy, (self.array,)


def end_on_lost_batch() -> None:
    """Ends this worker process if a batch cannot be sent, which torch's main process hears: it would wait for ever.

    Where the main process itself stops to listen, as after Ctrl-C, there is nothing to say: neither by the thread that
    sends batches, nor by that of Python which hands over their shared memory and prints what it raises.
    """
    sys.excepthook = _say_unless_left
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(_end)  # type: ignore[attr-defined]


def _end(error: Exception, _: Any) -> None:
    if not isinstance(error, _LEFT):
        tell(f"a decoding process cannot hand a batch over: {error}")
    os._exit(1)


def _say_unless_left(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, _LEFT):
        sys.__excepthook__(kind, error, trace)


def workers_that_fit(workers: int) -> int:
    """As many as asked for; none where shared memory has no room even for the locks between the processes."""
    try:
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError:  # no such place on this system
        return workers
    return workers if free >= BYTES_FOR_QUEUES else 0
