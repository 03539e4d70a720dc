"""From the probabilities of overlapping windows to segments: what happens from when to when.

Every moment gets the mean of the windows that cover it; of windows whose middle was learned, of those whose middle is
near. A label's segment opens where its mean reaches the threshold, and closes where it falls below a lower one, so that
a value that trembles around the threshold makes one segment. Without a threshold, what counts first is whether
anything happens, and then which label is the most probable. Time counts in whole microseconds: 3 x 0.1 s and 0.3 s are
one edge.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from morphmlp.data.media.stretches import microseconds
from morphmlp.errors import ConfigError

SHORTEST_S = 0.5  # of a segment, unless that is given
DEFAULT_LOW = 0.8  # of the threshold: where a segment closes, unless that is given
SOMETHING = 0.5  # the probability of all labels but the background's from which on something happens


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


def usual_shortest_s(core_s: float | None) -> float:
    """The shortest segment where none is given: half a second, or the core of a window where that is less."""
    return SHORTEST_S if core_s is None else min(SHORTEST_S, core_s)


def find_segments(
    windows: Sequence[WindowScores],
    labels: Sequence[str],
    *,
    threshold: float | None = None,
    low: float | None = None,
    shortest_s: float = 0.0,
    background: Collection[str] = (),
    core_s: float | None = None,
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
    finder = SegmentFinder(
        labels, threshold=threshold, low=low, shortest_s=shortest_s, background=background, core_s=core_s
    )
    found = [segment for window in sorted(windows, key=lambda window: window.start_s) for segment in finder.add(window)]
    return sorted(found + finder.finish(), key=_order)


def with_other_labels(
    segments: Sequence[Segment], windows: Sequence[WindowScores], labels: Sequence[str], *, background: Collection[str]
) -> list[Segment]:
    """Each segment, and its times with every other label: what a mean average precision is to rank.

    Their scores are the mean probabilities of the windows whose middle is in the segment, or of the nearest window.
    """
    middles = np.array([window.start_s + window.end_s for window in windows]) / 2
    found = list(segments)
    for segment in segments:
        inside = (middles >= segment.start_s) & (middles < segment.end_s)
        if not inside.any():
            inside[np.argmin(np.abs(middles - (segment.start_s + segment.end_s) / 2))] = True
        means = np.mean([window.probabilities for window, is_in in zip(windows, inside, strict=True) if is_in], axis=0)
        found += [
            Segment(segment.start_s, segment.end_s, label, float(score))
            for label, score in zip(labels, means, strict=True)
            if label != segment.label and label not in background
        ]
    return found


class _Covering(NamedTuple):
    """A window that is not yet passed; its times, and those of its core, in microseconds."""

    start: int
    end: int
    core_start: int
    core_end: int
    values: np.ndarray


def _order(segment: Segment) -> tuple[float, float, str]:
    return segment.start_s, segment.end_s, segment.label


class SegmentFinder:
    """Finds segments while the windows come, in the order of their starts: of a file, or of a stream without end.

    It keeps the windows that overlap the newest one, and one open segment a label, so its memory does not grow.

    A moment without a window, after a lost connection or between windows that do not overlap, closes all segments.

    Args:
        labels: names of the classes, in the order of the probabilities.
        threshold: the mean probability that opens a segment; segments of several labels can overlap. None or 0: a
            segment opens where the background has less than half of the probability, and closes where it has more
            than 0.6. A new one begins where another label becomes the most probable one; each has the label with the
            highest mean probability in it.
        low: a segment closes where its mean probability is below it; by default 0.8 of the threshold.
        shortest_s: shorter segments are dropped, after pieces that touch have become one.
        background: labels that are never reported; those that are not among `labels` do not matter.
        core_s: seconds around the middle of a window that its probabilities are about; None: all of it. All windows
            that cover a moment still say which label leads there, so that a segment is not cut where one window errs.

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
        core_s: float | None = None,
    ):
        _require_range(threshold, low, shortest_s)
        self.labels = list(labels)
        self.threshold, self.shortest = threshold or None, microseconds(shortest_s)
        self.low = DEFAULT_LOW * (threshold or SOMETHING) if low is None else low
        self._half_core = None if core_s is None else microseconds(core_s / 2)
        self._reported = np.array([label not in background for label in self.labels], dtype=bool)
        self._windows: list[_Covering] = []
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
        self._windows.append(self._covering(start, end, np.asarray(window.probabilities, dtype=np.float64)))
        return closed

    def _covering(self, start: int, end: int, values: np.ndarray) -> _Covering:
        if self._half_core is None:
            return _Covering(start, end, start, end, values)
        middle = (start + end) // 2
        return _Covering(start, end, max(start, middle - self._half_core), min(end, middle + self._half_core), values)

    def finish(self) -> list[Segment]:
        """Ends the recording where its last window ends; returns the rest of its segments."""
        closed = self._advance(max((window.end for window in self._windows), default=self._time or 0))
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
            covering = [window for window in self._windows if window.end > self._time]
            edges = [edge for window in covering for edge in (window.end, window.core_start, window.core_end)]
            until = min([time, *(edge for edge in edges if edge > self._time)])
            closed += self._extend(covering, until)
            self._time = until
        self._windows = [window for window in self._windows if window.end > time]
        return closed

    def _extend(self, covering: list[_Covering], until: int) -> list[Segment]:
        """Opens, extends and closes segments by the windows that cover all from now on to `until`."""
        assert self._time is not None
        means = _mean(self._about(self._time, covering), len(self.labels))
        goes_on = self._goes_on(means, _mean(covering, len(self.labels))) if covering else np.zeros_like(self._is_open)
        closed = self._close(self._is_open & ~goes_on)
        self._starts[goes_on & ~self._is_open] = self._time
        self._is_open = goes_on
        counted = goes_on if self.threshold else np.full_like(goes_on, goes_on.any())
        self._sums[counted] += means[counted] * (until - self._time)
        return closed

    @staticmethod
    def _about(time: int, covering: list[_Covering]) -> list[_Covering]:
        """The windows whose core a moment is in; where there is none, those whose cores are next to it.

        So the first window of a recording is about all that comes before its core, and the last one about the rest.
        """
        about = [window for window in covering if window.core_start <= time < window.core_end]
        if about:
            return about
        before = [window for window in covering if window.core_end <= time]
        after = [window for window in covering if window.core_start > time]
        return before[-1:] + after[:1]

    def _goes_on(self, means: np.ndarray, leading: np.ndarray) -> np.ndarray:
        """Which labels are there; without a threshold at most one, which leads."""
        if self.threshold is not None:
            return self._reported & ((means >= self.threshold) | (self._is_open & (means >= self.low)))
        something = 1 - means[~self._reported].sum()
        if not self._reported.any() or something < (self.low if self._is_open.any() else SOMETHING):
            return np.zeros_like(self._is_open)
        return np.arange(len(leading)) == np.argmax(np.where(self._reported, leading, -1))

    def _close(self, which: np.ndarray) -> list[Segment]:
        segments = self._segments(which)
        self._is_open = self._is_open & ~which
        self._sums[which if self.threshold else np.full_like(which, which.any())] = 0
        return segments

    def _segments(self, which: np.ndarray) -> list[Segment]:
        """The segments of the labels marked in `which`, from their starts to now, that are long enough."""
        segments = []
        for index in np.flatnonzero(which):
            start, end = int(self._starts[index]), self._time or 0
            if end - start >= max(self.shortest, 1):
                label = index if self.threshold else int(np.argmax(np.where(self._reported, self._sums, -1)))
                score = float(self._sums[label] / (end - start))
                segments.append(Segment(_seconds(start), _seconds(end), self.labels[label], score))
        return sorted(segments, key=_order)


def _mean(windows: list[_Covering], num_labels: int) -> np.ndarray:
    return np.mean([window.values for window in windows], axis=0) if windows else np.zeros(num_labels)


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
