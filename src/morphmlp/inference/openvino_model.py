"""OpenVINO with one model: compiled for fixed numbers of clips, several of which it computes side by side.

A graph whose sizes are all known is computed faster than one for any number of clips, and cores that have a clip each
waste less than all of them on one clip after the other. `docs/speed.md` has the figures.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

CLIPS_PER_PART = 4  # more are hardly faster, and fewer batches could be divided evenly


@dataclass(frozen=True)
class Share:
    """Clips of a batch that are computed in one way: parts side by side, one in each stream, or one after the other."""

    num_parts: int
    clips_per_part: int
    side_by_side: bool


def shares(num_clips: int, num_streams: int) -> Iterator[Share]:
    """How a batch is divided, in the order of its clips.

    23 clips for 2 streams: 4 parts of 4 clips and 6 parts of 1, as many for each stream; then 1 clip by all cores.
    """
    for size in (CLIPS_PER_PART, 1):
        num_rounds, num_clips = divmod(num_clips, size * num_streams)
        if num_rounds:
            yield Share(num_rounds * num_streams, size, side_by_side=True)
    if num_clips:
        yield Share(num_clips, 1, side_by_side=num_clips > num_streams / 2)


class OpenVinoModel:
    """The model of a file, ready for clips. Several threads may call it: one computes at a time, with all cores.

    One for frames of any size, or for one number of clips alone, is compiled as it is, and divides no batch.

    Args:
        core: an `openvino.Core`.
        precision: OpenVINO's name of what to compute in, such as "bf16".
        inner: the name of a value within the graph, which is given in the place of the output.

    Attributes:
        precision: OpenVINO's name of what is computed in: another one where the processor has not the one asked for.

    Raises:
        RuntimeError: OpenVINO cannot read or compile it.
    """

    def __init__(self, core: Any, file: Path, *, precision: str, inner: str | None = None):
        self._core = core
        self._model = core.read_model(str(file))
        if inner is not None:
            self._model.add_outputs(inner)
        self._precision = {"INFERENCE_PRECISION_HINT": precision}
        batch, *sides = self._model.input(0).get_partial_shape()
        self._divides = batch.is_dynamic and all(side.is_static for side in sides)
        compiled = self._compiled(1, {"PERFORMANCE_HINT": "LATENCY"})
        self.precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self._alone = compiled.create_infer_request()
        self._queues: dict[int, Any] = {}  # by the clips of a part
        self._lock = Lock()

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        """Float32 clips `[B, ...]` -> the output `[B, ...]`."""
        with self._lock:
            return self._outputs(clips)

    def _outputs(self, clips: np.ndarray) -> np.ndarray:
        if not self._divides or len(clips) == 1:
            return self._run(clips)
        outputs = []
        for share in shares(len(clips), len(self._queue(1))):
            num_clips = share.num_parts * share.clips_per_part
            parts = np.split(clips[:num_clips], share.num_parts)
            clips = clips[num_clips:]
            outputs += [self._run_side_by_side(parts)] if share.side_by_side else map(self._run, parts)
        return np.concatenate(outputs)

    def _run(self, clips: np.ndarray) -> np.ndarray:
        return self._alone.infer([clips], share_inputs=True)[len(self._model.outputs) - 1]

    def _run_side_by_side(self, parts: list[np.ndarray]) -> np.ndarray:
        queue = self._queue(len(parts[0]))
        output = queue[0].output_tensors[-1].data
        outputs = np.empty((len(parts), *output.shape), output.dtype)
        reached = [outputs]  # by this alone: OpenVINO keeps the callback, and of segmenters the outputs are gigabytes
        # It takes no memory: an error in it, such as for want of memory, would end the process.
        queue.set_callback(lambda request, index: np.copyto(reached[0][index], request.output_tensors[-1].data))
        try:
            for index, part in enumerate(parts):
                queue.start_async([part], index, share_inputs=True)
            queue.wait_all()
        except BaseException:  # Ctrl-C too
            del self._queues[len(parts[0])]  # it repeats an error at each batch, or waits for the failed part for ever
            with suppress(Exception):
                queue.wait_all()  # parts that still run read the clips, which are let go now
            raise
        reached.clear()
        return outputs.reshape(-1, *output.shape[1:])

    def _queue(self, clips_per_part: int) -> Any:
        """Streams that take parts of so many clips; as many as OpenVINO finds best for parts of one."""
        from openvino import AsyncInferQueue

        if clips_per_part not in self._queues:
            streams = {"PERFORMANCE_HINT": "THROUGHPUT"}
            if clips_per_part > 1:
                streams |= {"NUM_STREAMS": str(len(self._queue(1)))}
            self._queues[clips_per_part] = AsyncInferQueue(self._compiled(clips_per_part, streams))
        return self._queues[clips_per_part]

    def _compiled(self, num_clips: int, options: dict[str, str]) -> Any:
        if self._divides:
            model = self._model.clone()
            model.reshape([num_clips, *list(model.input(0).get_partial_shape())[1:]])
        else:
            model = self._model
        return self._core.compile_model(model, "CPU", self._precision | options)
