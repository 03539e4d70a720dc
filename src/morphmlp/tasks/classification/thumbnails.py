"""Clips as a few frames of 16 x 16 pixels: what the shrunk-pixel baselines learn from, and what copies are found by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from morphmlp.config import InputConfig
from morphmlp.data.batches.views import ArrayBatches, TestViews
from morphmlp.data.media.sources import MediaKind
from morphmlp.data.sets.labelled import Sample
from morphmlp.inference.device import show_nothing
from morphmlp.tasks.classification.copies import SIDE, grey_thumbnails

NUM_FRAMES = 8  # of a video: one of each of as many equal parts
CLIPS_PER_BATCH = 32
_DECODED_PX = 32  # the smallest that a clip may have
# The whole frame, whatever its shape. Pixel values stay within 0 and 1.
_WHOLE_FRAME = InputConfig(
    fit="stretch",
    crop=(_DECODED_PX, _DECODED_PX),
    decode_size=_DECODED_PX,
    antialias=True,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)


@dataclass(frozen=True)
class Thumbnails:
    """The samples that could be read, as numbers of the list that was asked for, `[N]`, and their `pixels`.

    Attributes:
        pixels: `[N, T, 16, 16, 3]`, float32 within 0 and 1.
    """

    indices: np.ndarray
    pixels: np.ndarray

    @property
    def features(self) -> np.ndarray:
        """`[N, T * 16 * 16 * 3]`."""
        return self.pixels.reshape(len(self.pixels), -1)

    @property
    def grey(self) -> np.ndarray:
        """`[N, T, 256]`, as `copies` compares them."""
        return grey_thumbnails(self.pixels.mean(axis=-1))


def read_thumbnails(
    samples: Sequence[Sample],
    kind: MediaKind,
    *,
    workers: int,
    progress: Callable[[int, int], None] = show_nothing,
) -> Thumbnails:
    """Decodes 8 frames of each video, or the one of each image; samples that cannot be read are left out.

    Args:
        workers: threads that decode, which needs no torch; with 0, this one does.
        progress: called with the samples done and the samples in all.
    """
    num_frames = NUM_FRAMES if kind == "video" else 1
    indices: list[int] = []
    parts = [np.zeros((0, num_frames, SIDE, SIDE, 3), np.float32)]
    starts = range(0, len(samples), CLIPS_PER_BATCH)
    batches = [list(range(start, min(start + CLIPS_PER_BATCH, len(samples)))) for start in starts]
    done = 0
    dataset = TestViews(list(samples), num_frames, _WHOLE_FRAME)
    for batch in ArrayBatches(dataset, batches, threads=min(workers, len(samples))):
        indices += batch.indices
        if batch.indices:
            parts.append(_shrunk(batch.clips))
        done += len(batch.indices) + len(batch.broken)
        progress(done, len(samples))
    return Thumbnails(np.array(indices, dtype=np.int64), np.concatenate(parts))


def _shrunk(clips: np.ndarray) -> np.ndarray:
    """`[N, 3, T, 32, 32]` -> `[N, T, 16, 16, 3]`, each pixel the mean of four."""
    num_clips, channels, num_frames = clips.shape[:3]
    step = _DECODED_PX // SIDE
    small = clips.reshape(num_clips, channels, num_frames, SIDE, step, SIDE, step).mean(axis=(4, 6))
    return np.ascontiguousarray(small.transpose(0, 2, 3, 4, 1).clip(0, 1))
