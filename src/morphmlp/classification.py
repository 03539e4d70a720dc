"""Training a classifier of videos or images: the task that `train.py` runs."""

import os
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from morphmlp.config import RunConfig
from morphmlp.data.datasets import LabelledSet
from morphmlp.data.loaders import Batch, TestClips, TrainingClips, make_loader
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
        self.num_val = len(self.val_set.samples)
        samples = self.train_set.samples
        self.fingerprint = fingerprint(f"{os.path.relpath(s.path, config.data)}\t{s.label}" for s in samples)
        self.mixer = ClipMixer(config.train.augment, config.model.num_classes)
        one_view = with_protocol(config.input, num_clips=1, num_crops=1)
        self.val_loader = make_test_loader(
            TestClips(self.val_set.samples, config.model.frames, one_view), workers=config.train.workers
        )

    def loader(self, sampler: Sampler[int]) -> DataLoader:
        settings = self.config.train
        clips = TrainingClips(
            self.train_set.samples,
            frames=self.config.model.frames,
            config=self.config.input,
            augment=settings.augment,
            seed=settings.seed,
        )
        return make_loader(clips, batch_size=settings.batch_size, workers=settings.workers, sampler=sampler)

    def loss(self, model: nn.Module, batch: Batch, device: torch.device) -> Tensor:
        clips, soft_labels = self.mixer(batch.clips.to(device), batch.labels.to(device))
        smoothing = self.config.train.augment.label_smoothing
        return soft_cross_entropy(model(clips), soft_labels, label_smoothing=smoothing)

    def evaluate(self, model: nn.Module, progress: Callable[[int, int], None]) -> Scores:
        precision = self.config.train.precision
        result = evaluate(model, self.val_loader, self.val_set, precision=precision, progress=progress)
        figures = {"top1": result.accuracy(1), "top5": result.accuracy(5), "loss": result.loss()}
        return Scores(figures, evaluated=len(result.predictions), broken=len(result.broken))
