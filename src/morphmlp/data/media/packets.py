"""What the packets of a video stream tell without being decoded: how many frames, when, and whether all are there."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import av

# A video is cut off if more than this share of the frames that its header states is missing, and more than one.
_MOST_MISSING = 0.02
# Of those that only state their length, which is rounded, and may be that of the sound.
_MOST_MISSING_TIME = 0.05


@dataclass
class Packets:
    """What counting the packets of a stream tells; times are in ticks of the stream's time base.

    Attributes:
        num_read: packets with content.
        num_shown: those that no edit list discards.
        times: of the shown ones in the order in which they are stored: when each is shown, or else when it is decoded.
        durations: of the same ones; 0 where it is not known.
        all_timed: every packet says when it is shown.
        end: of the last one shown. That is no maximum over all: an MP4 file says how long it takes from one packet to
            the next as they are stored, which with B-frames is not how long each is shown.
        corrupt: the container says that a packet is not whole.
        encrypted: it says that a packet is encrypted.
    """

    num_read: int = 0
    num_shown: int = 0
    times: list[int] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)
    all_timed: bool = True
    end: int | None = None
    corrupt: bool = False
    encrypted: bool = False
    _last: int | None = None  # the latest time

    def add(self, packet: av.Packet) -> None:
        """Counts a packet; those without content, or that an edit list discards, are not shown."""
        if not packet.size:
            return
        self.num_read += 1
        self.corrupt |= packet.is_corrupt
        self.encrypted |= packet.has_sidedata("encryption_info")
        if packet.is_discard:
            return
        self.all_timed &= packet.pts is not None
        self._add_shown(packet.dts if packet.pts is None else packet.pts, packet.duration or 0)

    @classmethod
    def of(cls, shown: Iterable[tuple[int, int]]) -> "Packets":
        """Packets of which the times and durations are known."""
        packets = cls()
        for time, duration in shown:
            packets.num_read += 1
            packets._add_shown(time, duration)
        return packets

    def _add_shown(self, time: int | None, duration: int) -> None:
        self.num_shown += 1
        if time is not None:
            self.times.append(time)
            self.durations.append(duration)
            if self._last is None or time >= self._last:
                self._last, self.end = time, time + duration

    def forget(self) -> None:
        """Lets go of the times so far but the least one: an endless stream has ever more of them."""
        self.times = [min(self.times)] if self.times else []
        self.durations.clear()

    def num_stated(self, stream: av.VideoStream, fps: float) -> int | None:
        """The packets that the header states where many of them are missing, as after half a download; else None.

        MP4 and AVI state the number, Matroska the stream's length in time.
        """
        if num_frames := _num_in_header(stream):
            missing = num_frames - self.num_read
            return num_frames if missing > max(1, _MOST_MISSING * num_frames) else None
        stated_s = _stated_seconds(stream.metadata.get("DURATION", ""))
        if stated_s is None or self.end is None or stream.time_base is None:
            return None
        there_s = float(self.end * stream.time_base)
        missing = (stated_s - there_s) * fps
        return round(stated_s * fps) if missing > max(1.5, _MOST_MISSING_TIME * stated_s * fps) else None


def packet_of(data: bytes) -> av.Packet:
    """A packet with a copy of these bytes, and the empty room after them into which FFmpeg reads.

    `av.Packet(data)` takes the bytes where they are: what FFmpeg reads after them is memory of others, or none at all.
    """
    packet = av.Packet(len(data))
    packet.update(data)
    return packet


def of_stated(num_frames: int, num_stated: int) -> str:
    """What is said of a file that is cut off or damaged."""
    return f"{num_frames} of {num_stated} frames can be read"


def _num_in_header(stream: av.VideoStream) -> int:
    """The number of packets by the header; 0 where it states none.

    Of an MP4 file, those that the edit list hides are counted in `frames`, and are not in the index.
    """
    if stream.frames and stream.container.format.name.startswith("mov"):
        return min(stream.frames, len(stream.index_entries) or stream.frames)
    return stream.frames


def _stated_seconds(text: str) -> float | None:
    """`00:01:04.500000000` as 64.5; None where it is no such text."""
    try:
        hours, minutes, seconds = map(float, text.split(":"))
    except ValueError:
        return None
    return hours * 3600 + minutes * 60 + seconds
