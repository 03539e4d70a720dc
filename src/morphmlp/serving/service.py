"""Files become answers: decoded by a process of `lanes`, predicted by a batch of `batching`."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from morphmlp.data.clips.windows import require_windows, usual_windows
from morphmlp.errors import ConfigError, UserError
from morphmlp.serving.batching import Batcher
from morphmlp.serving.decoding import (
    Decoded,
    DecodedWindow,
    HowToRead,
    Refused,
    begin_windows,
    end_windows,
    next_windows,
    read_file,
)
from morphmlp.serving.lanes import Lane, Lanes, ProcessEnded
from morphmlp.serving.limits import Limits, Refusal
from morphmlp.serving.looking import Looker
from morphmlp.serving.metrics import Metrics
from morphmlp.serving.uploads import Upload
from morphmlp.tasks.classification.predictor import Prediction, Predictor, Window

WINDOWS_AT_ONCE = 8  # that a decoding process hands over, a part of what a model takes at once


@dataclass(frozen=True)
class Answer:
    """What the model says of a file.

    Attributes:
        strip: the frames that the model saw as a picture, a data URL; None where it was not asked for.
        look: where the model looked, as such a picture; None where it was not asked for, or the model cannot tell.
    """

    prediction: Prediction
    duration_s: float
    strip: str | None
    look: str | None


@dataclass(frozen=True)
class WindowAnswer:
    """What the model says of a window, and the picture in its middle as a JPEG file."""

    window: Window
    thumbnail: bytes


class Service:
    """A predictor behind a queue, to be started and stopped within an event loop.

    Args:
        checkpoint: where the predictor is from, for what it cannot do itself.
        workers: decoding processes.
    """

    def __init__(self, predictor: Predictor, checkpoint: str | Path, *, workers: int, limits: Limits, metrics: Metrics):
        self.predictor, self.limits, self.metrics = predictor, limits, metrics
        self.batcher = Batcher(predictor, wait_ms=limits.batch_ms, observe=self._observe_batch)
        self.looker = Looker(predictor, checkpoint)
        how = HowToRead(
            predictor.kind,
            predictor.config.frames,
            predictor.input,
            limits,
            min(WINDOWS_AT_ONCE, self.batcher.most),
        )
        self.lanes = Lanes(how, workers)
        # Decoded files are large: those that wait for the model, and those that are decoded meanwhile.
        self._in_memory = asyncio.Semaphore(self.batcher.most + workers)
        self._long_ones = asyncio.Semaphore(max(1, workers - 1))  # long videos leave a process to the others
        metrics.gauge("videos_waiting", lambda: self.batcher.num_waiting)
        metrics.gauge("decoders_busy", lambda: self.lanes.num_busy)
        metrics.gauge("decoder_restarts", lambda: self.lanes.num_restarts)

    async def start(self) -> None:
        """Starts the decoding processes, and what collects batches.

        Raises:
            UserError: a process cannot be started.
        """
        await self.lanes.start()
        await self.batcher.start()

    async def stop(self) -> None:
        self.lanes.stop()
        await self.batcher.stop()

    async def predict(self, upload: Upload, *, strip: bool = False, look: bool = False) -> Answer:
        """What the model says of a file, with pictures of it where they are asked for.

        Raises:
            Refusal: it cannot be read, or is not taken.
        """
        async with self._counted(upload), AsyncExitStack() as memory:
            async with self.lanes.free() as lane:  # before the memory: nobody waits for a lane with memory in hand
                await memory.enter_async_context(self._in_memory)
                began = time.monotonic()
                decoded: Decoded = _taken(await lane.run(read_file, upload.path))
                self.metrics.observe("decode_seconds", time.monotonic() - began)
            probabilities = await self._probabilities(decoded.clips)
            prediction = self._prediction(upload, probabilities, decoded.note)
            middle = decoded.clips[len(decoded.clips) // 2][None]  # the view in the middle, [1, 3, T, h, w]
            return Answer(
                prediction,
                decoded.duration_s,
                await asyncio.to_thread(self.looker.strip, middle) if strip else None,
                await self.batcher.run(self.looker.look, middle, prediction) if look else None,
            )

    async def windows(
        self, upload: Upload, *, length_s: float | None, step_s: float | None
    ) -> tuple[float, AsyncIterator[WindowAnswer]]:
        """The duration of a video in seconds, and what the model says of its windows, in order, as they are done.

        The iterator has to be closed.

        Raises:
            Refusal: the file cannot be read, or is not taken; while it is cut, this comes out of the iterator.
        """
        if self.predictor.kind != "video":
            raise Refusal(422, "the checkpoint takes images, which have no windows in time; use /predict")
        if self.predictor.config.multi_label:
            raise Refusal(422, "the model gives several labels, and segments are of one class each; use /predict")
        length_s, step_s = usual_windows(
            length_s, step_s, config=self.predictor.input, frames=self.predictor.config.frames
        )
        try:
            require_windows(length_s, step_s)
        except ConfigError as error:
            raise Refusal(422, str(error)) from None
        answers = self._windows(upload, length_s, step_s)
        return await anext(answers), answers  # type: ignore[return-value]

    async def _windows(self, upload: Upload, length_s: float, step_s: float) -> AsyncIterator[Any]:
        """First the duration, then each window."""
        async with self._counted(upload), self._long_ones, self.lanes.free() as lane:
            done = 0
            yield _taken(await lane.run(begin_windows, upload.path, length_s, step_s, done)).duration_s
            try:
                while windows := await self._next(lane, upload, length_s, step_s, done):
                    async with self._in_memory:
                        found = await asyncio.gather(*(self._probabilities(window.clips) for window in windows))
                    for window, probabilities in zip(windows, found, strict=True):
                        prediction = self._prediction(upload, probabilities, None)
                        yield WindowAnswer(Window(window.start_s, window.end_s, prediction), window.thumbnail)
                    done += len(windows)
            finally:
                with suppress(Refusal):
                    await lane.run(end_windows)

    async def _next(self, lane: Lane, upload: Upload, length_s: float, step_s: float, done: int) -> list[DecodedWindow]:
        """The next windows; a process that has died is replaced once, and goes on where it was."""
        with suppress(ProcessEnded):
            windows = _taken(await lane.run(next_windows, tries=1))
            if windows is not None:
                return windows
        _taken(await lane.run(begin_windows, upload.path, length_s, step_s, done))
        windows = _taken(await lane.run(next_windows, tries=1))
        if windows is None:
            raise Refusal(503, "the decoding process was ended twice; try again")
        return windows

    async def _probabilities(self, clips: np.ndarray) -> np.ndarray:
        try:
            return await self.batcher.predict(clips)
        except UserError as error:  # of the model, such as outputs that are not finite
            raise Refusal(500, f"the model failed: {error}") from None

    def _prediction(self, upload: Upload, probabilities: np.ndarray, note: str | None) -> Prediction:
        return self.predictor.prediction(Path(upload.name), probabilities, note)

    @asynccontextmanager
    async def _counted(self, upload: Upload) -> AsyncIterator[None]:
        """Names the file in a refusal, and never says where it is on this machine."""
        outcome = "failed"
        try:
            yield
            outcome = "predicted"
        except Refusal as refusal:
            outcome = "refused" if refusal.status < 500 else "failed"
            reason = refusal.reason.replace(str(upload.path), upload.name)
            raise Refusal(refusal.status, reason, file=upload.name) from None
        finally:
            self.metrics.count("files_total", outcome=outcome)

    def _observe_batch(self, num_videos: int, seconds: float) -> None:
        self.metrics.observe("batch_videos", num_videos)
        self.metrics.observe("batch_seconds", seconds)


def _taken(result: Any) -> Any:
    """What a process read; raises Refusal where it refused."""
    if isinstance(result, Refused):
        raise Refusal(422, result.reason)
    return result
