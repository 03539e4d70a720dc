"""What is kept for the picture of a stream, which may never end."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphmlp.tasks.classification.timeline import pictures
from morphmlp.tasks.classification.timeline.pictures import FRAMES_SHOWN, Seen, Thinned, write_pictures
from morphmlp.tasks.classification.timeline.segments import Segment, WindowScores


def test_every_second_value_is_kept_once_there_are_too_many():
    kept: Thinned[int] = Thinned(4)
    for number in range(7):
        kept.add(number, lambda number=number: number)
    assert [value for _, value in kept.items] == [0, 2, 4, 6]


@given(st.integers(1, 3_000), st.integers(2, 40))
def test_what_is_kept_is_evenly_spaced_and_does_not_grow(count: int, most: int):
    kept: Thinned[int] = Thinned(most)
    for number in range(count):
        kept.add(number, lambda number=number: number)
    values = [value for _, value in kept.items]
    assert len(values) <= most
    assert len(values) >= min(count, most // 2)
    assert values[0] == 0
    assert len(set(np.diff(values))) <= 1


def test_the_strip_shows_the_frames_nearest_to_the_middle_of_each_part():
    seen = Seen()
    for number in range(24):
        seen.add_frame(number + 0.5, np.full((60, 80, 3), number, dtype=np.uint8))
        seen.add_scores(WindowScores(number, number + 1, np.ones(1)))
    strip = seen.strip()
    assert strip is not None
    assert strip.shape == (FRAMES_SHOWN, 120, 160, 3)
    assert strip[:, 0, 0, 0].tolist() == list(range(0, 24, 2))


def test_the_curves_are_those_of_the_labels_that_are_in_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Also of one that is never sure, beside five that are for a moment."""
    labels, drawn = [*"abcdef", "long"], []
    seen = Seen()
    for start in range(6):
        values = np.full(7, 0.01)
        values[start] = 0.9
        seen.add_scores(WindowScores(start, start + 1, values))
    monkeypatch.setattr(pictures, "draw_timeline", lambda path, timeline: drawn.append(timeline))
    write_pictures(tmp_path / "x.png", {"x": [Segment(0, 6, "long", 0.4)]}, {"x": seen}, labels=labels, threshold=None)
    assert list(drawn[0].scores) == ["long", "a", "b", "c", "d"]
