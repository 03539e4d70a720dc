"""From windows to segments: the grid of window edges, the hysteresis, and the finder that never sees the end."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphmlp.errors import ConfigError
from morphmlp.tasks.classification.timeline.segments import (
    Segment,
    SegmentFinder,
    WindowScores,
    find_segments,
    with_other_labels,
)

LABELS = ["walk", "sit", "fall"]


def windows_of(values: list[float], *, length_s: float = 1.0, step_s: float = 1.0) -> list[WindowScores]:
    """Windows of two classes, of which the first has these probabilities."""
    return [WindowScores(i * step_s, i * step_s + length_s, np.array([p, 1 - p])) for i, p in enumerate(values)]


def found(values: list[float], **options) -> list[tuple[float, float, float]]:
    """Start, end and rounded score of the segments of the first of two classes."""
    step = {name: options.pop(name) for name in ("length_s", "step_s") if name in options}
    segments = find_segments(windows_of(values, **step), ["a", "b"], background=["b"], **options)
    assert all(segment.label == "a" for segment in segments)
    return [(s.start_s, s.end_s, round(s.score, 9)) for s in segments]


def test_overlapping_windows_are_averaged_between_their_edges():
    # 0 to 1 s: 0.9; 1 to 2 s: 0.7; 2 to 3 s: 0.3
    assert found([0.9, 0.5, 0.1], length_s=2, threshold=0.6, low=0.4) == [(0, 2, 0.8)]
    assert found([0.9, 0.5, 0.1], length_s=2, threshold=0.7, low=0.3) == [(0, 3, round(1.9 / 3, 9))]
    assert found([0.9, 0.5, 0.1], length_s=2, threshold=0.91) == []


def test_a_segment_opens_at_the_threshold_and_closes_below_the_lower_one():
    assert found([0.5, 0.6, 0.45, 0.6, 0.39, 0.5], threshold=0.6, low=0.4) == [(1, 4, 0.55)]
    assert found([0.5, 0.6, 0.45, 0.6, 0.39, 0.5], threshold=0.6, low=0.6) == [(1, 2, 0.6), (3, 4, 0.6)]


def test_the_lower_threshold_is_four_fifths_of_the_threshold_by_default():
    assert found([0.5, 0.41, 0.39], threshold=0.5) == [(0, 2, 0.455)]


def test_without_a_threshold_every_moment_belongs_to_its_most_probable_label():
    probabilities = [[0.5, 0.3, 0.2], [0.4, 0.3, 0.3], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]
    windows = [WindowScores(i, i + 1, np.array(row)) for i, row in enumerate(probabilities)]
    assert find_segments(windows, LABELS, threshold=0) == find_segments(windows, LABELS)
    assert find_segments(windows, LABELS, background=["fall", "not a label"]) == [
        Segment(0, 2, "walk", pytest.approx(0.45)),
        Segment(2, 3, "sit", pytest.approx(0.8)),
    ]


def test_without_a_threshold_something_happens_where_the_background_has_less_than_half():
    rows = [[0.3, 0.25, 0.45], [0.2, 0.22, 0.58], [0.2, 0.19, 0.61], [0.3, 0.19, 0.51]]
    windows = [WindowScores(i, i + 1, np.array(row)) for i, row in enumerate(rows)]
    # The background is the most probable label all the time. It closes above 0.6 and does not open above 0.5.
    segments = find_segments(windows, LABELS, background=["fall"])
    assert [(s.start_s, s.end_s, s.label) for s in segments] == [(0, 1, "walk"), (1, 2, "sit")]


def test_the_core_of_a_window_says_when_and_its_whole_says_where_a_label_leads():
    # Windows of 2 s about their middle second; the first and the last one speak for the ends of the recording too.
    rows = [[0, 0, 1], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8], [0, 0, 1]]
    windows = [WindowScores(i, i + 2, np.array(row)) for i, row in enumerate(rows)]
    assert find_segments(windows, LABELS, background=["fall"], core_s=1.0) == [
        Segment(1.5, 2.5, "walk", pytest.approx(0.5))
    ]
    assert find_segments(windows[1:3], LABELS, background=["fall"], core_s=1.0) == [
        Segment(1, 2.5, "walk", pytest.approx(0.5))
    ]
    # One window that errs cuts nothing: over 1 to 3 s, all windows together say walk.
    rows = [[0.9, 0.1, 0], [0.4, 0.6, 0], [0.9, 0.1, 0]]
    windows = [WindowScores(i, i + 2, np.array(row)) for i, row in enumerate(rows)]
    assert find_segments(windows, LABELS, background=["fall"], core_s=1.0) == [
        Segment(0, 4, "walk", pytest.approx((1.5 * 0.9 + 0.4 + 1.5 * 0.9) / 4))
    ]


def test_a_segment_has_the_label_with_the_highest_mean_in_it():
    windows = [WindowScores(0, 3, np.array([0.6, 0.4, 0])), WindowScores(1, 2, np.array([0.45, 0.55, 0]))]
    [segment] = find_segments(windows, LABELS, core_s=1.0)  # 1 to 2 s: both cores; before and after: the first
    assert (segment.label, segment.score) == ("walk", pytest.approx((0.6 + 0.525 + 0.6) / 3))


def test_a_mean_average_precision_ranks_each_segment_with_every_other_label():
    windows = [WindowScores(i, i + 1, np.array(row)) for i, row in enumerate([[0.6, 0.3, 0.1], [0.4, 0.2, 0.4]])]
    segment = Segment(0, 2, "walk", 0.5)
    ranked = with_other_labels([segment], windows, LABELS, background=["fall"])
    assert ranked == [segment, Segment(0, 2, "sit", pytest.approx(0.25))]
    short = Segment(1.6, 1.8, "walk", 0.4)  # no window has its middle there: the nearest counts
    assert with_other_labels([short], windows, LABELS, background=[])[1:] == [
        Segment(1.6, 1.8, "sit", pytest.approx(0.2)),
        Segment(1.6, 1.8, "fall", pytest.approx(0.4)),
    ]


def test_segments_of_two_labels_can_overlap():
    windows = [WindowScores(i, i + 1, np.array(row)) for i, row in enumerate([[0.6, 0.4, 0], [0.5, 0.5, 0], [0, 1, 0]])]
    segments = find_segments(windows, LABELS, threshold=0.4)
    assert [(s.start_s, s.end_s, s.label) for s in segments] == [(0, 2, "walk"), (0, 3, "sit")]


def test_short_segments_are_dropped_after_touching_pieces_became_one():
    assert found([0.9, 0.9, 0.1, 0.9], threshold=0.5, shortest_s=2) == [(0, 2, 0.9)]
    assert found([0.9] * 3, length_s=0.1, step_s=0.1, threshold=0.5, shortest_s=0.3) == [(0, 0.3, 0.9)]


def test_sums_of_floating_point_leave_no_gap():
    # 3 x 0.1 is 0.30000000000000004, and 0.2 + 0.1 as well, but 0.7 + 0.1 is 0.7999999999999999
    assert found([0.8] * 12, length_s=0.1, step_s=0.1, threshold=0.5) == [(0, 1.2, 0.8)]


def test_a_moment_without_a_window_closes_all():
    assert found([0.9, 0.9], length_s=1, step_s=1.5, threshold=0.5) == [(0, 1, 0.9), (1.5, 2.5, 0.9)]


def test_nothing_comes_of_nothing():
    assert find_segments([], LABELS) == []
    assert SegmentFinder(LABELS).finish() == []
    assert SegmentFinder(LABELS).open_segments == []


def test_a_segment_that_never_closes_is_open_and_needs_no_more_memory():
    finder = SegmentFinder(["a", "b"], threshold=0.5, shortest_s=2, background=["b"])
    opened = []
    for window in windows_of([0.9] * 1000, length_s=2, step_s=0.5):
        assert finder.add(window) == []
        opened.append(finder.open_segments)
        assert len(finder._windows) <= 4
    assert opened[3] == []  # 1.5 s: not yet long enough
    assert opened[4] == [Segment(0, 2, "a", pytest.approx(0.9))]
    assert opened[-1] == [Segment(0, 499.5, "a", pytest.approx(0.9))]
    assert finder.finish() == [Segment(0, 501.5, "a", pytest.approx(0.9))]
    assert finder.open_segments == []


def test_a_segment_is_given_out_as_soon_as_no_window_can_change_it():
    finder = SegmentFinder(["a", "b"], threshold=0.5, low=0.5, background=["b"])
    closed = [finder.add(window) for window in windows_of([0.9, 0.9, 0, 0, 0], length_s=2)]
    # 2 to 3 s has 0.45: this is known once the window at 3 s begins, as later ones cover nothing before that.
    assert closed == [[], [], [], [Segment(0, 2, "a", pytest.approx(0.9))], []]
    assert finder.finish() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": -0.1}, "threshold=-0.1: .* 0 takes the most probable label"),
        ({"threshold": 1.2}, "threshold=1.2"),
        ({"threshold": float("nan")}, "threshold=nan"),
        ({"threshold": 0.5, "low": 0.6}, "low=0.6: .* up to the threshold, which is 0.5"),
        ({"low": 0.6}, "low=0.6"),
        ({"shortest_s": -1}, "shortest_s=-1"),
    ],
)
def test_a_number_out_of_range_is_named(options: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        SegmentFinder(LABELS, **options)


def test_windows_that_do_not_fit_are_refused():
    finder = SegmentFinder(LABELS)
    finder.add(WindowScores(2, 3, np.ones(3) / 3))
    with pytest.raises(ValueError, match=r"window 1 to 4 s.* start at 2 s or later"):
        finder.add(WindowScores(1, 4, np.ones(3) / 3))
    with pytest.raises(ValueError, match="window 3 to 3 s: its end"):
        finder.add(WindowScores(3, 3, np.ones(3) / 3))
    with pytest.raises(ValueError, match="2 probabilities for 3 labels"):
        finder.add(WindowScores(3, 4, np.ones(2) / 2))


TICK_S = 0.5  # the edges of windows are whole seconds, and those of cores of 1 s are halves


def means_at(time_s, windows, core_s):
    """The mean of the windows about a moment, and of all that cover it; None without any."""
    over = [w for w in windows if w.start_s <= time_s < w.end_s]
    if not over:
        return None
    about = over
    if core_s is not None:
        cores = [max((w.end_s - w.start_s - core_s) / 2, 0) for w in over]
        spans = [(w.start_s + cut, w.end_s - cut) for w, cut in zip(over, cores, strict=True)]
        inside = [w for w, (start, end) in zip(over, spans, strict=True) if start <= time_s < end]
        before = [w for w, (_, end) in zip(over, spans, strict=True) if end <= time_s]
        after = [w for w, (start, _) in zip(over, spans, strict=True) if start > time_s]
        about = inside or before[-1:] + after[:1]
    return tuple(sum(w.probabilities for w in chosen) / len(chosen) for chosen in (about, over))


def naive_segments(windows, labels, *, threshold, low, shortest, background, core_s=None):
    """Every tick by itself, then runs of open ticks."""
    windows = sorted(windows, key=lambda w: w.start_s)
    num_ticks = round(max((w.end_s for w in windows), default=0) / TICK_S)
    at = [means_at(TICK_S * tick, windows, core_s) for tick in range(num_ticks)] + [None]
    if threshold is not None:
        runs = [run for i in range(len(labels)) for run in _runs_above(at, i, threshold, low)]
    else:
        runs = _leading_runs(at, [label not in background for label in labels])
    segments = [
        (TICK_S * start, TICK_S * end, labels[i], sum(at[tick][0][i] for tick in range(start, end)) / (end - start))
        for start, end, i in runs
        if TICK_S * (end - start) >= shortest and labels[i] not in background
    ]
    return sorted(segments)


def _runs_above(at, index, threshold, low):
    runs, start = [], None
    for tick, means in enumerate(at):
        is_open = means is not None and means[0][index] >= (threshold if start is None else low)
        if start is not None and not is_open:
            runs.append((start, tick, index))
        start = (tick if start is None else start) if is_open else None
    return runs


def _leading_runs(at, reported):
    runs, start, leader = [], None, None
    for tick, means in enumerate(at):
        something = 0 if means is None else 1 - means[0][[not r for r in reported]].sum()
        is_open = means is not None and something >= (0.5 if start is None else 0.4)
        leads = int(np.argmax(np.where(reported, means[1], -1))) if is_open else None
        if start is not None and leads != leader:
            sums = sum(at[i][0] for i in range(start, tick))
            runs.append((start, tick, int(np.argmax(np.where(reported, sums, -1)))))
            start = None
        start, leader = (tick if start is None else start) if is_open else None, leads
    return runs


@st.composite
def recordings(draw):
    spans = draw(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 5)), max_size=8))
    # Multiples of 1/128 are summed and halved without rounding, so that both ways meet a threshold alike.
    rows = [draw(st.lists(st.integers(0, 96), min_size=3, max_size=3)) for _ in spans]
    return [WindowScores(start, start + n, np.array(row) / 128) for (start, n), row in zip(spans, rows, strict=True)]


@given(
    recordings(),
    st.sampled_from([None, 0.1, 0.25, 0.4]),
    st.sampled_from([1, 0.6]),
    st.integers(0, 3),
    st.sampled_from([None, 1.0]),
)
def test_the_finder_gives_what_every_moment_by_itself_gives(windows, threshold, ratio, shortest, core_s):
    low = None if threshold is None else threshold * ratio
    options = {"threshold": threshold, "low": low, "background": ["sit"], "core_s": core_s}
    segments = find_segments(windows, LABELS, shortest_s=shortest, **options)
    expected = naive_segments(windows, LABELS, shortest=shortest, **options)
    assert [(s.start_s, s.end_s, s.label) for s in segments] == [row[:3] for row in expected]
    assert [s.score for s in segments] == pytest.approx([row[3] for row in expected])


@given(recordings(), st.sampled_from([None, 0.2]))
def test_what_the_finder_has_given_out_stays(windows, threshold):
    """After each window, closed and open segments together are those of the windows so far, up to the newest one."""
    ordered = sorted(windows, key=lambda window: window.start_s)
    finder, closed = SegmentFinder(LABELS, threshold=threshold), []
    for number, window in enumerate(ordered):
        closed += finder.add(window)
        now = window.start_s
        cut = [WindowScores(w.start_s, min(w.end_s, now), w.probabilities) for w in ordered[:number]]
        cut = [w for w in cut if w.end_s > w.start_s]
        so_far = sorted(closed + finder.open_segments, key=lambda s: (s.start_s, s.end_s, s.label))
        assert so_far == find_segments(cut, LABELS, threshold=threshold)
    everything = find_segments(ordered, LABELS, threshold=threshold)
    assert sorted(closed + finder.finish(), key=lambda s: (s.start_s, s.end_s, s.label)) == everything
