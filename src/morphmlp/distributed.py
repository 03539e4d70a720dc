"""The processes that torchrun starts: the number of this one, and what they send one another."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import nn

Item = TypeVar("Item")

# For the share of another process to be done. One that is dead is noticed at once; torch's 30 minutes end a long work
# whose shares are not alike.
MOST_WAIT = timedelta(days=7)


def rank() -> int:
    """Number of this process, from 0; 0 where there is only one."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Number of this process on its machine, which is also the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def world_size() -> int:
    """Processes on all machines together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_world_size() -> int:
    """Processes on this machine, which share its cores."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process is the one that prints and writes files."""
    return rank() == 0


@contextmanager
def process_group() -> Iterator[None]:
    """Connects the processes for the body, to gather results on the CPU; a single process needs nothing."""
    if world_size() == 1:
        yield
        return
    from torch import distributed

    if distributed.is_initialized():
        yield
        return
    distributed.init_process_group("gloo", timeout=MOST_WAIT)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def gather(items: list[Item]) -> list[Item]:
    """The items of all processes, one process after the other, on each of them."""
    if world_size() == 1:
        return items
    from torch import distributed

    parts: list[list[Item]] = [[] for _ in range(world_size())]
    distributed.all_gather_object(parts, items)
    return [item for part in parts for item in part]


@contextmanager
def failing_together(*, meanwhile: Callable[[], None] | None = None) -> Iterator[None]:
    """Raises an error of the body in all processes: without it, the others would wait for ever for results.

    Args:
        meanwhile: called again and again while the others are at work; all processes give one, or none does.
    """
    failures: list[Exception] = []
    try:
        yield
    except Exception as error:
        if world_size() == 1:
            raise
        failures.append(error)
    if meanwhile is not None:
        failures += _wait_for_all(meanwhile)
    if failures := gather(failures):
        raise failures[0]


def _wait_for_all(meanwhile: Callable[[], None], *, every_s: float = 0.5) -> list[Exception]:
    """Waits until all processes are here; returns what `meanwhile` has raised, after which it is called no more."""
    if world_size() == 1:
        return []
    from torch import distributed

    failures: list[Exception] = []
    all_here = distributed.barrier(async_op=True)
    assert all_here is not None, "the process is of the group"
    while not (failures or all_here.is_completed()):
        try:
            meanwhile()
        except Exception as error:
            failures.append(error)
        time.sleep(every_s)
    all_here.wait()
    return failures


def join_processes(*, cpu: bool) -> None:
    """Connects the processes for a training, with the backend of the CPU or of their accelerators."""
    from accelerate import PartialState

    PartialState(cpu=cpu)


def agreed(value: Item) -> Item:
    """The main process's value, on all processes: the others may see files late."""
    return gather([value])[0]


def same_buffers(model: "nn.Module") -> None:
    """Copies the main process's buffers of a model, such as batch statistics, to all processes."""
    if world_size() > 1:
        from torch import distributed

        for buffer in model.buffers():
            distributed.broadcast(buffer, src=0)
