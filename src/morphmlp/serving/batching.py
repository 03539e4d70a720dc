"""Decoded files of different requests go through the model together: each waits a few milliseconds for others.

All that uses the model runs in one thread, so that requests never compete for its cores or its memory.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np

from morphmlp.inference.device import evaluating
from morphmlp.tasks.classification.prediction import clip_logits, videos_per_batch
from morphmlp.tasks.classification.predictor import Predictor

Result = TypeVar("Result")
THIS_FILE = "this file"  # whatever it is called, in messages about the model
Waiting = tuple[np.ndarray, "asyncio.Future[np.ndarray]"]


def predict_clips(predictor: Predictor, clips: Sequence[np.ndarray]) -> np.ndarray:
    """Probabilities `[videos, classes]` of videos whose views are float32 `[views, 3, T, h, w]` each.

    Raises:
        NotFiniteError: an output is NaN or infinite.
    """
    names = [THIS_FILE] * len(clips)
    with evaluating(predictor.model):
        logits = clip_logits(predictor.model, np.concatenate(clips), names, precision=predictor.precision)
    return predictor.joined(logits, len(clips))


class Batcher:
    """Collects videos until a batch is full, or none has come for some milliseconds.

    Args:
        observe: called with the number of videos of each batch and the seconds that it took.
    """

    def __init__(self, predictor: Predictor, *, wait_ms: float, observe: Callable[[int, float], None]):
        self._predictor, self._wait_s, self._observe = predictor, wait_ms / 1000, observe
        self.most = videos_per_batch(predictor.input)
        self._waiting: asyncio.Queue[Waiting] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._task: asyncio.Task | None = None

    async def start(self) -> None:
        """Lets the model answer once, which takes longer than later, and begins to collect."""
        config = self._predictor.input
        num_views, frames = config.num_clips * config.num_crops, self._predictor.config.frames
        await self.run(predict_clips, self._predictor, [np.zeros((num_views, 3, frames, *config.crop), np.float32)])
        self._task = asyncio.create_task(self._serve())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown(wait=False, cancel_futures=True)

    @property
    def num_waiting(self) -> int:
        return self._waiting.qsize()

    async def predict(self, views: np.ndarray) -> np.ndarray:
        """Probabilities `[classes]` of a video whose views are `[views, 3, T, h, w]`.

        Raises:
            NotFiniteError: an output is NaN or infinite.
        """
        done: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((views, done))
        return await done

    async def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Runs something else that uses the model, between two batches."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def _serve(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            if self._waiting.qsize() + 1 < self.most:
                await asyncio.sleep(self._wait_s)
            while len(batch) < self.most and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            wanted = [(views, done) for views, done in batch if not done.done()]  # of clients that are still there
            if wanted:
                await self._answer(wanted)

    async def _answer(self, batch: list[Waiting]) -> None:
        """Computes a batch; one that fails is computed video by video, so that none fails for another."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            answers = await self.run(predict_clips, self._predictor, [views for views, _ in batch])
        except Exception as error:
            if len(batch) == 1:
                _set(batch[0][1], error)
                return
            for one in batch:
                await self._answer([one])
            return
        self._observe(len(batch), loop.time() - began)
        for (_, done), answer in zip(batch, answers, strict=True):
            _set(done, answer)


def _set(done: "asyncio.Future[np.ndarray]", answer: np.ndarray | Exception) -> None:
    if done.done():  # its client has gone
        return
    if isinstance(answer, Exception):
        done.set_exception(answer)
    else:
        done.set_result(answer)
