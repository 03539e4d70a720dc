"""Evaluation of a multi-label classifier: its views as in classification, joined by the mean of their sigmoids."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from morphmlp.data.batches.views import ArrayBatches, BrokenSample
from morphmlp.data.media.sources import Source
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.distributed import process_group
from morphmlp.errors import DataError
from morphmlp.inference.device import AS_USUAL, Execution
from morphmlp.inference.runtimes import Runtime
from morphmlp.tasks.classification.evaluation import to_evaluate
from morphmlp.tasks.classification.multi_label.metrics import (
    ClassFigures,
    average_precisions,
    class_figures,
    fitted_thresholds,
    mean_of,
    require_torchmetrics,
)
from morphmlp.tasks.classification.prediction import (
    ViewProbabilities,
    class_thresholds,
    in_order,
    predict_samples,
)
from morphmlp.tasks.ready import Ready

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import DataLoader

FITTED_HERE = "the samples that are evaluated"


@dataclass(frozen=True)
class MultiLabelEvaluation:
    """Predictions for a labelled set; samples that could not be read are kept apart and count nowhere else.

    Attributes:
        labels: class names in the order of the probabilities.
        samples: those that were read.
        probabilities: `[samples, classes]`, the views joined.
        truth: `[samples, classes]`, 1 where the sample shows the class.
        thresholds: `[classes]`, the least probability with which a class is among the answers.
        thresholds_from: the samples that they were fitted on; "" where they were not.
        notes: what is missing of videos that were cut off or damaged, by their place in `samples`.
        broken: path and reason of the others.
        num_views: views of each sample.
        unit: what the samples are: "videos" or "images".
        note: how labels met classes where that was not by name, for people; "" where it was.
    """

    labels: list[str]
    samples: list[Sample]
    probabilities: np.ndarray
    truth: np.ndarray
    thresholds: np.ndarray
    thresholds_from: str = ""
    notes: dict[int, str] = field(default_factory=dict)
    broken: list[tuple[Source, str]] = field(default_factory=list)
    num_views: int | None = None
    unit: str = "videos"
    note: str = ""

    @cached_property
    def answers(self) -> np.ndarray:
        """`[samples, classes]`, 1 where the class is among the answers."""
        return (self.probabilities >= self.thresholds).astype(np.int64)

    @cached_property
    def average_precisions(self) -> np.ndarray:
        """`[classes]`, NaN of a class that no sample shows; no threshold enters them."""
        return average_precisions(self.probabilities, self.truth)

    @cached_property
    def figures(self) -> ClassFigures:
        """Precision, recall and F1 of the classes at their thresholds."""
        return class_figures(self.answers, self.truth)

    def mean_average_precision(self) -> float:
        """Over the classes that some sample shows."""
        return mean_of(self.average_precisions)

    def macro_f1(self) -> float:
        """The mean F1 over the classes that some sample shows."""
        return mean_of(np.where(self.truth.any(axis=0), self.figures.f1, np.nan))

    def exact(self) -> float:
        """Share of samples to which the answer is right as a whole."""
        return float(np.mean((self.answers == self.truth).all(axis=1)))

    def loss(self) -> float:
        """Mean over samples and classes of the negative log-likelihood of presence or absence."""
        p = np.clip(self.probabilities.astype(np.float64), 1e-12, 1 - 1e-12)
        return float(-np.mean(np.where(self.truth == 1, np.log(p), np.log(1 - p))))

    def per_class(self) -> list[dict[str, Any]]:
        """For each class: name, samples, average precision, precision, recall, F1, threshold; None for NaN."""
        columns = {
            "average_precision": self.average_precisions,
            "precision": self.figures.precision,
            "recall": self.figures.recall,
            "f1": self.figures.f1,
            "threshold": self.thresholds,
        }
        return [
            {"class": name, "samples": int(self.truth[:, i].sum())}
            | {key: None if np.isnan(values[i]) else float(values[i]) for key, values in columns.items()}
            for i, name in enumerate(self.labels)
        ]


def evaluate_checkpoint(
    checkpoint: str | Path, data: str | Path, *, execution: Execution = AS_USUAL, **protocol: Any
) -> MultiLabelEvaluation:
    """Evaluates a multi-label checkpoint or an exported folder; the arguments are those of classification's.

    Raises:
        CheckpointError, DataError: the data is of another kind than the model's, has other classes, or one label a row.
        UserError: torchmetrics is not installed.
    """
    require_torchmetrics()
    ready = Ready(checkpoint, "multi_label", execution)
    prepared = to_evaluate(ready, checkpoint, data, **protocol)
    thresholds = class_thresholds(ready.info, len(prepared.labelled.classes))
    with process_group():
        return evaluate(*prepared, thresholds=thresholds, thresholds_from=ready.info.thresholds_from)


def evaluate(
    model: "nn.Module | Runtime",
    loader: "DataLoader | ArrayBatches",
    labelled: LabelledSet,
    execution: Execution = AS_USUAL,
    *,
    thresholds: Sequence[float] | None = None,
    thresholds_from: str = "",
) -> MultiLabelEvaluation:
    """Evaluates a model on the samples of `labelled`, whose loader holds the share of this process.

    All processes call it, and all get the same result or the same error.

    Args:
        loader: `make_test_loader` of `TestClips` over all samples, for this process.
        thresholds: one a class; None fits them on these samples.

    Raises:
        DataError: not one of the samples can be read.
    """

    def answers_of_share() -> Iterator[tuple[int, ViewProbabilities | BrokenSample]]:
        return predict_samples(model, loader, precision=execution.precision, multi_label=True)

    results = in_order(answers_of_share, loader, progress=execution.progress)
    pairs = [(s, r) for s, r in zip(labelled.samples, results, strict=True) if isinstance(r, ViewProbabilities)]
    broken = [(result.path, result.reason) for result in results if isinstance(result, BrokenSample)]
    if not pairs:
        raise DataError(f"none of the {len(broken)} {labelled.unit} can be read; {broken[0][0]}: {broken[0][1]}")
    samples = [sample for sample, _ in pairs]
    probabilities = np.stack([result.joined for _, result in pairs])
    truth = truth_of(samples, len(labelled.classes))
    if thresholds is None:
        thresholds, thresholds_from = fitted_thresholds(probabilities, truth).tolist(), FITTED_HERE
    return MultiLabelEvaluation(
        list(labelled.classes),
        samples,
        probabilities,
        truth,
        np.array(thresholds),
        thresholds_from,
        notes={i: result.note for i, (_, result) in enumerate(pairs) if result.note},
        broken=broken,
        num_views=len(pairs[0][1].views),
        unit=labelled.unit,
        note=labelled.note,
    )


def truth_of(samples: Sequence[Sample], num_classes: int) -> np.ndarray:
    """`[samples, classes]`, 1 where a sample shows a class."""
    truth = np.zeros((len(samples), num_classes), dtype=np.int64)
    for row, sample in zip(truth, samples, strict=True):
        row[list(sample.classes)] = 1
    return truth
