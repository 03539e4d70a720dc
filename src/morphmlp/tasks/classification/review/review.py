"""The review of an evaluation: how sure its figures are, what simple means reach, and what went wrong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from morphmlp.config import SplitConfig
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.inference.device import show_nothing
from morphmlp.tasks.classification.calibration.measures import calibration_error, reliability_bins
from morphmlp.tasks.classification.evaluation import Evaluation, ranks
from morphmlp.tasks.classification.review.comparisons import (
    Comparisons,
    as_values,
    compared,
    read_shrunk,
    sample_groups,
)
from morphmlp.tasks.classification.review.findings import Copy, LabelError, copies_across, label_errors
from morphmlp.tasks.classification.review.intervals import Bootstrap, Interval, class_f1s, class_recalls, whole


@dataclass(frozen=True)
class Figure:
    """A headline figure and its 95 % interval; None where there is none."""

    name: str
    value: float
    interval: Interval | None


@dataclass(frozen=True)
class Review:
    """What there is to say of an evaluation beside its figures.

    Attributes:
        checkpoint, data: what was evaluated on what, as it was given.
        figures: the headline figures by their names in JSON; shares from 0 to 1.
        num_groups: that the intervals are over.
        grouped_by: what a group is, for people.
        comparisons: with the commonest class and shrunk pixels of the training part; None where there is none.
        why_alone: why `comparisons` or `copies` is None; "" where neither is.
        copies: evaluated samples that the training part has, too; None where nobody looked.
        label_errors: samples whose label may be wrong.
        out_of_fold: the folder whose out-of-fold predictions those are found in; None for the evaluated samples.
        may_have_seen: whether the model may have been trained on the evaluated samples.
    """

    checkpoint: str
    data: str
    figures: dict[str, Figure]
    num_groups: int
    grouped_by: str
    comparisons: Comparisons | None = None
    why_alone: str = ""
    copies: list[Copy] | None = None
    label_errors: list[LabelError] = field(default_factory=list)
    out_of_fold: str | None = None
    may_have_seen: bool = False


def review_of(
    evaluation: Evaluation,
    *,
    checkpoint: str,
    data: str,
    split: SplitConfig,
    train: LabelledSet | None,
    why_alone: str = "",
    pixels: bool = True,
    out_of_fold: "tuple[str, Evaluation] | None" = None,
    may_have_seen: bool = False,
    workers: int = 2,
    progress: Callable[[int, int], None] = show_nothing,
) -> Review:
    """Reviews an evaluation.

    Args:
        split: says which samples are of one group.
        train: the training part, in the classes of the evaluation; None where there is none: `why_alone` explains it.
        pixels: whether to decode both parts for shrunk pixels and copies; else `why_alone` says why not.
        out_of_fold: the folder of out-of-fold predictions, and these, to look for label errors among.
        may_have_seen: see `Review`.
        workers, progress: of the decoding.
    """
    shrunk = read_shrunk(evaluation, train, workers=workers, progress=progress) if train and pixels else None
    samples = [prediction.sample for prediction in evaluation.predictions]
    bootstrap = Bootstrap(sample_groups(samples, split))
    folder, doubted = out_of_fold or (None, evaluation)
    return Review(
        checkpoint,
        data,
        headline_figures(evaluation, bootstrap),
        bootstrap.num_groups,
        _grouped_by(samples, evaluation.unit, split),
        compared(evaluation, train, shrunk, split=split) if train else None,
        why_alone,
        None if shrunk is None else copies_across(shrunk),
        label_errors(doubted),
        folder,
        may_have_seen,
    )


def _grouped_by(samples: Sequence[Sample], unit: str, split: SplitConfig) -> str:
    if split.group_pattern is not None:
        return f"groups by {split.group_pattern!r}"
    return "recordings" if any(isinstance(sample.path, Stretch) for sample in samples) else unit


def headline_figures(evaluation: Evaluation, bootstrap: Bootstrap) -> dict[str, Figure]:
    """Top-1 and top-5, the mean recall and F1 of the classes, each with its interval, and the calibration error."""
    labels = np.array([prediction.label for prediction in evaluation.predictions])
    predicted = np.array([prediction.predicted for prediction in evaluation.predictions])
    found = {"top1": Figure("top-1", evaluation.accuracy(), bootstrap.of_share(predicted == labels))}
    if 5 in ranks(len(evaluation.labels)):
        hits = np.array([prediction.label in prediction.top(5) for prediction in evaluation.predictions])
        found["top5"] = Figure("top-5", evaluation.accuracy(5), bootstrap.of_share(hits))
    for name, shown, of_classes in (("mean_recall", "mean recall", class_recalls), ("macro_f1", "mean F1", class_f1s)):
        statistic = of_classes(labels, predicted, num_classes=len(evaluation.labels))
        found[name] = Figure(shown, whole(statistic, len(labels)), bootstrap.of(statistic))
    bins = reliability_bins(*scores_of(evaluation))
    return found | {"calibration_error": Figure("calibration error", calibration_error(bins), None)}


def scores_of(evaluation: Evaluation) -> tuple[np.ndarray, np.ndarray]:
    """The probability of each answer, and whether it is right."""
    scores = np.array([prediction.probabilities.max() for prediction in evaluation.predictions])
    return scores, np.array([prediction.predicted == prediction.label for prediction in evaluation.predictions])


def review_values(review: Review) -> dict[str, Any]:
    """Plain values, ready for JSON."""
    return {
        "groups": review.num_groups,
        "figures": {
            name: {"value": figure.value, "interval": figure.interval} for name, figure in review.figures.items()
        },
        "comparisons": None if review.comparisons is None else as_values(review.comparisons),
        "why_alone": review.why_alone,
        "label_errors": [
            {
                "path": str(error.prediction.path),
                "label": error.label,
                "suggested": error.suggested,
                "margin": error.margin,
            }
            for error in review.label_errors
        ],
        "label_errors_from": review.out_of_fold,
        "copies": None
        if review.copies is None
        else [
            {"path": str(copy.evaluated.path), "training": str(copy.training.path), "alike": copy.alike}
            for copy in review.copies
        ],
    }
