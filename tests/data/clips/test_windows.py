"""Which windows a recording has, and how frames that come one by one are cut into them."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphmlp.data.clips.cutting import CutWindow, WindowCutter
from morphmlp.data.clips.windows import first_from, num_windows, require_windows, window_start, window_times
from morphmlp.data.media.stretches import microseconds
from morphmlp.errors import ConfigError

seconds = st.floats(0.01, 500)


@dataclass(frozen=True)
class Frame:
    time_s: float


def cut(times_s: list[float], end_s: float, **options: float) -> list[CutWindow[Frame]]:
    cutter: WindowCutter[Frame] = WindowCutter(**options)
    return [window for time_s in times_s for window in cutter.add(Frame(time_s))] + cutter.finish(end_s)


def spans(windows: list[CutWindow[Frame]]) -> list[tuple[float, float]]:
    return [(window.start_s, window.end_s) for window in windows]


@pytest.mark.parametrize(
    ("duration_s", "length_s", "step_s", "expected"),
    [
        (10, 4, 2, [(0, 4), (2, 6), (4, 8), (6, 10)]),
        (10.5, 4, 2, [(0, 4), (2, 6), (4, 8), (6, 10), (8, 10.5)]),
        (3, 4, 2, [(0, 3)]),
        (4, 4, 1, [(0, 4)]),
        (5, 1, 2, [(0, 1), (2, 3), (4, 5)]),  # with gaps
        (4.0004, 4, 2, [(0, 4)]),  # the rest is rounding
        (0.9, 0.3, 0.3, [(0, 0.3), (0.3, 0.6), (0.6, 0.9)]),  # 3 * 0.3 is not 0.9 in floats
    ],
)
def test_windows_of_a_recording(duration_s: float, length_s: float, step_s: float, expected: list[tuple[float, float]]):
    times = window_times(duration_s, length_s=length_s, step_s=step_s)
    assert [pytest.approx(window) for window in expected] == times


@given(seconds, seconds, st.floats(0.01, 1))
def test_windows_cover_all_of_a_recording_and_none_is_needless(duration_s: float, length_s: float, share: float):
    step_s = max(length_s * share, 0.01, duration_s / 500)
    times = window_times(duration_s, length_s=length_s, step_s=step_s)
    assert times[0][0] == 0
    assert times[-1][1] == pytest.approx(duration_s, abs=1.1e-3) or step_s > length_s
    assert all(start < end <= start + length_s for start, end in times)
    if len(times) > 1 and step_s <= length_s:
        assert times[-2][1] < duration_s + 1e-3
        assert all(left[1] >= right[0] - 1e-6 for left, right in pairwise(times))


@given(st.floats(0, 1_000), st.floats(0.01, 100))
def test_the_first_window_from_a_time_on(time_s: float, step_s: float):
    number = first_from(time_s, step_s=step_s)
    assert microseconds(window_start(number, step_s)) >= microseconds(time_s)
    assert number == 0 or microseconds(window_start(number - 1, step_s)) < microseconds(time_s)


def test_starts_do_not_drift_over_ten_hours():
    assert window_start(360_000, 0.1) == 36_000
    assert num_windows(36_000, length_s=0.2, step_s=0.1) == 359_999


@pytest.mark.parametrize("values", [{"length_s": 0.0, "step_s": 1.0}, {"length_s": 1.0, "step_s": float("nan")}])
def test_a_length_or_step_that_windows_cannot_have_is_refused(values: dict[str, float]):
    with pytest.raises(ConfigError, match=r"give 0\.01 s or more"):
        require_windows(**values)


def test_a_window_comes_with_the_first_frame_after_it():
    cutter: WindowCutter[Frame] = WindowCutter(length_s=2, step_s=1)
    frames = [Frame(i / 2) for i in range(6)]
    assert [spans(cutter.add(frame)) for frame in frames] == [[], [], [], [], [(0, 2)], []]
    assert [frame.time_s for frame in cutter.frames] == [1, 1.5, 2, 2.5]
    (last, cut_off) = cutter.finish(3.5)
    assert [frame.time_s for frame in last.frames] == [1, 1.5, 2, 2.5]
    assert (cut_off.start_s, cut_off.end_s, [frame.time_s for frame in cut_off.frames]) == (2, 3.5, [2, 2.5])


@given(
    st.lists(st.floats(0, 20), min_size=1, max_size=60, unique=True).map(sorted), st.floats(0.3, 5), st.floats(0.3, 5)
)
def test_each_window_has_the_frames_that_are_shown_in_it(times_s: list[float], length_s: float, step_s: float):
    end_s = times_s[-1] + 0.04
    windows = cut(times_s, end_s, length_s=length_s, step_s=step_s)
    expected = window_times(end_s, length_s=length_s, step_s=step_s)
    assert len(windows) == len(expected)
    assert [start for start, _ in spans(windows)[: len(expected)]] == [start for start, _ in expected]
    assert windows[-1].end_s == pytest.approx(expected[-1][1], abs=1.1e-3)
    for window in windows:
        start, end = microseconds(window.start_s), microseconds(window.end_s)
        inside = [time_s for time_s in times_s if start <= microseconds(time_s) < end]
        before = [time_s for time_s in times_s if microseconds(time_s) < start]
        assert [frame.time_s for frame in window.frames] == (inside or before[-1:] or times_s[:1])


@given(st.integers(1, 5), st.integers(1, 10))
def test_no_more_frames_are_kept_than_a_window_needs(length: int, step: int):
    cutter: WindowCutter[Frame] = WindowCutter(length_s=length, step_s=step)
    for number in range(200):
        cutter.add(Frame(number / 10))
        assert len(cutter.frames) <= 10 * max(length, step) + 2


def test_windows_of_which_frames_were_dropped_are_left_out():
    cutter: WindowCutter[Frame] = WindowCutter(length_s=2, step_s=1, start_s=100)
    for time_s in (100, 101):
        cutter.add(Frame(time_s))
    assert cutter.skip_to(103.5) == 4
    complete = [window for time_s in (103.5, 104, 105, 106) for window in cutter.add(Frame(time_s))]
    assert [(window.start_s, [frame.time_s for frame in window.frames]) for window in complete] == [(104, [104, 105])]
    assert cutter.skip_to(101) == 0
