"""Which frames of a file are in a stretch, by decoding all of it from the beginning.

It is slow, and right where `seeking` is not. A frame is in a stretch by the time that it comes out with. AVI files have
no times, and those that FFmpeg makes up for them are not in order; in other files, times are missing or
jump back. There the n-th frame is at n / fps seconds.
"""

from typing import NamedTuple

from av.format import Flags

from morphmlp.data.media.open_video import OpenVideo, opened
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
    with opened(stretch.file) as video:
        fps, note = video.average_fps(packets), None
        for number, frame in enumerate(video.frames()):
            if by_times and (frame.pts is None or (ticks and frame.pts < ticks[-1])):
                return None
            ticks.append(frame.pts or 0)
            times_s.append(video.clock.seconds(ticks[-1]) if by_times else number / fps)
            if stretch.is_after(times_s[-1], number):
                break
        else:
            end_s = video.end_s(packets, fps) if by_times else len(times_s) / fps
            note = past_end(stretch, num_frames=len(times_s), end_s=end_s, fps=fps)
        video.require_little_damage()
        numbers = [number for number, time_s in enumerate(times_s) if stretch.contains(time_s, number)]
        numbers = numbers or [_number_at(times_s, stretch.start)]
        if not by_times:
            return Numbered(numbers, [], fps, note)
        durations = dict(zip(packets.times, packets.durations, strict=True))
        times = [ticks[number] for number in numbers]
        fps = video.average_fps(Packets.of((time, durations.get(time, 0)) for time in times))
        return Numbered(numbers, times, fps, note)


def _number_at(times_s: list[float], time_s: float) -> int:
    """The number of the frame that is shown at a moment; before the first one, the first."""
    return max(sum(microseconds(each) <= microseconds(time_s) for each in times_s) - 1, 0)
