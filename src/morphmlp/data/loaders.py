"""From labelled videos or images to batches: what the loader's worker processes run.

An image is a video of one frame, and goes the same way: "video" stands for both.

Everything random of a training clip follows from (seed, epoch, index): a run that is resumed, or that has another
number of workers, sees the same clips.
"""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from morphmlp.config import AugmentConfig, InputConfig
from morphmlp.data import sampling
from morphmlp.data.datasets import Sample
from morphmlp.data.decode import read_clip
from morphmlp.data.transforms import eval_views, training_clip
from morphmlp.errors import MediaError

# Long side over short side. The short side is resized to the crop's: 16 frames of 1 x 1000 px would take 10 GB.
MOST_ELONGATED = 20


@dataclass(frozen=True)
class SampleClips:
    """The clips of one video: `[views, 3, T, h, w]`, and where the video stands in its set."""

    clips: Tensor
    label: int
    index: int


@dataclass(frozen=True)
class BrokenSample:
    """A video that could not be read, and why."""

    index: int
    path: Path
    reason: str


class Batch(NamedTuple):
    """Videos of one step: clips `[sum of views, 3, T, h, w]`, labels and indices `[videos]`, and the broken ones."""

    clips: Tensor
    labels: Tensor
    indices: list[int]
    broken: list[BrokenSample]


def collate(videos: list[SampleClips | BrokenSample]) -> Batch:
    """Joins the clips of the videos that could be read."""
    good = [video for video in videos if isinstance(video, SampleClips)]
    return Batch(
        clips=torch.cat([video.clips for video in good]) if good else torch.empty(0),
        labels=torch.tensor([video.label for video in good], dtype=torch.long),
        indices=[video.index for video in good],
        broken=[video for video in videos if isinstance(video, BrokenSample)],
    )


class TrainingClips(Dataset):
    """One random clip of each video; item `epoch * len(samples) + index` is that epoch's clip of a video."""

    def __init__(self, samples: list[Sample], frames: int, config: InputConfig, augment: AugmentConfig, seed: int):
        self.samples = samples
        self.frames = frames
        self.config = config
        self.augment = augment
        self.seed = seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, position: int) -> SampleClips | BrokenSample:
        epoch, index = divmod(position, len(self.samples))
        sample = self.samples[index]
        generator = np.random.default_rng([self.seed, epoch, index])
        try:
            frames = read_clip(sample.path, lambda num_frames, fps: self._draw(num_frames, fps, generator))
        except MediaError as error:
            return BrokenSample(index, error.path, error.reason)
        seed = int(generator.integers(2**62))
        return SampleClips(training_clip(frames, self.config, self.augment, seed=seed)[None], sample.label, index)

    def _draw(self, num_frames: int, fps: float, generator: np.random.Generator) -> list[int]:
        if self.config.sampling == "sparse":
            return sampling.random_sparse_indices(num_frames, frames=self.frames, generator=generator)
        return sampling.random_dense_indices(
            num_frames,
            fps=fps,
            frames=self.frames,
            stride=self.config.stride,
            target_fps=self.config.target_fps,
            generator=generator,
        )


class TestClips(Dataset):
    """All views of each video at test time: `num_clips` in time x `num_crops` in space, from one decoding."""

    __test__ = False  # no test class, though its name begins like one

    def __init__(self, samples: list[Sample], frames: int, config: InputConfig, *, shuffle_frames: bool = False):
        self.samples = samples
        self.frames = frames
        self.config = config
        self.shuffle_frames = shuffle_frames

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> SampleClips | BrokenSample:
        sample = self.samples[index]
        try:
            frames = read_clip(sample.path, self._all_indices)
            if self.config.fit != "stretch":
                refuse_strips(sample.path, frames.shape[1:3])
        except MediaError as error:
            return BrokenSample(index, error.path, error.reason)
        views = []
        for clip in np.split(frames, self.config.num_clips):
            if self.shuffle_frames:
                clip = clip[np.random.default_rng(index).permutation(len(clip))]
            views.append(eval_views(clip, self.config, num_crops=self.config.num_crops))
        return SampleClips(torch.cat(views), sample.label, index)

    def _all_indices(self, num_frames: int, fps: float) -> list[int]:
        """The frames of all clips, one clip behind the other."""
        config = self.config
        if config.sampling == "sparse":
            clips = [
                sampling.sparse_indices(num_frames, frames=self.frames, clip=clip, num_clips=config.num_clips)
                for clip in range(config.num_clips)
            ]
        else:
            clips = [
                sampling.dense_indices(
                    num_frames,
                    fps=fps,
                    frames=self.frames,
                    stride=config.stride,
                    clip=clip,
                    num_clips=config.num_clips,
                    target_fps=config.target_fps,
                )
                for clip in range(config.num_clips)
            ]
        return [index for clip in clips for index in clip]


def refuse_strips(path: Path, size: tuple[int, ...]) -> None:
    """Raises MediaError where one of height and width is too much longer than the other."""
    height, width = size
    if max(height, width) > MOST_ELONGATED * min(height, width):
        raise MediaError(path, f"is {width} x {height} px: one side is more than {MOST_ELONGATED} times the other")


class EpochSampler(Sampler[int]):
    """A fresh order for every epoch, from (seed, epoch) alone; an epoch can be entered at any sample."""

    def __init__(self, num_samples: int, seed: int):
        self.num_samples = num_samples
        self.seed = seed
        self.start_at(epoch=0, sample=0)

    def start_at(self, *, epoch: int, sample: int = 0) -> None:
        """The next pass is `epoch`, from its sample number `sample` on."""
        self.epoch, self.first = epoch, sample

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.num_samples)
        return iter((self.epoch * self.num_samples + order[self.first :]).tolist())

    def __len__(self) -> int:
        return self.num_samples - self.first


def make_loader(
    dataset: Dataset, *, batch_size: int, workers: int, sampler: Any = None, collate_fn: Callable = collate
) -> DataLoader:
    """A loader of what `collate_fn` makes; its workers leave Ctrl-C and SIGTERM to the main process."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=collate_fn,
        worker_init_fn=_prepare_worker,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def _prepare_worker(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.setsid()  # out of the group that Ctrl-C and SIGTERM are sent to; still ended by the main process
    torch.set_num_threads(1)
