"""Training a classifier of videos or images: the task that `train.py` runs."""

import os
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from morphmlp.config import RunConfig
from morphmlp.data.datasets import LabelledSet
from morphmlp.data.flips import describe_flips
from morphmlp.data.loaders import Batch, TestClips, TrainingClips, make_loader
from morphmlp.data.sources import FrameFolder, Source
from morphmlp.distributed import rank, world_size
from morphmlp.evaluate import evaluate, make_test_loader, with_protocol
from morphmlp.tasks import ClipMixer, Scores, fingerprint, soft_cross_entropy


class ClassificationTask:
    """Soft cross-entropy on mixed clips; evaluated with one view of each sample. See `tasks.Task`."""

    metric = "top1"

    def __init__(self, config: RunConfig, sets: tuple[LabelledSet, LabelledSet]):
        self.config = config
        self.train_set, self.val_set = sets
        self.unit = self.train_set.unit
        self.classes = list(self.train_set.classes)
        self.train_paths = [sample.path for sample in self.train_set.samples]
        self.train_labels = [sample.label for sample in self.train_set.samples]
        self.notes = _notes(self.train_set, config)
        self.num_val = len(self.val_set.samples)
        samples = self.train_set.samples
        self.fingerprint = fingerprint(f"{_place(s.path, config.data)}\t{s.label}" for s in samples)
        self.mixer = ClipMixer(config.train.augment, config.model.num_classes)
        one_view = with_protocol(config.input, num_clips=1, num_crops=1)
        self.val_loader = make_test_loader(
            TestClips(self.val_set.samples, config.model.frames, one_view),
            workers=config.train.workers,
            rank=rank(),
            num_processes=world_size(),
        )

    def loader(self, batches: Sampler[list[int]]) -> DataLoader:
        settings = self.config.train
        clips = TrainingClips(
            self.train_set.samples,
            frames=self.config.model.frames,
            config=self.config.input,
            augment=settings.augment,
            seed=settings.seed,
            classes=self.classes,
        )
        return make_loader(clips, batches=batches, workers=settings.workers)

    def weight(self, batch: Batch) -> float:
        return float(len(batch.labels))

    def num_clips(self, batch: Batch) -> int:
        return len(batch.labels)

    def loss(self, model: nn.Module, batch: Batch, device: torch.device) -> Tensor:
        clips, soft_labels = self.mixer(batch.clips.to(device), batch.labels.to(device))
        smoothing = self.config.train.augment.label_smoothing
        return soft_cross_entropy(model(clips), soft_labels, label_smoothing=smoothing)

    def evaluate(self, model: nn.Module, progress: Callable[[int, int], None]) -> Scores:
        precision = self.config.train.precision
        result = evaluate(model, self.val_loader, self.val_set, precision=precision, progress=progress)
        figures = {"top1": result.accuracy(1), "top5": result.accuracy(5), "loss": result.loss()}
        return Scores(figures, evaluated=len(result.predictions), broken=result.broken)


def _notes(train_set: LabelledSet, config: RunConfig) -> list[str]:
    notes = []
    if train_set.num_duplicates:
        notes.append(f"{train_set.num_duplicates} rows of the training list stand there twice and are taken once")
    if config.train.augment.flip and (flips := describe_flips(train_set.classes)):
        notes.append(flips)
    return notes


def _place(source: Source, data: str) -> str:
    """A sample's path within the data; of a part of a frame folder with the part."""
    part = f"\t{source.first} {source.num_frames}" if isinstance(source, FrameFolder) else ""
    return os.path.relpath(source, data) + part
