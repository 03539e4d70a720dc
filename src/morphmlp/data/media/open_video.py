"""A file that is open at its video stream: packets, decoded frames, and frames as RGB.

What cannot be decoded is left out, as players do, and the frames that come are the same on every read. All errors of
FFmpeg, PyAV and the file system become a `MediaError` that names the file.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Self

import av
import numpy as np
from av.container import InputContainer
from av.error import EOFError as EndOfStream
from av.error import FFmpegError, InvalidDataError
from av.sidedata.sidedata import Type
from av.video.reformatter import Interpolation, VideoReformatter

from morphmlp.data.media.clock import Clock
from morphmlp.data.media.limits import DAMAGE_VARIABLE, most_damage
from morphmlp.data.media.opening import errors_named, open_stream
from morphmlp.data.media.packets import Packets, of_stated
from morphmlp.data.media.turns import UPRIGHT, Turn, turn_of_degrees, turn_of_matrix
from morphmlp.errors import MediaError

# FFmpeg's names of the containers that hold the time of every frame; for others, such as AVI, it makes some up.
_TIMED_FORMATS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
# A frame is stored after at most this many that are shown later (H.264, Sec. A.3.1; H.265 has 15, others 1 or none).
MOST_REORDERED = 16
UNKNOWN_FPS = 30.0  # the base rate of the recipes' strides: with it, a stride counts the frames of the video


class OpenVideo:
    """A file that is open at its video stream, within `with`.

    What is known of it, and the conversion of its frames, are there after that too.

    Attributes:
        container, stream: as PyAV opened them; there are none once the file is closed.
        short_side: what the short side of the pictures is scaled to, in the stream's own colours, before they become
            RGB; None keeps the stream's size.
        first: the first frame that was decoded, which gives all frames their size and turn; None before that.
        num_decoded: frames that came out so far.
        num_lost: packets that could not be decoded so far.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        container: InputContainer,
        stream: av.VideoStream,
        *,
        short_side: int | None = None,
    ):
        self.short_side = short_side
        self.path, self.container, self.stream = path, container, stream
        self.first: av.VideoFrame | None = None
        self.num_decoded = self.num_lost = 0
        self.packets = Packets()
        self.clock = Clock.of(container, stream)
        # Frames that were read ahead are counted when the file is closed.
        self._header_fps, self._time_base = float(stream.average_rate or 0), stream.time_base
        self._reformatter = VideoReformatter()  # setting one up costs more than converting a small frame

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file, and lets go of it: PyAV's stream would go on and read memory that was given back."""
        self.container.close()
        del self.container, self.stream

    def scan(self) -> tuple[av.VideoFrame, Packets]:
        """Count the packets to be shown and return the first frame, which alone knows the display rotation."""
        for packet in self._demuxed():
            if self.first is None:
                next(self._decoded(packet), None)
        if self.first is None or self.packets.num_shown == 0:
            raise self._nothing_decoded()
        return self.first, self.packets

    def count(self) -> Packets:
        """Count the packets to be shown, without decoding any."""
        for _ in self._demuxed():
            pass
        return self.packets

    def average_fps(self, packets: Packets) -> float:
        """Return frames a second: the header's rate if the packets bear it out, else what they say (variable rates).

        310 packets over 10.333 s, rounded to milliseconds by the container, are 30.001 a second: the header's 30 holds.
        """
        header, time_base = self._header_fps, self._time_base
        ticks = packets.end - min(packets.times) if packets.end is not None else 0
        if ticks == 0 or time_base is None:
            return header or UNKNOWN_FPS
        measured = packets.num_shown / float(ticks * time_base)
        return header if abs(header - measured) < 0.02 * measured else measured

    def end_s(self, packets: Packets, fps: float) -> float:
        """When the last frame ends, in seconds from where players start; one without a duration has that of `fps`."""
        end, last = packets.end or 0, max(packets.times, default=0)
        return self.clock.seconds(end) if end > last else self.clock.seconds(last) + 1 / fps

    @property
    def has_plain_times(self) -> bool:
        """Whether the container holds the frames' own times."""
        return self.container.format.name in _TIMED_FORMATS

    def show_first(self) -> bool:
        """Decodes the first frame of the file, from its beginning; whether that went well."""
        for packet in self._demuxed():
            if next(self._decoded(packet), None) is not None:
                break
        return self.first is not None and not self.num_lost and not self.first.is_corrupt

    def frames(self) -> Iterator[av.VideoFrame]:
        """Yield the frames in the order in which they are shown, which is the one in which decoders give them out.

        Their timestamps are not used: an AVI file has none, and those made up for it are not in order.
        """
        for packet in self._demuxed():
            yield from self._decoded(packet)
        if self.num_decoded == 0:
            raise self._nothing_decoded()

    def require_little_damage(self) -> None:
        """Raise MediaError where too large a share of all packets could not be decoded; counts those that are left."""
        if not self.num_lost:
            return
        good, lost = self.num_decoded, self.num_lost
        total = self.count().num_read
        if self.packets.encrypted:
            raise self._nothing_decoded()
        if lost >= most_damage() * total:
            advice = f"; --max_damage 1 (or {DAMAGE_VARIABLE}=1) reads it all the same" if most_damage() < 1 else ""
            raise MediaError(
                self.path,
                f"the stream breaks after {good} good frame(s): {lost} of {total} packets are damaged{advice}",
            )

    def incomplete(self) -> str | None:
        """What is missing of a file that has been decoded to its end, as in `read_clip`; None where all is there."""
        packets = self.packets
        num_stated = packets.num_stated(self.stream, self.average_fps(packets)) or 0
        total = packets.num_shown + max(num_stated - packets.num_read, 0)
        num_good = min(self.num_decoded, packets.num_shown)
        return of_stated(num_good, total) if num_good < total else None

    def packets_from_here(self) -> Iterator[av.Packet]:
        """The packets up to the end, as the container gives them; the last one is without data.

        Raises:
            FFmpegError, OSError, ValueError: one cannot be read.
        """
        for packet in self.container.demux(self.stream):
            yield packet
            assert hasattr(self, "container"), "the file is closed, and to read on would end the process"

    def _demuxed(self) -> Iterator[av.Packet]:
        """The packets from here on, which are counted; damage to the container ends them, as it does in players."""
        with self._errors_named(lambda: f"the stream breaks at packet {self.packets.num_read} (the first is 0)"):
            try:
                for packet in self.packets_from_here():
                    self.packets.add(packet)
                    yield packet
            except InvalidDataError:
                yield av.Packet()  # without data, it ends the stream: then the decoder gives out its rest

    def _decoded(self, packet: av.Packet) -> Iterator[av.VideoFrame]:
        """The frames that a packet completes; the one without data, at the end, gives out what is in the decoder."""
        try:
            frames = self.stream.decode(packet if packet.size else None)
        except EndOfStream:
            return
        except FFmpegError:
            self.num_lost += 1
            return
        for frame in frames:
            self.first = self.first or frame
            self.num_decoded += 1
            yield frame

    def _nothing_decoded(self) -> MediaError:
        if self.packets.encrypted:
            return MediaError(self.path, "is encrypted (DRM): without its key, no frame can be decoded")
        return MediaError(self.path, "no frame can be decoded")

    def to_rgb(self, frame: av.VideoFrame) -> np.ndarray:
        """Convert a frame of any pixel format, matrix, range and depth to RGB [H, W, 3] uint8, as large as `first`.

        It is turned and mirrored as `first` asks. Matrix (BT.601, BT.709, ...) and range are those written in the
        stream; an unknown matrix is taken as BT.601.
        """
        first = self.first or frame
        width, height, filter_ = self._picture_size(first)
        with self._errors_named(lambda: f"a frame in {frame.format.name} cannot be converted to RGB"):
            # Left to itself, the conversion starts a thread for every core.
            picture = self._reformatter.reformat(
                frame, width=width, height=height, format="rgb24", interpolation=filter_, threads=1
            ).to_ndarray()
        return turn_of(first).apply(picture)

    def _picture_size(self, first: av.VideoFrame) -> tuple[int, int, Interpolation | None]:
        """Width and height of the pictures, and the filter that scales to them.

        With `short_side` the long side follows in proportion, rounded down, by the mean over areas.
        """
        if self.short_side is None:
            return first.width, first.height, None
        scale = self.short_side / min(first.width, first.height)
        width, height = (max(int(side * scale + 1e-6), 1) for side in (first.width, first.height))
        return width, height, Interpolation.AREA

    def _errors_named(self, describe: Callable[[], str]) -> AbstractContextManager[None]:
        return errors_named(self.path, describe)


def turn_of(frame: av.VideoFrame) -> Turn:
    """The turn and mirroring that a frame asks for, by its container or by itself, to the nearest quarter.

    PyAV's `rotation` does not tell of a mirroring; the matrix does. Beside data of a sort that PyAV has no name for,
    such as the EXIF block of Motion JPEG, it gives the rotation alone: one that is mirrored too comes out wrong.
    """
    try:
        side_data: Any = frame.side_data  # whose type PyAV states wrongly
    except ValueError:
        return turn_of_degrees(frame.rotation)
    for data in side_data:
        if data.type == Type.DISPLAYMATRIX:
            return turn_of_matrix(np.frombuffer(bytes(data), dtype=np.int32)[:9].reshape(3, 3))
    return UPRIGHT


@contextmanager
def opened(path: str | os.PathLike[str], *, short_side: int | None = None) -> Iterator[OpenVideo]:
    """Open a file at the video stream that players show; see `OpenVideo` for `short_side`."""
    with open_stream(path) as (container, stream), OpenVideo(path, container, stream, short_side=short_side) as video:
        yield video
