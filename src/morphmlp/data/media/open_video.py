"""A file that is open at its video stream: packets, decoded frames, and frames as RGB.

All errors of FFmpeg, PyAV and the file system become a `MediaError` that names the file.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.reformatter import VideoReformatter

from morphmlp.data.media.images import require_filled_file
from morphmlp.data.media.tar_members import TarMember
from morphmlp.errors import MediaError

# FFmpeg's names of the containers that hold the time of every frame; for others, such as AVI, it makes some up.
_TIMED_FORMATS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
UNKNOWN_FPS = 30.0  # the base rate of the recipes' strides: with it, a stride counts the frames of the video


@dataclass
class Packets:
    """What counting the packets of a stream tells; times are in ticks of the stream's time base.

    Attributes:
        times: of the packets in the order in which they are stored: when each is shown, or else when it is decoded.
        all_timed: every packet says when it is shown.
        end: of the last one shown.
    """

    num_shown: int = 0
    times: list[int] = field(default_factory=list)
    all_timed: bool = True
    end: int | None = None

    def add(self, packet: av.Packet) -> None:
        """Counts a packet; those without content, or that an edit list discards, are not shown."""
        if not packet.size or packet.is_discard:
            return
        self.num_shown += 1
        self.all_timed &= packet.pts is not None
        time = packet.dts if packet.pts is None else packet.pts
        if time is not None:
            until = time + (packet.duration or 0)
            self.times.append(time)
            self.end = until if self.end is None else max(self.end, until)

    def plain_times(self) -> list[int]:
        """When each frame is shown, in order; nothing where one does not say so, or two say the same."""
        return sorted(self.times) if self.all_timed and len(set(self.times)) == self.num_shown else []


class OpenVideo:
    """A file that is open at its first video stream.

    Attributes:
        first: the first frame that was decoded, which gives all frames their size and turn; None before that.
    """

    def __init__(self, path: str | os.PathLike[str], container: InputContainer, stream: av.VideoStream):
        self.path, self.container, self.stream = path, container, stream
        self.first: av.VideoFrame | None = None
        self._reformatter = VideoReformatter()  # setting one up costs more than converting a small frame

    def scan(self) -> tuple[av.VideoFrame, Packets]:
        """Count the packets to be shown and return the first frame, which alone knows the display rotation."""
        packets = Packets()
        with self._errors_named(lambda: f"the stream breaks at packet {packets.num_shown} (the first is 0)"):
            for packet in self.container.demux(self.stream):
                if self.first is None:
                    # The packet without data that ends the stream is decoded too: then the decoder gives out its rest.
                    self.first = next(iter(self.stream.decode(packet)), None)
                packets.add(packet)
        if self.first is None or packets.num_shown == 0:
            raise MediaError(self.path, "no frame can be decoded")
        return self.first, packets

    def count(self) -> Packets:
        """Count the packets to be shown, without decoding any."""
        packets = Packets()
        for packet in self.container.demux(self.stream):
            packets.add(packet)
        return packets

    def average_fps(self, packets: Packets) -> float:
        """Return frames a second: the header's rate if the packets bear it out, else what they say (variable rates).

        310 packets over 10.333 s, rounded to milliseconds by the container, are 30.001 a second: the header's 30 holds.
        """
        header = float(self.stream.average_rate or 0)
        ticks = packets.end - min(packets.times) if packets.end is not None else 0
        if ticks == 0 or self.stream.time_base is None:
            return header or UNKNOWN_FPS
        measured = packets.num_shown / float(ticks * self.stream.time_base)
        return header if abs(header - measured) < 0.02 * measured else measured

    @property
    def has_plain_times(self) -> bool:
        """Whether the container holds the frames' own times, and frames can be left out by the standard (H.264)."""
        return self.stream.codec_context.name == "h264" and self.container.format.name in _TIMED_FORMATS

    def pictures_at(self, wanted: set[int], *, start: int) -> dict[int, np.ndarray] | None:
        """The frames [H, W, 3] at these times, or None where frames come out in another order, or not at all.

        Args:
            start: the time of the first frame.
        """
        found: dict[int, np.ndarray] = {}
        last_time: int | None = None
        self.container.seek(start, stream=self.stream)
        for packet in self.container.demux(self.stream):
            # The first frame too: it gives size and turn.
            needed = self.first is None or packet.pts in wanted
            self.stream.codec_context.skip_frame = "DEFAULT" if needed else "NONREF"
            for frame in self.stream.decode(packet):
                if frame.pts is None or (last_time is not None and frame.pts <= last_time):
                    return None
                self.first, last_time = self.first or frame, frame.pts
                if frame.pts in wanted:
                    found[frame.pts] = self.to_rgb(frame)
            if len(found) == len(wanted):
                return found
        return None

    def frames(self) -> Iterator[av.VideoFrame]:
        """Yield the frames in the order in which they are shown, which is the one in which decoders give them out.

        Their timestamps are not used: an AVI file has none, and those made up for it are not in order.
        """
        num_decoded = 0
        with self._errors_named(lambda: f"the stream breaks after {num_decoded} good frame(s)"):
            for frame in self.container.decode(self.stream):
                self.first = self.first or frame
                yield frame
                num_decoded += 1

    def to_rgb(self, frame: av.VideoFrame) -> np.ndarray:
        """Convert a frame of any pixel format, matrix, range and depth to RGB [H, W, 3] uint8, as large as `first`.

        It is turned as `first` asks. Matrix (BT.601, BT.709, ...) and range are those written in the stream; an unknown
        matrix is taken as BT.601.
        """
        first = self.first or frame
        with self._errors_named(lambda: f"a frame in {frame.format.name} cannot be converted to RGB"):
            # Left to itself, the conversion starts a thread for every core.
            picture = self._reformatter.reformat(
                frame, width=first.width, height=first.height, format="rgb24", threads=1
            ).to_ndarray()
        return np.rot90(picture, k=rotation_degrees(first) // 90)

    def _errors_named(self, describe: Callable[[], str]) -> AbstractContextManager[None]:
        return _errors_named(self.path, describe)


def rotation_degrees(frame: av.VideoFrame) -> int:
    """Return the counter-clockwise turn to the nearest quarter; PyAV's -90 is 270, as is a camera's -90.5."""
    return round(frame.rotation / 90) % 4 * 90


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[OpenVideo]:
    """Open a file at its first video stream that is not a cover picture."""
    address = _address(path)
    with _errors_named(path, lambda: "cannot be opened as a video"):
        # A title in an unknown encoding is no reason to refuse the video.
        container = av.open(address, metadata_errors="ignore")
    with container:
        if container.format.name == "tty":  # FFmpeg would draw the text, as a terminal does
            raise MediaError(path, "is a text file, not a video")
        for stream in container.streams.video:
            if not stream.disposition & Disposition.attached_pic:
                break
        else:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "none"
            raise MediaError(path, f"holds no video stream (streams: {kinds})")
        if stream.codec_context is None:
            raise MediaError(path, "there is no decoder for its video stream")
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        yield OpenVideo(path, container, stream)


def _address(path: str | os.PathLike[str]) -> str:
    """What FFmpeg is to open: a part of a shard, or a file by its absolute name, whose colons are no protocol."""
    if isinstance(path, TarMember):
        return path.address()
    require_filled_file(path)
    return os.path.abspath(path)


@contextmanager
def _errors_named(path: str | os.PathLike[str], describe: Callable[[], str]) -> Iterator[None]:
    """Turn what FFmpeg, PyAV and the file system raise into a `MediaError` that starts with `describe()`."""
    try:
        yield
    except MediaError:
        raise
    except (FFmpegError, OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise MediaError(path, f"{describe()} ({cause})") from None
