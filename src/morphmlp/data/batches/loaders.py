"""From labelled videos or images to batches: what the loader's worker processes run.

An image is a video of one frame, and goes the same way: "video" means both.

Everything random of a training clip follows from (seed, pass, index): a run that is resumed, or that has another
number of workers, sees the same clips.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from morphmlp.config import AugmentConfig, InputConfig
from morphmlp.data.batches.hand_over import end_on_lost_batch, handed_over, workers_that_fit
from morphmlp.data.batches.views import Batch, BrokenSample, SampleClips, TestViews
from morphmlp.data.batches.worker_signals import leave_signals_to_main_process
from morphmlp.data.clips import sampling
from morphmlp.data.clips.augment import training_clip
from morphmlp.data.clips.flips import mirrored_classes
from morphmlp.data.clips.protocol import on_clock
from morphmlp.data.media.kept_frames import KeptFrames
from morphmlp.data.media.video import read_clip
from morphmlp.data.sets.labelled import Sample
from morphmlp.errors import MediaError
from morphmlp.system import c_function


def collate(videos: list[SampleClips | BrokenSample]) -> Batch:
    """Joins the clips of the videos that could be read; all have equally many labels."""
    good = [video for video in videos if isinstance(video, SampleClips)]
    num_labels = len(good[0].labels) if good else 0
    parts = [video.clips.chunk(num_labels) for video in good]  # the views that share a label
    return Batch(
        clips=torch.cat([part[i] for i in range(num_labels) for part in parts]) if good else torch.empty(0),
        labels=torch.tensor([video.labels[i] for i in range(num_labels) for video in good], dtype=torch.long),
        indices=[video.index for video in good],
        broken=[video for video in videos if isinstance(video, BrokenSample)],
        incomplete={video.index: video.note for video in good if video.note},
    )


class TrainingClips(Dataset):
    """Random clips of each video, `augment.repeats` from one decoding: the same frames, each time changed anew.

    Item `pass_number * len(samples) + index` holds the clips of a video in that pass.

    Args:
        classes: names by label; a flipped clip of a class that names a side gets the label of the other side. None
            keeps the labels, which only samples of one label allow.
        kept: what keeps the frames for the next pass; None where there is none. Windows around a stretch are drawn
            anew each time, and are not kept.

    The label of a clip is a number; of a multi-label set it is a row of 0 and 1, `[classes]`.
    """

    def __init__(
        self,
        samples: list[Sample],
        frames: int,
        config: InputConfig,
        augment: AugmentConfig,
        seed: int,
        *,
        classes: Sequence[str] | None = None,
        kept: KeptFrames | None = None,
    ):
        self.samples = samples
        self.frames = frames
        self.config = config
        self.augment = augment
        self.seed = seed
        self.mirrored = None if classes is None else mirrored_classes(classes)
        self.kept = kept

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, position: int) -> SampleClips | BrokenSample:
        pass_number, index = divmod(position, len(self.samples))
        sample = self.samples[index]
        generator, notes = np.random.default_rng([self.seed, pass_number, index]), []
        read = read_clip if self.kept is None or sample.window is not None else self.kept.read_clip
        try:
            frames = read(
                sample.shown(generator),
                lambda n, fps: random_indices(n, fps, self.frames, self.config, self.augment, generator=generator),
                stills=self.frames == 1,
                short_side=self.config.decode_size,
                incomplete=notes.append,
            )
        except MediaError as error:
            return BrokenSample(index, sample.path, error.reason)
        mirrored = self._mirrored(sample)
        clips, labels = [], []
        for _ in range(self.augment.repeats):
            seed = int(generator.integers(2**62))
            clip = training_clip(frames, self.config, self.augment, seed=seed, may_flip=mirrored is not None)
            clips.append(clip.clip)
            labels.append(self._label(mirrored if clip.flipped and mirrored is not None else sample))
        return SampleClips(torch.stack(clips) if len(clips) > 1 else clips[0][None], labels, index, *notes)

    def _mirrored(self, sample: Sample) -> Sample | None:
        """What a flip makes of a sample; None where one of its classes must not be flipped."""
        if self.mirrored is None:
            return sample
        classes = [self.mirrored[label] for label in sample.classes]
        return None if None in classes else sample.with_classes([label for label in classes if label is not None])

    def _label(self, sample: Sample) -> int | list[int]:
        if sample.labels is None:
            return sample.label
        assert self.mirrored is not None, "the number of classes is known"
        return [int(label in sample.labels) for label in range(len(self.mirrored))]


def random_indices(
    num_frames: int,
    fps: float,
    frames: int,
    config: InputConfig,
    augment: AugmentConfig,
    *,
    generator: np.random.Generator,
) -> list[int]:
    """Frames of a random clip, drawn as `config` and `augment` say, of a video of `num_frames`."""
    shown = on_clock(num_frames, fps, config) if config.sampling == "sparse" else range(num_frames)
    if augment.time_warp:
        clock = sampling.warped_clock(len(shown), frames=frames, strength=augment.time_warp, generator=generator)
        fps *= len(clock) / len(shown)
        shown = [shown[i] for i in clock]
    if config.sampling == "sparse":
        indices = sampling.random_sparse_indices(len(shown), frames=frames, generator=generator)
    else:
        indices = sampling.random_dense_indices(
            len(shown),
            fps=fps,
            frames=frames,
            stride=config.stride,
            target_fps=config.target_fps,
            generator=generator,
        )
    return [shown[i] for i in indices]


class TestClips(TestViews, Dataset):
    """The test views of each video as tensors."""

    def __getitem__(self, index: int) -> SampleClips | BrokenSample:
        sample = super().__getitem__(index)
        return sample if isinstance(sample, BrokenSample) else replace(sample, clips=torch.from_numpy(sample.clips))


def make_loader(
    dataset: Dataset,
    *,
    workers: int,
    batch_size: int = 1,
    batches: Iterable[list[int]] | None = None,
    collate_fn: Callable = collate,
) -> DataLoader:
    """A loader of what `collate_fn` makes; its workers leave Ctrl-C and SIGTERM to the main process.

    Args:
        batches: the items of each batch; None goes through the set in order, `batch_size` items a batch.
    """
    workers = workers_that_fit(workers)
    return _Loader(
        dataset,
        batch_size=batch_size if batches is None else 1,  # torch takes no other number beside batches
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=partial(_collated, collate_fn),
        worker_init_fn=_prepare_worker,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # of its own: the program's random state stays as it is
    )


class _Loader(DataLoader):
    """Loads on the CPU, also in a program that has set another default device."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        with torch.device("cpu"):
            batches = super().__iter__()
        while True:
            with torch.device("cpu"):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch


def _collated(collate_fn: Callable, items: list) -> Any:
    """A batch; a worker readies it for the main process, and gives the memory that its decoding took back.

    Frames of other sizes each time leave gaps that the allocator keeps: hundreds of megabytes after some hours.
    """
    batch = collate_fn(items)
    if get_worker_info() is None:
        return batch
    batch = handed_over(batch)
    if (give_back := c_function("malloc_trim")) is not None:  # of the GNU C library only
        give_back(0)
    return batch


def _prepare_worker(worker: int) -> None:
    leave_signals_to_main_process()
    end_on_lost_batch()
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(1)
