"""One interface for all sources of frames that have times: a file, an address, a camera, standard input.

A source gives runs. A run is a series of frames whose times follow one another without a break. A file has one run. A
stream has another after each lost connection and each jump of its clock.
"""

import errno
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import av
from av.container import InputContainer
from av.error import ExitError
from av.format import Flags

from morphmlp.data.media.addresses import (
    STANDARD_INPUT,
    STREAMABLE,
    is_always_live,
    is_stream,
    opened_address,
    shown_address,
)
from morphmlp.data.media.beginnings import Beginning
from morphmlp.data.media.formats import head_of, is_image_content
from morphmlp.data.media.numbering import has_times_of_its_own
from morphmlp.data.media.open_video import OpenVideo, opened
from morphmlp.data.media.opening import video_stream
from morphmlp.data.media.runs import Run, TimedFrame
from morphmlp.errors import MediaError
from morphmlp.output import tell

LONGEST_PAUSE_S = 30.0  # between two tries to connect again
WITHOUT_PICTURE_S = 30.0  # of a stream, until it is given up: cameras send a key frame every few seconds
_WITHOUT_PICTURE_PACKETS = 3_000  # the same, where packets have no times
# A longer pause between two frames is a jump of the clock: in formats whose times may jump, and in all others.
_JUMP_S, _JUMP_IN_FILE_S = 10.0, 3_600.0


class NoPictureError(MediaError):
    """A stream sends packets, but nothing that could be shown: to connect again would not help."""


class Stream:
    """A source of frames that have times.

    Attributes:
        name: as messages and results call it.
        is_live: it does not wait for its reader, so frames may have to be dropped. Known once it is open.
        may_be_recording: nobody has said that it is live, and its address does not: HTTP without a length.
        num_lost: connections that broke so far.

    Args:
        source: a file, an address, `camera:0`, or `-` for standard input.
        short_side: see `OpenVideo`.
        live: whether it waits for its reader; None: a file, standard input, and what has a length over HTTP do.
        retries: how often a live source is tried again after its connection broke, until frames come again.
        timeout_s: the longest that opening and reading an address wait.
        options: of FFmpeg, for an address.
        say: called with a line for each connection that broke and each jump of the clock.
        wait: called with seconds before each new try; true ends the stream.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        *,
        short_side: int | None = None,
        live: bool | None = None,
        retries: int = 5,
        timeout_s: float = 10.0,
        options: dict[str, str] | None = None,
        say: Callable[[str], None] = tell,
        wait: Callable[[float], bool] | None = None,
    ):
        self.is_file = not (isinstance(source, str) and is_stream(source))
        self.source, self.short_side, self.timeout_s = source, short_side, timeout_s
        self.retries = 0 if self.is_file else retries
        self.name = str(source) if self.is_file else shown_address(str(source))
        self.path = Path(source) if self.is_file else Path(self.name)  # of an address, with one slash only
        self.is_live, self.may_be_recording = bool(live), False
        self._live, self._options, self._say = live, options, say
        self._stopped = threading.Event()
        self._wait = wait or self._stopped.wait
        self._newest: Run | None = None
        self._newest_arrived_s = 0.0
        self._beginning = Beginning()  # of the connection that brought the first of the frames that are counted here
        self._num_given = 0
        self.num_lost = 0

    def stop(self) -> None:
        """Ends the stream at its next packet; for another thread than the one that reads it."""
        self._stopped.set()

    def frames(self) -> Generator[TimedFrame, None, None]:
        """The frames, in the order of their times, until the source ends.

        Where a live source ends, it is tried again. If it then sends the same from its beginning, it is a recording:
        the frames that have come are left out, and where there are no others, it has ended.

        Raises:
            MediaError: it cannot be opened or read, or its connection broke and could not be made again.
        """
        failures = 0
        while True:
            was_read = False
            try:
                with self._opened() as (video, counted_fps):
                    for frame in self._timed(video, counted_fps):
                        failures, was_read = 0, True
                        yield frame
                    if self.is_file:
                        self._say_what_is_missing(video)
                if not self.is_live or not self.retries or self._stopped.is_set() or self._ends_again(video, was_read):
                    return
                error = MediaError(self.name, "the stream has ended")
            except NoPictureError:
                raise
            except MediaError as failure:
                if self._newest is None or not self.is_live or not self.retries:
                    raise
                error = failure
            self.num_lost += was_read
            failures += 1
            if not self._may_try_again(error, failures):
                return

    def _say_what_is_missing(self, video: OpenVideo) -> None:
        """Of a file that is over: what is damaged or cut off.

        Raises:
            MediaError: it is too much.
        """
        video.require_little_damage()
        if note := video.incomplete():
            self._say(f"incomplete: {self.name}: {note}")

    def _ends_again(self, video: OpenVideo, was_read: bool) -> bool:
        """Whether a recording that was sent from its beginning again had no frame more than before."""
        return _is_repeated(video) and not was_read and video.num_decoded == self._num_given

    def _may_try_again(self, error: MediaError, failures: int) -> bool:
        """Says what happened and waits; false where the stream is stopped meanwhile.

        Raises:
            MediaError: there were as many tries as are allowed.
        """
        if failures > self.retries:
            raise MediaError(self.name, f"{error.reason}; it did not come back in {self.retries} tries")
        pause_s = min(2.0 ** (failures - 1), LONGEST_PAUSE_S)
        self._say(f"{self.name}: {error.reason}; trying again in {pause_s:g} s ({failures} of {self.retries})")
        return not self._wait(pause_s)

    @contextmanager
    def _opened(self) -> Iterator[tuple[OpenVideo, float | None]]:
        """The open video, and its rate where its frames are counted, as they have no times."""
        if self.is_file:
            _refuse_pictures(self.source)
            _refuse_pipe(self.source)
            counted_fps = _counted_fps(self.source)
            with opened(self.source, short_side=self.short_side) as video:
                yield video, counted_fps
            return
        address = str(self.source)
        with opened_address(address, timeout_s=self.timeout_s, options=self._options) as container:
            if self._live is None:
                self.is_live = _is_live(address, container)
                self.may_be_recording = self.is_live and not is_always_live(address)
            stream = video_stream(self.name, container)
            with _StreamVideo(self.name, container, stream, self, after=self._beginning) as video:
                yield video, None

    def _timed(self, video: OpenVideo, counted_fps: float | None) -> Iterator[TimedFrame]:
        run: Run | None = None
        is_jumpy = self.is_live or bool(video.container.format.flags & Flags.ts_discont.value)
        most_s = _JUMP_S if is_jumpy else _JUMP_IN_FILE_S
        for number, frame in enumerate(video.frames()):
            video.packets.forget()
            if _is_repeated(video) and number < self._num_given:
                continue
            if run is None:
                run = self._first_run(video, counted_fps, frame)
            elif not 0 <= (gap_s := run.gap_s(frame)) <= most_s:
                self._say(f"{self.name}: its clock jumps by {gap_s:+.6g} s after {run.end_s:.6g} s; windows start anew")
                run = self._next_run(video, frame, run.end_s)
            self._newest, self._newest_arrived_s = run, time.monotonic()
            self._num_given = number + 1
            if isinstance(video, _StreamVideo):
                self._beginning = video.beginning
            yield run.add(frame)
        if run is not None and self.is_file:
            run.is_whole_file = run.num_frames == video.num_decoded

    def _first_run(self, video: OpenVideo, counted_fps: float | None, frame: av.VideoFrame) -> Run:
        """Of a connection. Time went on while there was none."""
        if self.is_file:
            return Run(video, 0.0, 0.0, counted_fps)
        if self._newest is None:
            return self._next_run(video, frame, 0.0)
        if _is_repeated(video):
            self._say(f"{self.name}: sends the same from its beginning; read on after {self._newest.end_s:.6g} s")
            self._newest.video = video
            return self._newest
        return self._next_run(video, frame, self._newest.end_s + time.monotonic() - self._newest_arrived_s)

    def _next_run(self, video: OpenVideo, frame: av.VideoFrame, start_s: float) -> Run:
        base_s = 0.0 if frame.pts is None else video.clock.seconds(frame.pts)
        return Run(video, start_s, start_s, _base_s=base_s)


class _StreamVideo(OpenVideo):
    """A video that is read from an address, without end; its errors say so.

    Attributes:
        beginning: its first packets.
        is_repeated: they are those of the earlier connection. Known once the first packet is out.

    Args:
        after: the beginning of the earlier connection; an empty one where there was none.
    """

    def __init__(
        self, name: str, container: InputContainer, stream: av.VideoStream, owner: Stream, *, after: Beginning
    ):
        super().__init__(name, container, stream, short_side=owner.short_side)
        self._owner, self._earlier, self._ticks = owner, after, (0, 0)
        self.beginning = Beginning()

    def _demuxed(self) -> Iterator[av.Packet]:
        """The packets; after another connection, the first ones only once they have been compared."""
        packets = self._received()
        first, self.is_repeated = self._earlier.compare(packets)
        for packet in chain(first, packets):
            self.beginning.add(packet)
            yield packet

    def _received(self) -> Iterator[av.Packet]:
        packets = super()._demuxed()
        while not self._owner._stopped.is_set():
            try:
                packet = next(packets, None)
            except MediaError as error:
                if isinstance(error.__context__, ExitError):
                    raise MediaError(self.path, f"sends nothing for {self._owner.timeout_s:g} s") from None
                if not self._is_closed_connection(error.__context__):
                    raise
                packet = av.Packet()  # without data: then the decoder gives out its rest
            if packet is None:
                return
            if self.first is None and packet.size:
                self._require_picture(packet)
            yield packet

    def _is_closed_connection(self, error: BaseException | None) -> bool:
        """Whether the server of a stream without a length has closed it; for FFmpeg, that may be an error."""
        return self.container.size <= 0 and isinstance(error, OSError) and error.errno == errno.EIO

    def _nothing_decoded(self) -> MediaError:
        """Where a stream ends at once, or was stopped, there is no picture, and nothing wrong with its content."""
        if self.packets.num_read or self.packets.encrypted:
            return super()._nothing_decoded()
        if self.container.format.name.startswith("mov"):
            return MediaError(self.path, f"its frames come before its index, and a stream cannot go back; {STREAMABLE}")
        return MediaError(self.path, "the stream ends before its first frame")

    def _require_picture(self, packet: av.Packet) -> None:
        tick = packet.dts if packet.pts is None else packet.pts
        if tick is not None:
            first, last = self._ticks if self.packets.num_read > 1 else (tick, tick)
            self._ticks = min(first, tick), max(last, tick)
        waited_s = (self._ticks[1] - self._ticks[0]) * float(self.stream.time_base or 0)
        if waited_s > WITHOUT_PICTURE_S or self.packets.num_read > _WITHOUT_PICTURE_PACKETS:
            raise NoPictureError(
                self.path,
                f"no picture in {self.packets.num_read} packets ({waited_s:.4g} s): the stream sends no key frame; "
                "let the sender put one in every few seconds",
            )


def _is_repeated(video: OpenVideo) -> bool:
    return isinstance(video, _StreamVideo) and video.is_repeated


def _is_live(address: str, container: InputContainer) -> bool:
    """Whether a source may not wait. What has a length, in bytes or in time, is a file, or a recording in parts."""
    if address == STANDARD_INPUT or not is_always_live(address):
        return address != STANDARD_INPUT and container.size <= 0 and container.duration is None
    return True


def _refuse_pictures(path: str | os.PathLike[str]) -> None:
    if os.path.isdir(path):
        raise MediaError(path, "is a folder of frames, which have no times; make a video, or use `morphmlp predict`")
    if is_image_content(head_of(path)):
        raise MediaError(path, "is an image, which has no windows in time; use `morphmlp predict`")


def _refuse_pipe(path: str | os.PathLike[str]) -> None:
    if Path(path).is_fifo():
        raise MediaError(path, "is a pipe; send it to standard input, which is -: `morphmlp watch CHECKPOINT - < PIPE`")


def _counted_fps(path: str | os.PathLike[str]) -> float | None:
    """The average rate of a file whose frames have no times of their own; None where they have.

    There the n-th frame is shown at n / fps seconds, as in a stretch of such a file.
    """
    with opened(path) as video:
        if video.has_plain_times:
            return None
        packets = video.count()
        return None if has_times_of_its_own(video) and packets.all_timed else video.average_fps(packets)
