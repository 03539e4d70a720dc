"""The time of a stream: ticks of its packets, and seconds from where players start."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import av
from av.container import InputContainer

from morphmlp.data.media.stretches import microseconds

# Ticks that are before all packets, and far from the limits of 64 bits.
_FAR_BEFORE = 2**45


class Ticks(NamedTuple):
    """A stretch in ticks, which can be between two of them: 0.5 to 0.7 of a tick is 1 to 1, and starts after 0.

    Attributes:
        start: the first tick that is in it.
        end: the first one after it.
        at_start: the last tick at which the frame can begin that is shown when the stretch starts.
    """

    start: int
    end: int
    at_start: int


@dataclass(frozen=True)
class Clock:
    """Seconds of a stream from where players start, which is the earliest start of all streams of the file.

    Attributes:
        origin: the tick at 0 s.
        time_base: seconds of a tick.
    """

    origin: int
    time_base: Fraction

    @classmethod
    def of(cls, container: InputContainer, stream: av.VideoStream) -> "Clock":
        time_base = stream.time_base or Fraction(1, 1)
        own = stream.start_time
        if container.start_time is None:
            return cls(own or 0, time_base)
        start = Fraction(container.start_time, av.time_base)
        # The container's is rounded to microseconds; where it is that of this stream, the stream's own is exact.
        if own is not None and abs(own * time_base - start) * av.time_base <= 1:
            return cls(own, time_base)
        return cls(round(start / time_base), time_base)

    @property
    def lowest(self) -> int:
        """A tick before all packets."""
        return self.origin - _FAR_BEFORE

    def seconds(self, tick: int) -> float:
        return (tick - self.origin) * self.time_base.numerator / self.time_base.denominator

    def ticks_of(self, time_s: float) -> int:
        """The last tick at or before a time."""
        return self.origin + math.floor(Fraction(time_s) / self.time_base)

    def ticks(self, start_s: float, end_s: float) -> Ticks:
        """A stretch in ticks, with times compared in whole microseconds, as `Stretch.contains` does.

        At 90,000 ticks a second, 1 s to 1.5 s is 90,000 to 135,000 from the origin on.
        """
        start, end = microseconds(start_s), microseconds(end_s)
        return Ticks(self._first_at(start), self._first_at(end), self._first_at(start + 1) - 1)

    def _first_at(self, wanted: int) -> int:
        """The first tick whose nearest microsecond is not before this one."""
        tick = self.ticks_of((wanted - 1) / 1e6)
        while microseconds(self.seconds(tick)) < wanted:
            tick += 1
        return tick
