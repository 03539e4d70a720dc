"""Evaluation of a classifier with the published test protocol: several views a video, joined to one prediction.

An image is a video of one frame: it goes the same way.

Under torchrun each process takes its share of the batches, and all get the whole result. The batches are those of a
single process, so the result is the same to the last bit on the same kind of device.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from morphmlp.config import SplitConfig
from morphmlp.data.batches.views import ArrayBatches, BrokenSample
from morphmlp.data.media.sources import Source
from morphmlp.data.media.stretches import StretchWindow
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.data.sets.splits import groups_of
from morphmlp.distributed import process_group, rank, world_size
from morphmlp.errors import DataError
from morphmlp.inference.device import AS_USUAL, Execution
from morphmlp.inference.runtimes import Runtime
from morphmlp.tasks.classification.prediction import (
    ViewProbabilities,
    in_order,
    input_for_test,
    is_answered,
    make_test_loader,
    predict_samples,
    ready_classifier,
    views_for,
)
from morphmlp.tasks.classification.samples import labelled_samples
from morphmlp.tasks.ready import Ready

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import DataLoader

    from morphmlp.tasks.classification.review.review import Review


@dataclass(frozen=True)
class SamplePrediction:
    """A model's answer for a video or image.

    Attributes:
        label: -1 if unknown.
        probabilities: `[classes]`, the views joined.
        view_ranks: `[views]`, the rank of the label in each view, 0 for the most probable class; None if unknown.
        note: what is missing of a video that was cut off or damaged; None of others.
        window: as of `Sample`.
    """

    path: Source
    label: int
    probabilities: np.ndarray
    view_ranks: np.ndarray | None = None
    note: str | None = None
    window: StretchWindow | None = None

    @property
    def sample(self) -> Sample:
        """What was predicted."""
        return Sample(self.path, self.label, self.window)

    def top(self, k: int) -> list[int]:
        """The k most probable classes, best first."""
        return np.argsort(-self.probabilities, kind="stable")[:k].tolist()

    @property
    def predicted(self) -> int:
        return self.top(1)[0]


@dataclass(frozen=True)
class Evaluation:
    """Predictions for a labelled set; samples that could not be read are kept apart and count nowhere else.

    Attributes:
        labels: class names in the order of the probabilities.
        predictions: one for each sample that was read.
        broken: path and reason of the others.
        unit: what the samples are: "videos" or "images".
        note: how labels met classes where that was not by name, for people; "" where it was.
        threshold: the least probability of the best class with which the checkpoint answers; None always answers. Only
            `share_refused` and `precision_of_rest` know it.
        review: what there is to say beside the figures; None where nobody asked for it.
    """

    labels: list[str]
    predictions: list[SamplePrediction]
    broken: list[tuple[Source, str]] = field(default_factory=list)
    unit: str = "videos"
    note: str = ""
    threshold: float | None = None
    review: "Review | None" = None

    def accuracy(self, k: int = 1) -> float:
        """Share of samples whose label is among the k most probable classes; NaN without samples."""
        hits = [prediction.label in prediction.top(k) for prediction in self.predictions]
        return float(np.mean(hits)) if hits else float("nan")

    def view_accuracy(self, k: int = 1) -> float:
        """The accuracy of single views, as if none were joined; NaN where their ranks are not known."""
        hits = [prediction.view_ranks < k for prediction in self.predictions if prediction.view_ranks is not None]
        return float(np.mean(hits)) if hits else float("nan")

    @property
    def answered(self) -> list[SamplePrediction]:
        """The samples whose best class reaches the threshold."""
        return [p for p in self.predictions if is_answered(p.probabilities.max(), self.threshold)]

    def share_refused(self) -> float:
        """Share of samples to which the answer is "none of these"; NaN without samples."""
        return 1 - len(self.answered) / len(self.predictions) if self.predictions else float("nan")

    def precision_of_rest(self) -> float:
        """Share of right answers among those that are given; NaN where none is."""
        hits = [prediction.label == prediction.predicted for prediction in self.answered]
        return float(np.mean(hits)) if hits else float("nan")

    @property
    def num_views(self) -> int | None:
        """Views of each sample; None where that is not known."""
        return next((len(p.view_ranks) for p in self.predictions if p.view_ranks is not None), None)

    @property
    def incomplete(self) -> list[tuple[Source, str]]:
        """The videos that were evaluated as far as they can be read, and what is missing of them."""
        return [(prediction.path, prediction.note) for prediction in self.predictions if prediction.note]

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


def ranks(num_classes: int) -> tuple[int, ...]:
    """The k of the top-k accuracies that say something: of at most five classes, the label is always among five."""
    return (1, 5) if num_classes > 5 else (1,)


def evaluate_checkpoint(
    checkpoint: str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    num_clips: int | None = None,
    num_crops: int | None = None,
    aggregation: str | None = None,
    shuffle_frames: bool = False,
    lists: dict[str, Any] | None = None,
    group_pattern: str | None = None,
    execution: Execution = AS_USUAL,
) -> Evaluation:
    """Evaluates a checkpoint or an exported folder on the videos or images of `data`.

    Normalisation, channel order, sizes, sampling and views are those of the checkpoint, unless an argument says
    otherwise.

    Args:
        split: "train", "val", "test" or "all"; by default the test or validation part where `data` has one, or what
            was held out of it when the checkpoint was trained on it, else all.
        num_clips, num_crops, aggregation: of the protocol; by default what the checkpoint was saved with.
        shuffle_frames: destroys the order of each clip's frames, to see what the order is worth.
        lists: fields of `ListConfig`; for the data that the checkpoint was trained on, those that differ from the
            training's.
        group_pattern: of the groups that a review goes by, as in `SplitConfig`: refused here where it does not fit, as
            hours of evaluation may lie between.

    Raises:
        CheckpointError, DataError: the data is of another kind than the model's, or has other classes.
    """
    ready = ready_classifier(checkpoint, execution)
    prepared = to_evaluate(
        ready,
        checkpoint,
        data,
        split=split,
        num_clips=num_clips,
        num_crops=num_crops,
        aggregation=aggregation,
        shuffle_frames=shuffle_frames,
        lists=lists,
    )
    if group_pattern is not None:
        groups_of(prepared.labelled.samples, SplitConfig(group_pattern=group_pattern))
    with process_group():
        evaluation = evaluate(*prepared, temperature=ready.info.temperature)
    return replace(evaluation, threshold=ready.info.threshold)


class ToEvaluate(NamedTuple):
    """What is evaluated on which samples; the loader holds the share of this process."""

    model: "nn.Module | Runtime"
    loader: "DataLoader | ArrayBatches"
    labelled: LabelledSet
    execution: Execution


def to_evaluate(
    ready: Ready,
    checkpoint: str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    num_clips: int | None = None,
    num_crops: int | None = None,
    aggregation: str | None = None,
    shuffle_frames: bool = False,
    lists: dict[str, Any] | None = None,
) -> ToEvaluate:
    """A classifier of either sort and the views of the samples; the arguments are those of `evaluate_checkpoint`."""
    model, info = ready.model, ready.info
    config = input_for_test(model, info, num_clips=num_clips, num_crops=num_crops, aggregation=aggregation)
    labelled = labelled_samples(data, split, lists or {}, model, info, checkpoint)
    model, execution = ready.for_clips(len(labelled.samples) * config.num_clips * config.num_crops)
    dataset = views_for(model)(labelled.samples, model.config.frames, config, shuffle_frames=shuffle_frames)
    loader = make_test_loader(dataset, workers=execution.workers, rank=rank(), num_processes=world_size())
    return ToEvaluate(model, loader, labelled, execution)


def evaluate(
    model: "nn.Module | Runtime",
    loader: "DataLoader | ArrayBatches",
    labelled: LabelledSet,
    execution: Execution = AS_USUAL,
    *,
    temperature: float = 1.0,
) -> Evaluation:
    """Evaluates a model on the samples of `labelled`, whose loader holds the share of this process.

    All processes call it, and all get the same result or the same error.

    Args:
        loader: `make_test_loader` of `TestClips` over all samples, for this process.
        temperature: of the checkpoint, see `join_views`.

    Raises:
        DataError: not one of the samples can be read.
    """

    def predictions_of_share() -> Iterator[tuple[int, SamplePrediction | BrokenSample]]:
        answers = predict_samples(model, loader, precision=execution.precision, temperature=temperature)
        return ((index, _prediction(labelled.samples[index], result)) for index, result in answers)

    results = in_order(predictions_of_share, loader, progress=execution.progress)
    predictions = [result for result in results if isinstance(result, SamplePrediction)]
    broken = [(result.path, result.reason) for result in results if isinstance(result, BrokenSample)]
    if not predictions:
        raise DataError(f"none of the {len(broken)} {labelled.unit} can be read; {broken[0][0]}: {broken[0][1]}")
    return Evaluation(list(labelled.classes), predictions, broken, labelled.unit, labelled.note)


def _prediction(sample: Sample, result: "ViewProbabilities | BrokenSample") -> SamplePrediction | BrokenSample:
    if isinstance(result, BrokenSample):
        return result
    ranks = label_ranks(result.views, sample.label)
    return SamplePrediction(sample.path, sample.label, result.joined, ranks, result.note, sample.window)


def label_ranks(probabilities: np.ndarray, label: int) -> np.ndarray:
    """The rank of the label in each row of `[views, classes]`, from 0; of equal values the first class is the best.

    >>> label_ranks(np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]]), label=1)
    array([0, 1])
    """
    own = probabilities[:, [label]]
    return (probabilities > own).sum(axis=1) + (probabilities[:, :label] == own).sum(axis=1)
