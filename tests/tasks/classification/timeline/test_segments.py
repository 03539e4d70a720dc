"""From windows to segments: the grid of window edges, the hysteresis, and the finder that never sees the end."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphmlp.errors import ConfigError
from morphmlp.tasks.classification.timeline.segments import Segment, SegmentFinder, WindowScores, find_segments

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


def naive_segments(windows, labels, *, threshold, low, shortest, background):
    """Every tick of a whole number by itself: the mean of its windows, then runs of open ticks."""
    last = max((round(w.end_s) for w in windows), default=0)
    segments = []
    for index, label in enumerate(labels):
        run: list[float] = []
        for tick in range(last + 1):
            over = [w.probabilities for w in windows if w.start_s <= tick < w.end_s]
            mean = sum(over) / len(over) if over else None
            if mean is None:
                is_open = False
            elif threshold is None:
                is_open = int(np.argmax(mean)) == index
            else:
                is_open = mean[index] >= (low if run else threshold)
            if is_open:
                run.append(mean[index])
                continue
            if run and len(run) >= shortest and label not in background:
                segments.append((tick - len(run), tick, label, sum(run) / len(run)))
            run = []
    return sorted(segments)


@st.composite
def recordings(draw):
    spans = draw(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 5)), max_size=8))
    # Multiples of 1/128 are summed and halved without rounding, so that both ways meet a threshold alike.
    rows = [draw(st.lists(st.integers(0, 64), min_size=3, max_size=3)) for _ in spans]
    return [WindowScores(start, start + n, np.array(row) / 128) for (start, n), row in zip(spans, rows, strict=True)]


@given(recordings(), st.sampled_from([None, 0.1, 0.25, 0.4]), st.sampled_from([1, 0.6]), st.integers(0, 3))
def test_the_finder_gives_what_every_moment_by_itself_gives(windows, threshold, ratio, shortest):
    low = None if threshold is None else threshold * ratio
    segments = find_segments(windows, LABELS, threshold=threshold, low=low, shortest_s=shortest, background=["sit"])
    expected = naive_segments(
        windows, LABELS, threshold=threshold, low=low, shortest=max(shortest, 1), background=["sit"]
    )
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
