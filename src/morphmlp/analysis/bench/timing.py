"""Measuring time: candidates that take turns, how cost grows, and what the machine can do at best."""

import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from morphmlp.formatting import first_line
from morphmlp.inference.device import torch_dtype
from morphmlp.inference.optimize import PRECISIONS
from morphmlp.training.environment import processor_name

_PRODUCTS = {  # rows, inner width and columns of the matrix products: 2 GFLOP each on a CPU, enough for a GPU to fill
    "cpu": ((1024, 1024, 1024), (4096, 512, 512), (2048, 256, 2048)),
    "gpu": ((8192, 8192, 8192), (16384, 4096, 4096), (32768, 1024, 4096)),
}
_COPIED_BYTES = {"cpu": 2**28, "gpu": 2**30}  # beyond the caches


@dataclass(frozen=True)
class Timing:
    """Of one candidate.

    Attributes:
        first_s: seconds of its first call, which is no turn: with compiling, and whatever else is done once.
        turns_s: seconds of each turn.
        ratio: how many times as fast as the reference: the median over turns of the ratio within a turn.
    """

    first_s: float
    turns_s: list[float]
    ratio: float

    @property
    def median_s(self) -> float:
        return statistics.median(self.turns_s)


@dataclass(frozen=True)
class Measured:
    """Timings by name, and the reasons why the `refused` candidates could not run."""

    timings: dict[str, Timing] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def measure(
    candidates: Mapping[str, Callable[[], Any]],
    turns: int,
    *,
    device: torch.device | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Measured:
    """Times a call of every candidate in each turn, in order: what slows the machine for a while slows them all alike.

    A ratio within a turn compares two calls made within seconds of each other, so that its median holds where the
    medians of the seconds drift. The first candidate is the reference. An untimed call comes before each timed one: the
    previous candidate leaves other caches and memory than a candidate finds when it runs alone.

    >>> measure({"sort": lambda: sorted(range(9)), "max": lambda: max(range(9))}, turns=3).timings["sort"].ratio
    1.0

    Args:
        turns: 1 or more.
        device: one that is no CPU computes while Python goes on; each call waits for it before and after.

    Raises:
        RuntimeError, ValueError, TypeError: the reference cannot run; of another candidate, it is `refused`.
    """
    assert candidates
    assert turns > 0
    wait = partial(torch.accelerator.synchronize, device) if device is not None and device.type != "cpu" else None
    first_s, refused = _first_calls(candidates, clock, wait)
    running = {name: candidates[name] for name in first_s}
    turns_s: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(turns):
        for name, candidate in running.items():
            candidate()
            turns_s[name].append(_seconds(candidate, clock, wait))
    reference = next(iter(turns_s.values()))
    timings = {}
    for name, seconds in turns_s.items():
        ratio = statistics.median(theirs / own for theirs, own in zip(reference, seconds, strict=True))
        timings[name] = Timing(first_s[name], seconds, ratio)
    return Measured(timings, refused)


def _first_calls(
    candidates: Mapping[str, Callable[[], Any]], clock: Callable[[], float], wait: Callable[[], Any] | None
) -> tuple[dict[str, float], dict[str, str]]:
    """Seconds of each candidate's first call, and the reason for each call that fails."""
    first_s: dict[str, float] = {}
    refused: dict[str, str] = {}
    for name, candidate in candidates.items():
        try:
            first_s[name] = _seconds(candidate, clock, wait)
        except (RuntimeError, ValueError, TypeError, AssertionError, ImportError) as error:
            if not first_s:
                raise
            refused[name] = first_line(error)
    return first_s, refused


def _seconds(candidate: Callable[[], Any], clock: Callable[[], float], wait: Callable[[], Any] | None) -> float:
    if wait:
        wait()
    started = clock()
    candidate()
    if wait:
        wait()
    return clock() - started


def growth_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The p of cost = c * size^p: the slope of the line through the logarithms, by least squares.

    >>> round(growth_exponent([1, 2, 4, 8], [3, 12, 48, 192]), 6)
    2.0

    Raises:
        ValueError: fewer than two different sizes, or a size or cost that is not above 0.
    """
    if len(set(sizes)) < 2 or min(*sizes, *costs) <= 0:
        raise ValueError(f"sizes {list(sizes)} and costs {list(costs)}: give two or more sizes, all above 0")
    return statistics.linear_regression([math.log(size) for size in sizes], [math.log(cost) for cost in costs]).slope


@dataclass(frozen=True)
class Machine:
    """What a measurement ran on.

    Attributes:
        peak_gflops: the fastest matrix product measured, GFLOP/s by dtype ("fp32", "bf16").
        copy_gb_s: bytes read and written a second by a copy in memory, in GB.
    """

    processor: str
    cores: int
    threads: int
    torch: str
    device: str
    gpu: str | None
    peak_gflops: dict[str, float]
    copy_gb_s: float


def describe_machine(device: torch.device) -> Machine:
    """The facts, and the peaks, which are measured now: this takes seconds on a CPU."""
    return Machine(
        processor=processor_name(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        device=str(device),
        gpu=gpu_name(device),
        peak_gflops={name: matrix_peak(torch_dtype(name), device) for name in PRECISIONS},
        copy_gb_s=copy_bandwidth(device),
    )


def gpu_name(device: torch.device) -> str | None:
    """What the maker calls a GPU; its kind where PyTorch is not told, and None for a CPU."""
    if device.type == "cpu":
        return None
    named = getattr(torch.get_device_module(device), "get_device_name", None)
    return named(device) if named else device.type


def _size(device: torch.device) -> str:
    return "cpu" if device.type == "cpu" else "gpu"


def matrix_peak(dtype: torch.dtype, device: torch.device) -> float:
    """GFLOP/s of the fastest of a few matrix products, through each library that PyTorch has for them."""
    return max(
        2 * rows * inner * columns / _best_seconds(product, device) / 1e9
        for rows, inner, columns in _PRODUCTS[_size(device)]
        for product in _products(rows, inner, columns, dtype=dtype, device=device)
    )


def _products(
    rows: int, inner: int, columns: int, *, dtype: torch.dtype, device: torch.device
) -> list[Callable[[], Any]]:
    x = torch.randn(rows, inner, dtype=dtype, device=device)
    weight = torch.randn(columns, inner, dtype=dtype, device=device)
    ways: list[Callable[[], Any]] = [partial(F.linear, x, weight)]
    # In fp32 a linear layer runs in BLAS, which on some processors has half the speed of oneDNN.
    if device.type == "cpu" and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        onednn = partial(torch.ops.mkldnn._linear_pointwise, x, weight, None, "none", [], "")
        try:
            onednn()
        except RuntimeError:  # oneDNN has no such product for this processor
            return ways
        ways.append(onednn)
    return ways


def copy_bandwidth(device: torch.device) -> float:
    """GB/s, read and written, of a copy that no cache holds."""
    source = torch.ones(_COPIED_BYTES[_size(device)], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _best_seconds(partial(target.copy_, source), device) / 1e9


def _best_seconds(function: Callable[[], Any], device: torch.device, calls: int = 4) -> float:
    timing = measure({"": function}, calls, device=device).timings[""]
    return min(timing.turns_s)
