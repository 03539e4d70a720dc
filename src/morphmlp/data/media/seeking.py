"""Reads the wanted frames of a file without decoding those that they do not need: bit-equal to decoding all of it.

It is decided from the packets, in two passes over them. The first one, `plan`, finds when each frame is shown, and the
clean starts: packets from which a decoder needs nothing earlier (`syntax`). The second one, `pictures_at`, decodes only
the groups of pictures that hold wanted frames, and of H.264 leaves out the frames that no other refers to.

A stretch in seconds begins at the clean start before it, and both passes end with it: the rest of the file is not read.
Frames that are counted, of a whole file or of a stretch in frames, are counted from the beginning of the file, so every
packet before the last wanted one is read, and one that is left out has to be a whole picture by its headers.

Both return None where anything is unsure: the container holds no times of its own (AVI, MPEG-TS), one is missing or is
there twice, a packet is damaged, or a frame does not come out as its packet says. Then all is decoded from the
beginning, see `video`.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

import av
import numpy as np

from morphmlp.data.media.clock import Ticks
from morphmlp.data.media.open_video import MOST_REORDERED, OpenVideo
from morphmlp.data.media.packets import Packets, of_stated
from morphmlp.data.media.stretches import Stretch, past_end
from morphmlp.data.media.syntax import Syntax

# How far before a stretch a clean start is looked for, in seconds: at the key frame before it, then ever farther.
_STEPS_BACK_S = [0, *(2**power for power in range(20))]


class Plan(NamedTuple):
    """Which frames a part of a file has. Times are in ticks.

    Attributes:
        times: when each of its frames is shown, in order.
        fps: their average rate.
        begin: the time of the clean start from which packets are read; None is the beginning of the file.
        starts: the times of the clean starts from there on, in order.
        leading: the first frame of the file, where frames are read from there: it gives all their size and turn, and
            where it does not come out, frames count otherwise.
        note: what is missing at the end; None where all is there.
    """

    times: list[int]
    fps: float
    begin: int | None
    starts: list[int]
    leading: set[int]
    note: str | None


def plan(video: OpenVideo, stretch: Stretch | None) -> Plan | None:
    """Finds the frames of a stretch, or of the whole file, from the packets; None where they leave anything unsure.

    Raises:
        MediaError: the stretch starts after the end of the file, or ends more than a second after it.
        FFmpegError, OSError, ValueError: the packets cannot be read.
    """
    syntax = Syntax(video.stream)
    if not video.has_plain_times or not (syntax.can_skip or stretch):
        return None
    begin, ticks = None, None
    if stretch is not None and not video.show_first():
        return None
    if stretch is not None and stretch.unit == "seconds":
        ticks = video.clock.ticks(stretch.start, stretch.end)
        begin = _clean_start_before(video, syntax, stretch, ticks)
    scan = _Scan(video, syntax, ticks)
    return scan.planned(stretch, begin) if scan.run(begin) else None


def _clean_start_before(video: OpenVideo, syntax: Syntax, stretch: Stretch, ticks: Ticks) -> int | None:
    """The time of a clean start at or before a stretch; None is the beginning of the file, where there is no other."""
    for back_s in _STEPS_BACK_S:
        if stretch.start < back_s:
            return None
        video.container.seek(video.clock.ticks_of(stretch.start - back_s), stream=video.stream)
        for packet in video.packets_from_here():
            if not packet.size or packet.pts is None or packet.pts > ticks.at_start:
                break
            if syntax.is_clean_start(packet):
                return packet.pts
    return None


def _packets_from(video: OpenVideo, begin: int | None) -> Iterator[av.Packet]:
    """The packets from the one that is shown at `begin` on, or from the beginning of the file, in the stored order."""
    video.container.seek(video.clock.lowest if begin is None else begin, stream=video.stream)
    packets = video.packets_from_here()
    for packet in packets:
        if begin is None or (packet.pts == begin and packet.is_keyframe):
            yield packet
            yield from packets


class _Scan:
    """Goes through the packets of a part of a file, from a clean start before it on.

    Attributes:
        ticks: the times of a stretch in seconds; None for frames that are counted.
        durations: by the time of each frame that is shown.
    """

    def __init__(self, video: OpenVideo, syntax: Syntax, ticks: Ticks | None):
        self.video, self.syntax, self.ticks = video, syntax, ticks
        self.durations: dict[int, int] = {}
        self.starts: list[int] = []
        self.packets = Packets()
        self.is_at_end = True

    def run(self, begin: int | None) -> bool:
        """Whether the packets leave nothing unsure; reads to the end of the part, or of the file."""
        num_after = 0
        for packet in _packets_from(self.video, begin):
            if not packet.size:
                break
            if packet.pts is None or packet.is_corrupt or packet.has_sidedata("new_extradata"):
                return False
            self.packets.add(packet)
            if packet.is_keyframe and self.syntax.is_clean_start(packet):
                self.starts.append(packet.pts)
            if not packet.is_discard:
                self.durations[packet.pts] = packet.duration or 0
            num_after += self.ticks is not None and packet.pts >= self.ticks.end
            if num_after > MOST_REORDERED:
                self.is_at_end = False
                break
        self.starts.sort()
        return 0 < self.packets.num_shown == len(self.durations)

    def planned(self, stretch: Stretch | None, begin: int | None) -> Plan:
        times = sorted(self.durations)
        fps, note = self.video.average_fps(self.packets), None
        if stretch is None:
            num_stated = self.packets.num_stated(self.video.stream, fps)
            note = of_stated(len(times), num_stated) if num_stated else None
        else:
            if self.is_at_end:
                end_s = self.video.end_s(self.packets, fps)
                note = past_end(stretch, num_frames=len(times), end_s=end_s, fps=fps)
            times = self._part(times, stretch)
            fps = self.video.average_fps(Packets.of((time, self.durations[time]) for time in times))
        leading = {min(self.durations)} if begin is None else set()
        return Plan(times, fps, begin, self.starts, leading, note)

    def _part(self, times: list[int], stretch: Stretch) -> list[int]:
        if self.ticks is None:
            return times[int(stretch.start) : int(stretch.end)]
        part = times[bisect_left(times, self.ticks.start) : bisect_left(times, self.ticks.end)]
        return part or [times[max(bisect_right(times, self.ticks.at_start) - 1, 0)]]


def all_come_out(video: OpenVideo, plan: Plan) -> bool:
    """Whether every frame of a part is decoded as its packet says.

    Raises:
        FFmpegError, OSError, ValueError: a packet cannot be read or decoded.
    """
    return all(frame is not None for frame in _Groups(video, plan, set(plan.times)).frames())


def pictures_at(video: OpenVideo, plan: Plan, wanted: set[int]) -> dict[int, np.ndarray] | None:
    """The frames [H, W, 3] at these times, or None where a full read could give others: something is damaged.

    Raises:
        FFmpegError, OSError, ValueError: a packet cannot be read or decoded.
    """
    found: dict[int, np.ndarray] = {}
    for frame in _Groups(video, plan, wanted).frames():
        if frame is None:
            return None
        video.first = video.first or frame
        if frame.pts in wanted:
            found[frame.pts] = video.to_rgb(frame)
    return found if len(found) == len(wanted) else None


class _Groups:
    """Decodes the groups of pictures that hold wanted frames, each from its clean start, and skips the others.

    A group is what is shown from one clean start to the next. With starts at 0, 60 and 120, and frame 70 wanted,
    packets are skipped up to the start at 60. From there on they are decoded until 70 comes out; the rest is skipped.

    Attributes:
        missing: the wanted times that have not come out, the latest first.
        expected: the times of frames that decoded packets have to give.
        decodes: whether packets are decoded, and not skipped.
        from_time: from which on the frames of this group are right.
        until: when the next group starts.
    """

    def __init__(self, video: OpenVideo, plan: Plan, wanted: set[int]):
        self.video, self.wanted, self.begin = video, wanted | plan.leading, plan.begin
        self.syntax = Syntax(video.stream)
        self.starts = plan.starts if self.syntax.can_skip else []
        self.missing = sorted(self.wanted, reverse=True)
        self.expected: set[int] = set()
        self.decodes, self.from_time = False, -np.inf
        self.until: float = 0
        self.last_time: int | None = None

    def frames(self) -> Iterator[av.VideoFrame | None]:
        """Yields the frames that come out, in order; None where a full read could give others."""
        is_first = True
        for packet in _packets_from(self.video, self.begin):
            if not packet.size or not self.missing:
                break
            if is_first or (packet.is_keyframe and self._is_start(packet)):
                self._enter(packet.pts or 0, is_first=is_first)
            is_first = False
            if self.decodes:
                yield from self._decode(packet)
                if not self._are_wanted():
                    yield from self._leave()
            elif not self.syntax.is_whole_picture(packet):
                yield None
        if self.decodes:
            yield from self._leave()

    def _is_start(self, packet: av.Packet) -> bool:
        position = bisect_left(self.starts, packet.pts or 0)
        return self.starts[position : position + 1] == [packet.pts]

    def _enter(self, time: int, *, is_first: bool) -> None:
        """Goes on to the group that starts at a time; decoding begins where a frame of it is wanted."""
        position = bisect_right(self.starts, time)
        self.until = self.starts[position] if position < len(self.starts) else np.inf
        if not self.decodes and self._are_wanted():
            self.decodes = True
            # What is stored at the beginning of the file is as a full read has it, whatever it refers to.
            self.from_time = -np.inf if is_first and self.begin is None else time
            self.video.stream.codec_context.flush_buffers()

    def _are_wanted(self) -> bool:
        """Whether frames before the next group are missing."""
        return bool(self.missing) and self.missing[-1] < self.until

    def _decode(self, packet: av.Packet) -> Iterator[av.VideoFrame | None]:
        time = packet.pts or 0
        needed = self.video.first is None or time in self.wanted or not self.syntax.is_unreferenced(packet)
        if needed and not packet.is_discard and time >= self.from_time:
            self.expected.add(time)
        self.video.stream.codec_context.skip_frame = "DEFAULT" if needed else "NONREF"
        yield from self._checked(self.video.stream.decode(packet))

    def _leave(self) -> Iterator[av.VideoFrame | None]:
        """What is in the decoder at the end; it says whether what a wanted frame refers to is damaged."""
        yield from self._checked(self.video.stream.decode(None))
        self.decodes = False
        if self.expected:
            yield None

    def _checked(self, frames: list[av.VideoFrame]) -> Iterator[av.VideoFrame | None]:
        for frame in frames:
            time = frame.pts
            if time is not None and time < self.from_time:
                continue  # shown before the clean start, and not to be decoded from it
            is_in_order = time is not None and (self.last_time is None or time > self.last_time)
            if frame.is_corrupt or time is None or not is_in_order or (self.missing and self.missing[-1] < time):
                yield None
                return
            self.last_time = time
            self.expected.discard(time)
            if self.missing and self.missing[-1] == time:
                self.missing.pop()
            yield frame
