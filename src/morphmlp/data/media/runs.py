"""Runs of frames whose times follow one another, and the frames of a source with their times."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import av
import numpy as np

from morphmlp.data.media.open_video import OpenVideo
from morphmlp.data.media.packets import Packets


@dataclass
class Run:
    """Frames whose times follow one another without a break.

    Attributes:
        start_s: when it starts, in seconds from where the source starts.
        end_s: when its newest frame ends.
        counted_fps: of a file without times, whose frames are counted; None where they have times.
        num_frames: that came so far.
        is_whole_file: all frames of a file are in it, and have come.
    """

    video: OpenVideo
    start_s: float
    end_s: float
    counted_fps: float | None = None
    num_frames: int = 0
    is_whole_file: bool = False
    _base_s: float = 0.0  # what the stream's clock says at the start
    _packets: Packets = field(default_factory=Packets)  # all frames, of which only the first and the last are kept

    def counts(self, frames: "Sequence[TimedFrame]") -> tuple[int, float]:
        """Number and average rate of some of its frames, by the rule for whole files and stretches of them.

        Those of a whole file are its packets', as those of `probe`: damaged ones may give no frame.
        """
        if self.is_whole_file and len(frames) == self.num_frames:
            packets = self.video.packets
            return packets.num_shown, self.video.average_fps(packets) if self.counted_fps is None else self.counted_fps
        return len(frames), self.counted_fps or self.video.average_fps(
            Packets.of((frame.tick, frame.duration) for frame in frames)
        )

    def add(self, frame: av.VideoFrame) -> "TimedFrame":
        """Gives the next frame its time."""
        time_s, tick = self._place(frame)
        duration = frame.duration or 0
        self.num_frames += 1
        packets = self._packets
        packets.num_shown, packets.times = self.num_frames, [*packets.times[:1], tick]
        packets.end = tick + duration
        if self.counted_fps is not None:
            self.end_s = time_s + 1 / self.counted_fps
        else:
            fps = self.video.average_fps(packets)
            self.end_s = self.start_s + (self.video.end_s(packets, fps) - self._base_s)
        return TimedFrame(self, time_s, tick, duration, frame)

    def _place(self, frame: av.VideoFrame) -> tuple[float, int]:
        """When a frame is shown, in seconds and in ticks; one without a time follows the frame before it."""
        clock = self.video.clock
        if self.counted_fps is not None:
            return self.start_s + self.num_frames / self.counted_fps, self.num_frames
        if frame.pts is None:
            return self.end_s, clock.ticks_of(self.end_s - self.start_s + self._base_s)
        return self.start_s + (clock.seconds(frame.pts) - self._base_s), frame.pts

    def gap_s(self, frame: av.VideoFrame) -> float:
        """From the newest frame to the next one, by the stream's clock; 0 where that is not known."""
        if frame.pts is None or self.counted_fps is not None or not self._packets.times:
            return 0.0
        return self.video.clock.seconds(frame.pts) - self.video.clock.seconds(self._packets.times[-1])


@dataclass(eq=False)
class TimedFrame:
    """A frame and when it is shown, in seconds from where the source starts.

    Attributes:
        tick, duration: of its time, in the stream's time base.
        arrived_s: when it was decoded, by the clock of this machine.
        follows_dropped: frames before it were dropped.
    """

    run: Run
    time_s: float
    tick: int
    duration: int
    frame: av.VideoFrame | None
    arrived_s: float = 0.0
    follows_dropped: bool = False
    _picture: np.ndarray | None = None

    def picture(self) -> np.ndarray:
        """RGB [H, W, 3] uint8, upright; it is converted once, and then takes the place of the stream's own pixels."""
        if self._picture is None:
            assert self.frame is not None
            self._picture, self.frame = self.run.video.to_rgb(self.frame), None
        return self._picture

    @property
    def num_bytes(self) -> int:
        """Memory that it takes now."""
        if self._picture is not None:
            return self._picture.nbytes
        return 0 if self.frame is None else sum(plane.buffer_size for plane in self.frame.planes)
