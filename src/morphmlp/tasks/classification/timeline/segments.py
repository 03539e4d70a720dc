"""From the probabilities of overlapping windows to segments: what happens from when to when.

Every moment gets the mean of the windows that cover it. A label's segment opens where its mean reaches the threshold,
and closes where it falls below a lower one, so that a value that trembles around the threshold makes one segment. Time
counts in whole microseconds: 3 x 0.1 s and 0.3 s are one edge.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from morphmlp.data.media.stretches import microseconds
from morphmlp.errors import ConfigError

SHORTEST_S = 0.5  # of a segment, where people are asked
DEFAULT_LOW = 0.8  # of the threshold: where a segment closes, unless that is given


@dataclass(frozen=True)
class WindowScores:
    """The probabilities `[classes]` of what is shown from `start_s` on and before `end_s`."""

    start_s: float
    end_s: float
    probabilities: np.ndarray


@dataclass(frozen=True)
class Segment:
    """A label from `start_s` on and before `end_s`; `score` is its mean probability there, 1 for the truth."""

    start_s: float
    end_s: float
    label: str
    score: float = 1.0

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


def find_segments(
    windows: Sequence[WindowScores],
    labels: Sequence[str],
    *,
    threshold: float | None = None,
    low: float | None = None,
    shortest_s: float = 0.0,
    background: Collection[str] = (),
) -> list[Segment]:
    """The segments of a recording, by start, end and label; `SegmentFinder` explains how and the arguments.

    Args:
        windows: in any order.

    Windows of 2 s every 1 s. "fall" has 0.9 in the first; 0.9 and 0.5, so 0.7, where the two overlap; 0.5 and 0.1, so
    0.3, from 2 s on; and 0.1 after that. It reaches 0.6 at 0 s and falls below 0.4 at 2 s, with a mean of 0.8 between:

    >>> fall = [0.9, 0.5, 0.1]
    >>> windows = [WindowScores(i, i + 2, np.array([p, 1 - p])) for i, p in enumerate(fall)]
    >>> find_segments(windows, ["fall", "walk"], threshold=0.6, low=0.4, shortest_s=0.5, background=["walk"])
    [Segment(start_s=0.0, end_s=2.0, label='fall', score=0.8)]
    """
    finder = SegmentFinder(labels, threshold=threshold, low=low, shortest_s=shortest_s, background=background)
    found = [segment for window in sorted(windows, key=lambda window: window.start_s) for segment in finder.add(window)]
    return sorted(found + finder.finish(), key=_order)


def _order(segment: Segment) -> tuple[float, float, str]:
    return segment.start_s, segment.end_s, segment.label


class SegmentFinder:
    """Finds segments while the windows come, in the order of their starts: of a file, or of a stream without end.

    It keeps the windows that overlap the newest one, and one open segment a label, so its memory does not grow.

    A moment without a window, after a lost connection or between windows that do not overlap, closes all segments.

    Args:
        labels: names of the classes, in the order of the probabilities.
        threshold: the mean probability that opens a segment; segments of several labels can overlap. None or 0: every
            moment belongs to its most probable label.
        low: a segment closes where its mean probability is below it; by default 0.8 of the threshold.
        shortest_s: shorter segments are dropped, after pieces that touch have become one.
        background: labels that are never reported; those that are not among `labels` do not matter.

    Raises:
        ConfigError: a number is out of its range.
    """

    def __init__(
        self,
        labels: Sequence[str],
        *,
        threshold: float | None = None,
        low: float | None = None,
        shortest_s: float = 0.0,
        background: Collection[str] = (),
    ):
        _require_range(threshold, low, shortest_s)
        self.labels = list(labels)
        self.threshold, self.shortest = threshold or None, microseconds(shortest_s)
        self.low = DEFAULT_LOW * (threshold or 0) if low is None else low
        self._reported = np.array([label not in background for label in self.labels], dtype=bool)
        # Those that are not yet passed: start and end in microseconds.
        self._windows: list[tuple[int, int, np.ndarray]] = []
        self._time: int | None = None  # up to which everything is decided
        self._is_open = np.zeros(len(self.labels), dtype=bool)
        self._starts = np.zeros(len(self.labels), dtype=np.int64)
        self._sums = np.zeros(len(self.labels))  # mean probability x microseconds since the start

    def add(self, window: WindowScores) -> list[Segment]:
        """Takes the next window; returns the segments that are closed by now, and can change no more.

        Raises:
            ValueError: the window is empty, starts before the one before it, or has other classes.
        """
        start, end = microseconds(window.start_s), microseconds(window.end_s)
        if len(window.probabilities) != len(self.labels):
            raise ValueError(f"a window has {len(window.probabilities)} probabilities for {len(self.labels)} labels")
        if start >= end or (self._time is not None and start < self._time):
            after = "" if self._time is None else f", and start at {_seconds(self._time):g} s or later"
            raise ValueError(f"window {window.start_s:g} to {window.end_s:g} s: its end must be after its start{after}")
        closed = self._advance(start)
        self._windows.append((start, end, np.asarray(window.probabilities, dtype=np.float64)))
        return closed

    def finish(self) -> list[Segment]:
        """Ends the recording where its last window ends; returns the rest of its segments."""
        closed = self._advance(max((end for _, end, _ in self._windows), default=self._time or 0))
        return closed + self._close(self._is_open)

    @property
    def open_segments(self) -> list[Segment]:
        """The segments that go on at the start of the newest window, up to there, once they are long enough."""
        return self._segments(self._is_open)

    def _advance(self, time: int) -> list[Segment]:
        """Decides everything up to `time`, from one edge of a window to the next."""
        if self._time is None:
            self._time = time
        closed = []
        while self._time < time:
            covering = [window for window in self._windows if window[1] > self._time]
            until = min([time, *(end for _, end, _ in covering)])
            closed += self._extend(covering, until)
            self._time = until
        self._windows = [window for window in self._windows if window[1] > time]
        return closed

    def _extend(self, covering: list[tuple[int, int, np.ndarray]], until: int) -> list[Segment]:
        """Opens, extends and closes segments by the mean of the windows that cover all from now on to `until`."""
        assert self._time is not None
        means = np.mean([values for _, _, values in covering], axis=0) if covering else np.zeros(len(self.labels))
        goes_on = (self._goes_on(means) & self._reported) if covering else np.zeros_like(self._is_open)
        closed = self._close(self._is_open & ~goes_on)
        self._starts[goes_on & ~self._is_open] = self._time
        self._is_open = goes_on
        self._sums[goes_on] += means[goes_on] * (until - self._time)
        return closed

    def _goes_on(self, means: np.ndarray) -> np.ndarray:
        if self.threshold is None:
            return np.arange(len(means)) == np.argmax(means)
        return (means >= self.threshold) | (self._is_open & (means >= self.low))

    def _close(self, which: np.ndarray) -> list[Segment]:
        segments = self._segments(which)
        self._is_open = self._is_open & ~which
        self._sums[which] = 0
        return segments

    def _segments(self, which: np.ndarray) -> list[Segment]:
        """The segments of the labels marked in `which`, from their starts to now, that are long enough."""
        segments = []
        for index in np.flatnonzero(which):
            start, end = int(self._starts[index]), self._time or 0
            if end - start >= max(self.shortest, 1):
                score = float(self._sums[index] / (end - start))
                segments.append(Segment(_seconds(start), _seconds(end), self.labels[index], score))
        return sorted(segments, key=_order)


def _seconds(count: int) -> float:
    return count / 1_000_000


def _require_range(threshold: float | None, low: float | None, shortest_s: float) -> None:
    if threshold is not None and not 0 <= threshold <= 1:
        raise ConfigError(f"threshold={threshold}: give a probability, such as 0.5; 0 takes the most probable label")
    if low is not None and not threshold:
        raise ConfigError(f"low={low:g} closes what a threshold opens, and there is none: give a threshold, or no low")
    if low is not None and not 0 < low <= (threshold or 0):
        raise ConfigError(f"low={low}: give a probability above 0 and up to the threshold, which is {threshold}")
    if not 0 <= shortest_s < float("inf"):
        raise ConfigError(f"shortest_s={shortest_s}: give seconds, 0 or more")
