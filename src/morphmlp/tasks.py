"""What a training run asks of its task, and the loss and metrics of classification.

Segmentation's metrics are in `mask_evaluation.py`.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from morphmlp.config import AugmentConfig


@dataclass(frozen=True)
class Scores:
    """What an evaluation within a training says: figures by name, how many samples were evaluated, and the others."""

    figures: dict[str, float]
    evaluated: int
    broken: list[tuple[Path, str]]


class Task(Protocol):
    """What a training run needs to know of its task.

    Attributes:
        unit: what the samples are, in the plural: "videos" or "images".
        metric: the name of the figure, 0 to 1, whose best evaluation is kept; it stands in `Scores.figures`.
        classes: names in the order of the labels.
        train_paths: of the training samples; the loader's batches name samples by their place here.
        train_labels: of the training samples; empty where a sample has no single label.
        num_val: validation samples.
        notes: what there is to say of the data before training starts.
        fingerprint: tells whether a resumed run sees the samples that it was started with.
    """

    unit: str
    metric: str
    classes: list[str]
    train_paths: list[Path]
    train_labels: list[int]
    num_val: int
    notes: list[str]
    fingerprint: str

    def loader(self, batches: Sampler[list[int]]) -> DataLoader:
        """Batches with `indices` and `broken`, of the items `pass_number * len(train_paths) + index` in `batches`."""
        ...

    def weight(self, batch: Any) -> float:
        """What the mean of a batch's loss is over: its clips, or its annotated pixels."""
        ...

    def num_clips(self, batch: Any) -> int:
        """Clips of a batch: more than its samples with repeated augmentation."""
        ...

    def loss(self, model: nn.Module, batch: Any, device: torch.device) -> Tensor:
        """Mean loss of a batch, in float32."""
        ...

    def evaluate(self, model: nn.Module, progress: Callable[[int, int], None]) -> Scores:
        """Scores on the validation samples of all processes; `progress` is called with the samples done and in all."""
        ...


def fingerprint(lines: Iterable[str]) -> str:
    """A short name of the training samples, a line each, for `Task.fingerprint`."""
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


@dataclass(frozen=True)
class SamplePrediction:
    """What a model says of a video or image.

    Attributes:
        label: -1 if unknown.
        probabilities: `[classes]`, the views joined.
        view_ranks: `[views]`, the rank of the label in each view, 0 for the most probable class; None if unknown.
    """

    path: Path
    label: int
    probabilities: np.ndarray
    view_ranks: np.ndarray | None = None

    def top(self, k: int) -> list[int]:
        """The k most probable classes, best first."""
        return np.argsort(-self.probabilities, kind="stable")[:k].tolist()

    @property
    def predicted(self) -> int:
        return self.top(1)[0]


@dataclass(frozen=True)
class Evaluation:
    """Predictions for a labelled set; samples that could not be read stand apart and count nowhere else.

    Attributes:
        labels: class names in the order of the probabilities.
        predictions: one for each sample that was read.
        broken: path and reason of the others.
        unit: what the samples are: "videos" or "images".
    """

    labels: list[str]
    predictions: list[SamplePrediction]
    broken: list[tuple[Path, str]] = field(default_factory=list)
    unit: str = "videos"

    def accuracy(self, k: int = 1) -> float:
        """Share of samples whose label is among the k most probable classes; NaN without samples."""
        hits = [prediction.label in prediction.top(k) for prediction in self.predictions]
        return float(np.mean(hits)) if hits else float("nan")

    def view_accuracy(self, k: int = 1) -> float:
        """The same of single views, as if none were joined; NaN where their ranks are not known."""
        hits = [prediction.view_ranks < k for prediction in self.predictions if prediction.view_ranks is not None]
        return float(np.mean(hits)) if hits else float("nan")

    @property
    def num_views(self) -> int | None:
        """Views of each sample; None where that is not known."""
        return next((len(p.view_ranks) for p in self.predictions if p.view_ranks is not None), None)

    def confusion(self) -> np.ndarray:
        """Counts `[label, predicted]`."""
        counts = np.zeros((len(self.labels), len(self.labels)), dtype=np.int64)
        for prediction in self.predictions:
            counts[prediction.label, prediction.predicted] += 1
        return counts

    def loss(self) -> float:
        """Mean negative log-likelihood of the labels."""
        values = [-np.log(max(p.probabilities[p.label], 1e-12)) for p in self.predictions]
        return float(np.mean(values)) if values else float("nan")

    def per_class(self) -> list[dict[str, Any]]:
        """For each class: name, samples, recall (its accuracy) and precision; None where there is nothing to divide."""
        confusion = self.confusion()
        rows = []
        for i, name in enumerate(self.labels):
            samples, predicted, hits = int(confusion[i].sum()), int(confusion[:, i].sum()), int(confusion[i, i])
            rows.append(
                {
                    "class": name,
                    "samples": samples,
                    "recall": hits / samples if samples else None,
                    "precision": hits / predicted if predicted else None,
                }
            )
        return rows


def join_views(logits: Tensor, *, num_videos: int, aggregation: str) -> Tensor:
    """Logits of all views `[videos * views, classes]` -> probabilities `[videos, classes]`.

    "logits": the views' logits are summed, as the released code does; the softmax of their mean is returned, so
    that the ranking is that of the sum and the probabilities do not sharpen with the number of views.
    "probabilities": the mean of the views' softmax, as other code bases do.
    """
    views = logits.float().unflatten(0, (num_videos, -1))
    if aggregation == "logits":
        return views.mean(dim=1).softmax(dim=-1)
    return views.softmax(dim=-1).mean(dim=1)


class ClipMixer:
    """Mixup and cutmix on clips: `[B, 3, T, H, W]` and labels `[B]` -> clips and soft labels `[B, classes]`.

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
            return clips, F.one_hot(labels, self.num_classes).float()
        images, soft_labels = self.mix(clips.flatten(1, 2), labels)
        return images.unflatten(1, clips.shape[1:3]), soft_labels


def soft_cross_entropy(logits: Tensor, soft_labels: Tensor, *, label_smoothing: float) -> Tensor:
    """Cross-entropy with labels `[B, classes]` that sum to one, in float32."""
    return F.cross_entropy(logits.float(), soft_labels, label_smoothing=label_smoothing)


def seed_step(seed: int, step: int, *, rank: int = 0, part: int = 0) -> None:
    """Makes everything random of a training step follow from its place, so that a resumed run repeats it.

    Each process draws on its own, and so does each part that its share of a step is accumulated of.
    """
    torch.manual_seed(int(np.random.default_rng([seed, step, rank, part]).integers(2**62)))
