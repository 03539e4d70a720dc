"""The test views of videos or images as arrays, and batches of them: all that a prediction reads, without torch."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from morphmlp.config import InputConfig
from morphmlp.data.clips.protocol import clip_indices, views_of
from morphmlp.data.media.kept_frames import KeptFrames
from morphmlp.data.media.sources import Source
from morphmlp.data.media.video import read_clip
from morphmlp.data.sets.labelled import Sample
from morphmlp.errors import MediaError

# Long side over short side. The short side is resized to the crop's: 16 frames of 1 x 1000 px would take 10 GB.
MOST_ELONGATED = 20


@dataclass(frozen=True)
class SampleClips:
    """The clips of one video: `[views, 3, T, h, w]`, and where the video is in its set.

    Attributes:
        clips: an array of `TestViews`, else a tensor.
        labels: one for all views, or, of training clips, one for each: a flip can change the class. Of a multi-label
            set, a training clip has a row of 0 and 1 for each class.
        note: what is missing of a video that was cut off or damaged, but can be read; None of others.
    """

    clips: Any
    labels: list[Any]
    index: int
    note: str | None = None


@dataclass(frozen=True)
class BrokenSample:
    """A video that could not be read, and why."""

    index: int
    path: Source
    reason: str


class Batch(NamedTuple):
    """Videos of one step: clips `[sum of views, 3, T, h, w]`, labels, indices of the videos, and the broken ones.

    `incomplete` says by index what is missing of videos that were read.

    In testing there is a label for each video, and the views of a video are side by side. In training there is a label
    for each clip, and the first clips of all videos come before the second ones: neighbours, which mixup joins, are
    different videos. Clips and labels are tensors, or arrays of `ArrayBatches`.
    """

    clips: Any
    labels: Any
    indices: list[int]
    broken: list[BrokenSample]
    incomplete: dict[int, str] = {}  # noqa: RUF012 (never changed)


class TestViews:
    """All views of each video at test time: `num_clips` in time x `num_crops` in space, from one decoding.

    Args:
        kept: what keeps the frames for the next evaluation; None where there is none.
    """

    __test__ = False  # no test class, though its name begins like one

    def __init__(
        self,
        samples: list[Sample],
        frames: int,
        config: InputConfig,
        *,
        shuffle_frames: bool = False,
        kept: KeptFrames | None = None,
    ):
        self.samples = samples
        self.frames = frames
        self.config = config
        self.shuffle_frames = shuffle_frames
        self.kept = kept

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> SampleClips | BrokenSample:
        sample, notes = self.samples[index], []
        read = read_clip if self.kept is None else self.kept.read_clip
        try:
            frames = read(
                sample.shown(),
                self._indices,
                stills=self.frames == 1,
                short_side=self.config.decoded_short_side,
                incomplete=notes.append,
            )
            if self.config.fit != "stretch":
                refuse_strips(sample.path, frames.shape[1:3])
        except MediaError as error:
            return BrokenSample(index, sample.path, error.reason)
        if self.shuffle_frames:
            clips = np.split(frames, self.config.num_clips)
            frames = np.concatenate([clip[np.random.default_rng(index).permutation(len(clip))] for clip in clips])
        return SampleClips(views_of(frames, self.config), [sample.label], index, *notes)

    def _indices(self, num_frames: int, fps: float) -> list[int]:
        return clip_indices(num_frames, fps, frames=self.frames, config=self.config)


class ArrayBatches:
    """Batches of `TestViews`, in order, decoded by threads; where a program has torch, `make_loader` has processes.

    Args:
        batch_sampler: the items of each batch.
        threads: that decode, while the batches before are worked on; with 0, the batch is decoded when it is due.
    """

    def __init__(self, dataset: TestViews, batch_sampler: Sequence[Sequence[int]], *, threads: int):
        self.dataset = dataset
        self.batch_sampler = batch_sampler
        self.threads = threads

    def __iter__(self) -> Iterator[Batch]:
        if not self.threads:
            for items in self.batch_sampler:
                yield joined_arrays([self.dataset[item] for item in items])
            return
        pool = ThreadPoolExecutor(self.threads)
        try:
            yield from self._read_ahead(pool)
        finally:
            pool.shutdown(cancel_futures=True)

    def _read_ahead(self, pool: ThreadPoolExecutor) -> Iterator[Batch]:
        """At most one batch is decoded, or waits, beside the one that is worked on."""
        waiting: deque[list[Future]] = deque()
        for items in self.batch_sampler:
            waiting.append([pool.submit(self.dataset.__getitem__, item) for item in items])
            if len(waiting) > 1:
                yield joined_arrays([future.result() for future in waiting.popleft()])
        while waiting:
            yield joined_arrays([future.result() for future in waiting.popleft()])


def joined_arrays(videos: Sequence[SampleClips | BrokenSample]) -> Batch:
    """A batch of what `TestViews` gave."""
    good = [video for video in videos if isinstance(video, SampleClips)]
    return Batch(
        clips=np.concatenate([video.clips for video in good]) if good else np.empty(0, np.float32),
        labels=np.array([video.labels[0] for video in good], dtype=np.int64),
        indices=[video.index for video in good],
        broken=[video for video in videos if isinstance(video, BrokenSample)],
        incomplete={video.index: video.note for video in good if video.note},
    )


def refuse_strips(path: str | os.PathLike[str], size: tuple[int, ...]) -> None:
    """Raises MediaError where one of height and width is too much longer than the other."""
    height, width = size
    if max(height, width) > MOST_ELONGATED * min(height, width):
        raise MediaError(path, f"is {width} x {height} px: one side is more than {MOST_ELONGATED} times the other")
