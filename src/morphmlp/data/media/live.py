"""Reads a source of frames in a thread of its own, so that decoding goes on while a model runs.

A file waits for its reader. A live source does not: of its frames the newest are kept, and older ones are dropped and
counted, so that a slow model does not fall ever further behind. What may be either waits as long as it is ahead of the
clock on the wall, as a recording is that comes as fast as the network can. A live stream is so only while it sends the
last seconds that it has kept.
"""

import threading
import time
from collections import deque
from contextlib import closing

from morphmlp.data.media.runs import TimedFrame
from morphmlp.data.media.streams import Stream

_MOST_WAITING = 16  # frames of a source that waits for its reader
_RATE_OVER_S = 5.0
_CLOSING_S = 1.0  # to wait for the thread; one that hangs in a read ends with its time limit


class Reader:
    """The frames of a stream, decoded ahead in a thread.

    Attributes:
        num_read, num_dropped: frames that were decoded, and those of them that were never handed out.

    Args:
        keep_s: of a live source, the seconds of newest frames that are kept.
    """

    def __init__(self, stream: Stream, *, keep_s: float):
        self.stream, self.keep_s = stream, keep_s
        self.num_read = self.num_dropped = 0
        self._waiting: deque[TimedFrame] = deque()
        self._arrivals: deque[float] = deque()
        self._first: TimedFrame | None = None
        self._changed = threading.Condition()
        self._is_over = self._is_closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"reader of {stream.name}", daemon=True)

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.stop()
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join(_CLOSING_S)

    def take(self) -> list[TimedFrame]:
        """All frames that wait, in order; waits for one. None are left when the source has ended.

        Raises:
            MediaError: the source cannot be read any further; what it gave before that has been taken.
        """
        with self._changed:
            while not self._waiting and not self._is_over:
                self._changed.wait(1.0)  # not for ever: a signal is seen only in between
            frames = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        if not frames and self._error is not None:
            raise self._error
        return frames

    @property
    def fps(self) -> float:
        """Frames a second that came in the last seconds."""
        with self._changed:
            return _rate(self._arrivals)

    def lag_s(self, frame: TimedFrame) -> float:
        """How long ago a frame came."""
        return time.monotonic() - frame.arrived_s

    def _run(self) -> None:
        try:
            with closing(self.stream.frames()) as frames:
                for frame in frames:
                    if not self._add(frame):
                        return
        except BaseException as error:  # for the thread that takes
            self._error = error
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _add(self, frame: TimedFrame) -> bool:
        """Lets a frame wait; false where nobody wants any more."""
        with self._changed:
            frame.arrived_s = time.monotonic()
            self.num_read += 1
            self._arrivals.append(frame.arrived_s)
            while frame.arrived_s - self._arrivals[0] > _RATE_OVER_S:
                self._arrivals.popleft()
            self._first = self._first or frame
            self._waiting.append(frame)
            self._changed.notify_all()
            while self._has_to_wait(frame) and not self._is_closed:
                self._changed.wait(0.1 if self.stream.is_live else 1.0)
            if self.stream.is_live:
                self._drop_old(frame)
            return not self._is_closed

    def _has_to_wait(self, newest: TimedFrame) -> bool:
        if not self.stream.is_live:
            return len(self._waiting) >= _MOST_WAITING
        return self.stream.may_be_recording and self._is_old(newest) and self._is_ahead(newest)

    def _is_ahead(self, newest: TimedFrame) -> bool:
        """Whether more of the source has come than time has passed since its first frame."""
        assert self._first is not None
        return newest.time_s - self._first.time_s > time.monotonic() - self._first.arrived_s

    def _is_old(self, newest: TimedFrame) -> bool:
        """Whether the first frame that waits is older than those that are kept."""
        return bool(self._waiting) and self._waiting[0].time_s < newest.time_s - self.keep_s

    def _drop_old(self, newest: TimedFrame) -> None:
        while self._is_old(newest):
            self._waiting.popleft()
            self._waiting[0].follows_dropped = True
            self.num_dropped += 1


def _rate(arrivals: "deque[float]") -> float:
    passed_s = arrivals[-1] - arrivals[0] if arrivals else 0.0
    return (len(arrivals) - 1) / passed_s if passed_s > 0 else 0.0
