"""Cuts frames that come one by one into windows that overlap, and keeps no frame longer than a window needs it."""

import math
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from morphmlp.data.clips.windows import first_from, num_windows, window_start
from morphmlp.data.media.limits import refuse_giant_window
from morphmlp.data.media.runs import Run, TimedFrame
from morphmlp.data.media.stretches import microseconds


class Timed(Protocol):
    """What has a time, in seconds from where its recording starts."""

    @property
    def time_s(self) -> float: ...


T = TypeVar("T", bound=Timed)


@dataclass(frozen=True)
class CutWindow(Generic[T]):
    """The frames that are shown from `start_s` on and before `end_s`.

    Where there is none, it is the frame that is shown at the start; before the first one, the first.
    """

    start_s: float
    end_s: float
    frames: Sequence[T]


class WindowCutter(Generic[T]):
    """Takes frames in the order of their times, and gives each window as soon as a frame comes that is after it.

    With windows of 2 s every 1 s, the frame at 2.0 s completes the window from 0 to 2 s; what is before 1 s is let go.

    Args:
        start_s: when the first window starts.
    """

    def __init__(self, *, length_s: float, step_s: float, start_s: float = 0.0):
        self.length_s, self.step_s, self.start_s = length_s, step_s, start_s
        self._next = 0  # number of the first window that is not complete
        self._frames: deque[T] = deque()

    @property
    def frames(self) -> Sequence[T]:
        """What is kept: the frames of the next window, and one before it."""
        return self._frames

    def add(self, frame: T) -> list[CutWindow[T]]:
        """Takes the next frame; returns the windows that are complete now."""
        self._frames.append(frame)
        complete = []
        while microseconds(frame.time_s) >= microseconds(self._start_of_next + self.length_s):
            complete.append(self._take(self._start_of_next + self.length_s))
        return complete

    def finish(self, end_s: float) -> list[CutWindow[T]]:
        """The windows that are left when the recording ends; the last one is cut off there."""
        if not self._frames:
            return []
        rest = []
        total = num_windows(end_s - self.start_s, length_s=self.length_s, step_s=self.step_s)
        while self._next < total:
            rest.append(self._take(min(self._start_of_next + self.length_s, end_s)))
        return rest

    def skip_to(self, time_s: float) -> int:
        """Leaves out the windows that start before a time, of which frames are missing; returns how many."""
        number = first_from(time_s - self.start_s, step_s=self.step_s)
        skipped = max(number - self._next, 0)
        self._next += skipped
        self._let_go()
        return skipped

    @property
    def _start_of_next(self) -> float:
        return self.start_s + window_start(self._next, self.step_s)

    def _take(self, end_s: float) -> CutWindow[T]:
        start_s, end = self._start_of_next, microseconds(end_s)
        start = microseconds(start_s)
        frames = [frame for frame in self._frames if start <= microseconds(frame.time_s) < end]
        shown_before = [frame for frame in self._frames if microseconds(frame.time_s) < start]
        self._next += 1
        self._let_go()
        return CutWindow(start_s, end_s, frames or shown_before[-1:] or [self._frames[0]])

    def _let_go(self) -> None:
        """Forgets what no further window needs: all before the next one but the frame that is shown when it starts."""
        start = microseconds(self._start_of_next)
        while len(self._frames) > 1 and microseconds(self._frames[1].time_s) <= start:
            self._frames.popleft()


class RunCutter:
    """Cuts the frames of a source into windows, which start anew with each of its runs.

    Args:
        name: of the source, for the message.
        end_s: where the windows end at the latest, in seconds.

    Attributes:
        num_skipped: windows that were left out, as frames of them were dropped.
    """

    def __init__(self, name: str | os.PathLike[str], *, length_s: float, step_s: float, end_s: float = math.inf):
        self.name, self.length_s, self.step_s, self.end_s = name, length_s, step_s, end_s
        self.num_skipped = 0
        self._run: Run | None = None
        self._cutter: WindowCutter[TimedFrame] = WindowCutter(length_s=length_s, step_s=step_s)

    def add(self, frame: TimedFrame) -> list[CutWindow[TimedFrame]]:
        """Takes the next frame; returns the windows that are complete now.

        Raises:
            MediaError: the frames of a window take too much memory.
        """
        complete = []
        if frame.run is not self._run:
            complete += self.finish()
            self._run = frame.run
            self._cutter = WindowCutter(length_s=self.length_s, step_s=self.step_s, start_s=frame.run.start_s)
        if frame.follows_dropped:
            self.num_skipped += self._cutter.skip_to(frame.time_s)
        complete += self._cutter.add(frame)
        num_frames = len(self._cutter.frames)
        refuse_giant_window(self.name, num_frames, num_frames * frame.num_bytes)
        return complete

    def finish(self) -> list[CutWindow[TimedFrame]]:
        """The windows that are left of a run that is over."""
        return [] if self._run is None else self._cutter.finish(min(self._run.end_s, self.end_s))
