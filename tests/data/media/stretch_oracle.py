"""The naive way to read a stretch: decode all of the file, and keep the frames whose time is in it."""

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from morphmlp.data.media.open_video import opened
from morphmlp.data.media.stretches import Stretch


class Decoded(NamedTuple):
    """All frames of a file: the time of each in seconds from where players start, and its picture."""

    times_s: list[float]
    pictures: np.ndarray
    fps: float

    def of(self, stretch: Stretch) -> np.ndarray:
        return self.pictures[self.numbers(stretch)]

    def numbers(self, stretch: Stretch) -> list[int]:
        if stretch.unit == "frames":
            return list(range(len(self.pictures)))[int(stretch.start) : int(stretch.end)]
        start, end = round(stretch.start * 1e6), round(stretch.end * 1e6)
        times = [round(time * 1e6) for time in self.times_s]
        found = [number for number, time in enumerate(times) if start <= time < end]
        return found or [max((number for number, time in enumerate(times) if time <= start), default=0)]


def decode(path: Path) -> Decoded:
    with opened(path) as video:
        fps = video.average_fps(video.count())
    with opened(path) as video:
        frames = [(frame.pts, video.to_rgb(frame)) for frame in video.frames()]
        start = _start(video.container, video.stream)
        time_base = video.stream.time_base or Fraction(1)
        container = video.container.format.name
    times = [float(pts * time_base - start) if pts is not None else -1 for pts, _ in frames]
    if container == "avi" or (times != sorted(times) and container in ("mpegts", "mpeg")):
        times = [number / fps for number in range(len(frames))]
    in_order = sorted(range(len(frames)), key=times.__getitem__)  # a damaged file gives frames out of order
    frames, times = [frames[number] for number in in_order], sorted(times)
    return Decoded(times, np.stack([picture for _, picture in frames]), fps)


def _start(container: av.container.InputContainer, stream: av.VideoStream) -> Fraction:
    """The start of the file; where it is that of the stream, the stream's, which is not rounded to microseconds."""
    whole = Fraction(container.start_time or 0, 1_000_000)
    own = (stream.start_time or 0) * (stream.time_base or Fraction(1))
    return own if abs(own - whole) <= Fraction(1, 1_000_000) else whole
