"""Candidates that take turns, growth and the machine's peaks; never a time."""

import math
from typing import Any

import pytest
import torch

from morphmlp.analysis.bench import timing
from morphmlp.analysis.bench.timing import growth_exponent, measure


class Clock:
    """Stands still but for what the candidates add to it."""

    def __init__(self):
        self.now = 0.0
        self.calls: list[str] = []

    def candidate(self, name: str, *seconds: float) -> Any:
        """A call that takes the given times, one after the other."""
        times = iter(seconds)

        def call() -> None:
            self.calls.append(name)
            self.now += next(times)

        return call

    def __call__(self) -> float:
        return self.now


# ----------------------------------------------------------------------------------------------------------- timing


def test_candidates_take_turns_in_order_and_warm_up_before_each_call_that_is_timed():
    clock = Clock()
    candidates = {name: clock.candidate(name, 9, 8, 1, 8, 1) for name in "abc"}
    timings = measure(candidates, turns=2, clock=clock).timings
    assert "".join(clock.calls) == "abc" + "aabbcc" * 2
    assert [(timings[name].first_s, timings[name].turns_s) for name in "abc"] == [(9, [1, 1])] * 3


def test_median_and_ratio_within_a_turn_where_the_machine_slows_down():
    clock = Clock()
    # 9 and 5 are the first calls, 7 those before the timed ones; in two turns everything takes ten times as long.
    candidates = {
        "slow": clock.candidate("slow", 9, 7, 2, 7, 2, 7, 20, 7, 20, 7, 6),
        "fast": clock.candidate("fast", 5, 7, 1, 7, 1, 7, 10, 7, 10, 7, 2),
    }
    timings = measure(candidates, turns=5, clock=clock).timings
    assert timings["slow"].turns_s == [2, 2, 20, 20, 6]
    assert (timings["slow"].median_s, timings["fast"].median_s) == (6, 2)
    assert (timings["slow"].ratio, timings["fast"].ratio) == (1, 2)
    assert (timings["slow"].first_s, timings["fast"].first_s) == (9, 5)


def test_candidate_that_cannot_run_is_left_out_with_its_reason():
    def refuses() -> None:
        raise RuntimeError("not implemented for 'BFloat16'\nmore lines")

    measured = measure({"good": lambda: None, "bad": refuses}, turns=1)
    assert list(measured.timings) == ["good"]
    assert measured.refused == {"bad": "not implemented for 'BFloat16'"}
    with pytest.raises(RuntimeError, match="not implemented"):
        measure({"bad": refuses, "good": lambda: None}, turns=1)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0, 3.0])
def test_growth_exponent_of_exact_powers(exponent: float):
    sizes = [8, 16, 32, 64]
    assert math.isclose(growth_exponent(sizes, [7 * size**exponent for size in sizes]), exponent, abs_tol=1e-12)


@pytest.mark.parametrize(("sizes", "costs"), [([2], [3]), ([2, 2], [3, 4]), ([1, 2], [0, 1])])
def test_growth_exponent_refuses_what_has_no_slope(sizes: list[float], costs: list[float]):
    with pytest.raises(ValueError, match="two or more sizes, all above 0"):
        growth_exponent(sizes, costs)


def test_machine_has_peaks_and_bandwidth(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(timing, "_PRODUCTS", {"cpu": ((16, 16, 16),)})
    monkeypatch.setattr(timing, "_COPIED_BYTES", {"cpu": 1024})
    machine = timing.describe_machine(torch.device("cpu"))
    assert set(machine.peak_gflops) == {"fp32", "bf16"}
    assert min(*machine.peak_gflops.values(), machine.copy_gb_s) > 0
    assert (machine.threads, machine.gpu) == (torch.get_num_threads(), None)
