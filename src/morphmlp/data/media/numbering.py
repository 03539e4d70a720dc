"""Which frames of a file are in a stretch, by decoding all of it from the beginning.

It is slow, and right where `seeking` is not. A frame is in a stretch by the time that it comes out with, also where a
damaged MP4 or Matroska file gives frames out of order. AVI files have no times, and those that FFmpeg makes up for them
are not in order; in other files, times are missing or jump back. There the n-th frame is at n / fps seconds.
"""

from typing import NamedTuple

from av.format import Flags

from morphmlp.data.media.open_video import MOST_REORDERED, OpenVideo, opened
from morphmlp.data.media.packets import Packets
from morphmlp.data.media.stretches import Stretch, microseconds, past_end


class Numbered(NamedTuple):
    """The frames of a stretch by their numbers in the file, of which the first is 0, and their average rate.

    Attributes:
        times: in ticks, where the file has them; else none.
        note: what is missing at the end; None where all is there.
    """

    numbers: list[int]
    times: list[int]
    fps: float
    note: str | None


def number_frames(stretch: Stretch) -> Numbered:
    """Decodes a file up to the end of a stretch, to find the frames in it.

    Raises:
        MediaError: the file cannot be decoded, starts after the end of the file, or ends too far after it.
    """
    with opened(stretch.file) as video:
        packets = video.count()
        has_times = has_times_of_its_own(video) and packets.all_timed
    if has_times and (found := _numbered(stretch, packets, by_times=True)):
        return found
    found = _numbered(stretch, packets, by_times=False)
    assert found is not None
    return found


def has_times_of_its_own(video: OpenVideo) -> bool:
    """Whether the container of a file holds any times, and not FFmpeg makes them up."""
    return video.container.format.name != "avi" and not video.container.format.flags & Flags.no_timestamps.value


def _numbered(stretch: Stretch, packets: Packets, *, by_times: bool) -> Numbered | None:
    """The frames by their own times, or by their numbers and the rate; None where times are missing or jump back."""
    ticks: list[int] = []
    times_s: list[float] = []
    num_after = 0
    with opened(stretch.file) as video:
        fps, note = video.average_fps(packets), None
        for number, frame in enumerate(video.frames()):
            jumps_back = bool(ticks) and frame.pts is not None and frame.pts < ticks[-1]
            if by_times and (frame.pts is None or (jumps_back and not video.has_plain_times)):
                return None
            ticks.append(frame.pts or 0)
            times_s.append(video.clock.seconds(ticks[-1]) if by_times else number / fps)
            num_after += stretch.is_after(times_s[-1], number)
            if num_after > MOST_REORDERED:
                break
        else:
            end_s = video.end_s(packets, fps) if by_times else len(times_s) / fps
            note = past_end(stretch, num_frames=len(times_s), end_s=end_s, fps=fps)
        video.require_little_damage()
        in_order = sorted(range(len(times_s)), key=times_s.__getitem__)
        numbers = [number for number in in_order if stretch.contains(times_s[number], number)]
        numbers = numbers or [_shown_at(stretch.start, in_order, times_s)]
        if not by_times:
            return Numbered(numbers, [], fps, note)
        durations = dict(zip(packets.times, packets.durations, strict=True))
        times = [ticks[number] for number in numbers]
        fps = video.average_fps(Packets.of((time, durations.get(time, 0)) for time in times))
        return Numbered(numbers, times, fps, note)


def _shown_at(time_s: float, numbers: list[int], times_s: list[float]) -> int:
    """Of frames in the order of their times, the number of the one that is shown at a moment, or else the first."""
    shown = [number for number in numbers if microseconds(times_s[number]) <= microseconds(time_s)]
    return shown[-1] if shown else numbers[0]
