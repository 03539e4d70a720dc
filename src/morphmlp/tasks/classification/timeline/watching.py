"""Says what each window of a recording or a stream shows, as it comes.

A window goes the way of a file: the checkpoint's sampling chooses among its frames, and its views go through the model.
All windows share one pass of decoding, and each frame becomes RGB once.
"""

import math
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from morphmlp.config import InputConfig
from morphmlp.data.batches.views import refuse_strips
from morphmlp.data.clips.cutting import CutWindow, RunCutter
from morphmlp.data.clips.protocol import clip_indices, views_of
from morphmlp.data.clips.windows import require_windows
from morphmlp.data.media.live import Reader
from morphmlp.data.media.runs import TimedFrame
from morphmlp.data.media.streams import Stream
from morphmlp.errors import ConfigError, MediaError
from morphmlp.inference.device import evaluating
from morphmlp.tasks.classification.prediction import clip_logits, videos_per_batch
from morphmlp.tasks.classification.predictor import Predictor, Window


@dataclass(frozen=True)
class Pace:
    """How a source and its reader keep up with each other.

    Attributes:
        fps: frames a second that came in the last seconds.
        num_dropped: frames that were dropped, as newer ones came.
        num_skipped: windows that were left out for this, or were never whole.
        num_lost: connections that broke.
    """

    fps: float
    num_dropped: int
    num_skipped: int
    num_lost: int


class Watch:
    """The windows of one source.

    Args:
        length_s, step_s: of the windows, in seconds.
        duration_s: where to end; None is where the source ends.
        show: called with the middle of each window, in seconds, and the frame there, RGB [H, W, 3] uint8.

    Raises:
        ConfigError: the windows have no length, step or duration, or the model takes images.
    """

    def __init__(
        self,
        predictor: Predictor,
        stream: Stream,
        *,
        length_s: float,
        step_s: float,
        duration_s: float | None = None,
        show: Callable[[float, np.ndarray], None] = lambda time_s, picture: None,
    ):
        require_windows(length_s, step_s, duration_s=duration_s)
        if predictor.kind != "video":
            raise ConfigError("the checkpoint takes images, which have no windows in time; give one that takes videos")
        self.predictor, self.stream = predictor, stream
        self.length_s, self.step_s, self.duration_s = length_s, step_s, duration_s
        self._show = show
        self._reader = Reader(stream, keep_s=length_s + step_s)
        end_s = math.inf if duration_s is None else duration_s
        self._cutter = RunCutter(stream.name, length_s=length_s, step_s=step_s, end_s=end_s)
        self._num_late = 0  # windows that were left out, as a newer one was there
        self._is_slow = False

    def windows(self) -> Generator[Window, None, None]:
        """The windows in order, each when all of its frames are there; those of a file come in batches.

        Raises:
            MediaError: the source cannot be read any further; the windows up to there have come.
        """
        with self._reader, evaluating(self.predictor.model):
            pending: list[CutWindow[TimedFrame]] = []
            is_over, error = False, None
            while not is_over:
                try:
                    frames = self._reader.take()
                except MediaError as failure:
                    frames, error = [], failure
                pending += [window for frame in self._until_end(frames) for window in self._cutter.add(frame)]
                if is_over := not frames or self._is_past_end(frames[-1]):
                    pending += self._cutter.finish()
                if pending and (is_over or self.stream.is_live or len(pending) >= self._batch_size):
                    yield from self._predict(self._kept(pending))
                    pending = []
        if error is not None:
            raise error

    def pace(self) -> Pace:
        reader = self._reader
        return Pace(reader.fps, reader.num_dropped, self._cutter.num_skipped + self._num_late, self.stream.num_lost)

    @property
    def _batch_size(self) -> int:
        return videos_per_batch(self.predictor.input)

    def _until_end(self, frames: list[TimedFrame]) -> list[TimedFrame]:
        return [frame for frame in frames if not self._is_past_end(frame)]

    def _is_past_end(self, frame: TimedFrame) -> bool:
        return self.duration_s is not None and frame.time_s >= self.duration_s

    def _kept(self, windows: list[CutWindow[TimedFrame]]) -> list[CutWindow[TimedFrame]]:
        """Of a live source that is faster than the model, the newest window only."""
        if not (self.stream.is_live and self._is_slow):
            return windows
        self._num_late += len(windows) - 1
        return windows[-1:]

    def _predict(self, windows: list[CutWindow[TimedFrame]]) -> Iterator[Window]:
        for first in range(0, len(windows), self._batch_size):
            batch, began = windows[first : first + self._batch_size], time.monotonic()
            probabilities = self._probabilities(batch)
            self._is_slow = (time.monotonic() - began) / len(batch) > self.step_s
            for window, joined in zip(batch, probabilities, strict=True):
                lag_s = self._reader.lag_s(window.frames[-1])
                prediction = self.predictor.prediction(self.stream.path, joined)
                yield Window(window.start_s, window.end_s, prediction, lag_s)

    def _probabilities(self, windows: Sequence[CutWindow[TimedFrame]]) -> np.ndarray:
        """`[windows, classes]`."""
        predictor = self.predictor
        clips = np.concatenate([self._views(window) for window in windows])
        names = [f"{self.stream.name}, {window.start_s:g} to {window.end_s:g} s" for window in windows]
        logits = clip_logits(predictor.model, clips, names, precision=predictor.precision)
        return predictor.joined(logits, len(windows))

    def _views(self, window: CutWindow[TimedFrame]) -> np.ndarray:
        frames, config = self.predictor.config.frames, self.predictor.input
        pictures = window_pictures(self.stream.name, window, frames=frames, config=config)
        self._show((window.start_s + window.end_s) / 2, pictures[len(pictures) // 2])
        return views_of(pictures, config)


def window_pictures(
    name: str | os.PathLike[str], window: CutWindow[TimedFrame], *, frames: int, config: InputConfig
) -> np.ndarray:
    """`sampled_pictures` of a source.

    Raises:
        MediaError: one of height and width is too much longer than the other to be cropped.
    """
    pictures = sampled_pictures(window, frames=frames, config=config)
    if config.fit != "stretch":
        refuse_strips(name, pictures.shape[1:3])
    return pictures


def sampled_pictures(window: CutWindow[TimedFrame], *, frames: int, config: InputConfig) -> np.ndarray:
    """The frames of all clips of a window, `[num_clips * frames, H, W, 3]` RGB uint8, as of a file of these frames.

    As where a file is read, the number that its packets state is taken where all frames that are asked for came out.
    """
    num_frames, fps = window.frames[0].run.counts(window.frames)
    indices = clip_indices(num_frames, fps, frames=frames, config=config)
    if max(indices) >= len(window.frames):
        indices = clip_indices(len(window.frames), fps, frames=frames, config=config)
    return np.stack([window.frames[index].picture() for index in indices])
