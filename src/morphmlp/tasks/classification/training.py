"""Training a classifier of videos or images: the task that `training/run.py` runs."""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from morphmlp.config import AugmentConfig, RunConfig
from morphmlp.data.batches.loaders import Batch, TestClips, TrainingClips, make_loader
from morphmlp.data.clips.flips import describe_flips
from morphmlp.data.clips.windows import MEDIAN_DURATION
from morphmlp.data.media.kept_frames import KeptFrames, memory_for_frames
from morphmlp.data.media.sources import Source, part_of
from morphmlp.data.sets.background import NOTHING
from morphmlp.data.sets.durations import median_duration_s
from morphmlp.data.sets.find import describe_left_out
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.data.sets.matching import meant
from morphmlp.distributed import local_world_size, rank, world_size
from morphmlp.errors import ConfigError
from morphmlp.formatting import shortened
from morphmlp.inference.device import Execution
from morphmlp.system import relative_path
from morphmlp.tasks.classification.evaluation import evaluate, ranks
from morphmlp.tasks.classification.losses import class_weights, soft_cross_entropy
from morphmlp.tasks.classification.prediction import make_test_loader, with_protocol
from morphmlp.tasks.classification.task import Classification
from morphmlp.tasks.selection import held_out_to_select
from morphmlp.tasks.task import EvaluatedPart, Scores, fingerprint

FEW_OF_CLASS = 5  # training samples: below that the output says so


class ClassificationTask:
    """Soft cross-entropy on mixed clips; evaluated with one view of each sample. See `TrainingTask`."""

    metric, figures = Classification.metric, Classification.figures
    criterion: ClassVar[Callable[..., Tensor]] = staticmethod(soft_cross_entropy)

    def __init__(self, config: RunConfig, sets: tuple[LabelledSet, LabelledSet]):
        self.config = config
        train_set, self.val_set = sets
        if train_set.multi_label != config.model.multi_label:
            several = "several labels" if train_set.multi_label else "one label"
            raise ConfigError(f"model.task is {config.model.task!r}, but {config.data} has {several} a row")
        classes = [sample.classes for sample in train_set.samples]
        self.train_set, select_set = held_out_to_select(train_set, classes, config)
        self.unit = self.train_set.unit
        self.classes = list(self.train_set.classes)
        if 5 not in ranks(len(self.classes)):
            self.figures = {name: shown for name, shown in self.figures.items() if name != "top5"}
        self.train_paths = [sample.path for sample in self.train_set.samples]
        self.train_labels = [] if self.train_set.multi_label else [sample.label for sample in self.train_set.samples]
        self.notes = _notes(self.train_set, self.val_set, config)
        self.num_val = len(self.val_set.samples)
        samples = self.train_set.samples
        self.fingerprint = fingerprint(f"{_place(s.path, config.data)}\t{_text(s)}" for s in samples)
        self.class_weights = self._class_weights()
        self.mixer = ClipMixer(config.train.augment, config.model.num_classes)
        self.parts = {"val": self.val_set, "select": select_set}
        num_samples = sum(len(part.samples) for part in (self.train_set, self.val_set, select_set))
        self._bytes_each = memory_for_frames(config.train.keep_frames_gb) / max(num_samples, 1)
        self.test_loaders = {name: self._test_loader(part) for name, part in self.parts.items() if part.samples}
        self.chosen_on: EvaluatedPart = "select" if select_set.samples else "val"
        self.num_chosen_on = len(self.parts[self.chosen_on].samples)

    def _test_loader(self, part: LabelledSet) -> Any:
        config = self.config
        one_view = with_protocol(config.input, num_clips=1, num_crops=1)
        return make_test_loader(
            TestClips(part.samples, config.model.frames, one_view, kept=self._kept_frames(part)),
            workers=config.train.workers,
            rank=rank(),
            num_processes=world_size(),
        )

    def _kept_frames(self, part: LabelledSet) -> KeptFrames:
        """For each process that decodes, on this machine: every one of them may come to see all samples of a part."""
        num_processes = max(self.config.train.workers, 1) * local_world_size()
        return KeptFrames(self._bytes_each / num_processes, len(part.samples))

    def summary(self) -> dict[str, Any]:
        """How long the samples are, which is how long a window of a recording should be."""
        return {} if self._median_s is None else {MEDIAN_DURATION: round(self._median_s, 3)}

    def answers(self) -> dict[str, Any]:
        return {}

    def put_answers(self, answers: Mapping[str, Any]) -> None:
        assert not answers, "outputs are answers as they are"

    @cached_property
    def _median_s(self) -> float | None:
        samples = [s for s in self.train_set.samples if NOTHING not in (self.classes[label] for label in s.classes)]
        return median_duration_s([sample.path for sample in samples]) if self.unit == "videos" else None

    def loader(self, batches: Sampler[list[int]]) -> DataLoader:
        settings = self.config.train
        clips = TrainingClips(
            self.train_set.samples,
            frames=self.config.model.frames,
            config=self.config.input,
            augment=settings.augment,
            seed=settings.seed,
            classes=self.classes,
            kept=self._kept_frames(self.train_set),
        )
        return make_loader(clips, batches=batches, workers=settings.workers)

    def weight(self, batch: Batch) -> float:
        return float(len(batch.labels))

    def num_clips(self, batch: Batch) -> int:
        return len(batch.labels)

    def loss(self, model: nn.Module, batch: Batch, device: torch.device) -> Tensor:
        clips, soft_labels = self.mixer(batch.clips.to(device), batch.labels.to(device))
        settings = self.config.train
        return self.criterion(
            model(clips),
            soft_labels,
            label_smoothing=settings.augment.label_smoothing,
            class_weights=None if self.class_weights is None else self.class_weights.to(device),
            focal=settings.focal,
        )

    def _class_weights(self) -> Tensor | None:
        """What the classes count in the loss."""
        return class_weights(self.config.train.class_weights, self.train_labels, len(self.classes))

    def evaluate(
        self, model: nn.Module, progress: Callable[[int, int], None], *, part: EvaluatedPart = "val"
    ) -> Scores:
        execution = Execution(precision=self.config.train.precision, progress=progress)
        result = evaluate(model, self.test_loaders[part], self.parts[part], execution)
        figures = {"top1": result.accuracy(1), "top5": result.accuracy(5), "loss": result.loss()}
        return Scores(figures, evaluated=len(result.predictions), broken=result.broken, evaluation=result)

    def reason_for_nan(self) -> str:
        return f"none of the {self.num_val} validation {self.unit} has a class: look at their labels"


def _notes(train_set: LabelledSet, val_set: LabelledSet, config: RunConfig) -> list[str]:
    notes = [train_set.note] if train_set.note else []
    if train_set.num_duplicates:
        notes.append(f"{train_set.num_duplicates} rows of the training list are there twice and are taken once")
    left_out = Counter(train_set.left_out)
    if val_set.left_out is not train_set.left_out:  # else both parts are of one folder
        left_out.update(val_set.left_out)
    if left_out:
        notes.append(describe_left_out(left_out))
    if rare := _rare_classes(train_set):
        notes.append(rare)
    if config.train.augment.flip and (flips := describe_flips(train_set.classes)):
        notes.append(flips)
    return notes


def _rare_classes(train_set: LabelledSet) -> str | None:
    """What to say of classes with too few samples to learn from; their names may be slips for those of others."""
    counts = Counter(train_set.classes[label] for sample in train_set.samples for label in sample.classes)
    rare = sorted(name for name, count in counts.items() if count < FEW_OF_CLASS and name != NOTHING)
    if not rare:
        return None
    shown = shortened([f"{name} ({counts[name]})" for name in rare])
    single = [name for name in rare if counts[name] == 1]  # in a small set all are rare, and a slip is there once
    hints = meant(rare, [name for name in counts if name not in rare]) or meant(single, [*(set(counts) - set(single))])
    return f"few training {train_set.unit}, of which little can be learnt: {shown}{hints}"


def _text(sample: Sample) -> str:
    """The classes of a sample, as the fingerprint has them."""
    return str(sample.label) if sample.labels is None else "|".join(map(str, sample.labels))


def _place(source: Source, data: str) -> str:
    """A sample's path within the data; of a part of a frame folder with the part."""
    part = part_of(source)
    return relative_path(source, data) + (f"\t{part}" if part else "")


class ClipMixer:
    """Mixup and cutmix on clips: `[B, 3, T, H, W]` and labels `[B]` -> clips and soft labels `[B, classes]`.

    Labels of a multi-label set are rows of 0 and 1, `[B, classes]`, and are mixed as they are.

    torchvision's transforms cut the last two axes of images, so time is folded into the channels for them.
    """

    def __init__(self, augment: AugmentConfig, num_classes: int):
        from torchvision.transforms import v2  # takes seconds to import

        choices = []
        if augment.mixup:
            choices.append(v2.MixUp(alpha=augment.mixup, num_classes=num_classes))
        if augment.cutmix:
            choices.append(v2.CutMix(alpha=augment.cutmix, num_classes=num_classes))
        self.mix = v2.RandomChoice(choices) if choices else None
        self.num_classes = num_classes

    def __call__(self, clips: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if self.mix is None or len(labels) < 2:
            return clips, (labels if labels.ndim == 2 else F.one_hot(labels, self.num_classes)).float()
        images, soft_labels = self.mix(clips.flatten(1, 2), labels)
        return images.unflatten(1, clips.shape[1:3]), soft_labels
