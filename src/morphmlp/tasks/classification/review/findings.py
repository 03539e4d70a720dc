"""What is worth a look among predictions: confusions, mistakes, doubts, and labels that may be wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from morphmlp.data.sets.labelled import Sample
from morphmlp.tasks.classification.copies import COPIES_ABOVE, pairs_of_copies
from morphmlp.tasks.classification.evaluation import Evaluation, SamplePrediction
from morphmlp.tasks.classification.review.comparisons import Shrunk


class ClassFigures(NamedTuple):
    """A class: its samples, how often it is the answer, how often rightly; None where there is nothing to divide."""

    name: str
    samples: int
    predicted: int
    hits: int

    @property
    def recall(self) -> float | None:
        return self.hits / self.samples if self.samples else None

    @property
    def precision(self) -> float | None:
        return self.hits / self.predicted if self.predicted else None

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall: 2 hits / (samples + predicted)."""
        return 2 * self.hits / (self.samples + self.predicted) if self.samples + self.predicted else None


@dataclass(frozen=True)
class Confusion:
    """Samples of one class that were taken for another, those of the surest answers first."""

    label: int
    predicted: int
    mistakes: list[SamplePrediction]
    of: int  # samples of the class


@dataclass(frozen=True)
class LabelError:
    """A sample whose label may be wrong, the class that it may be of, and how much more probable that is."""

    prediction: SamplePrediction
    label: str
    suggested: str
    margin: float


class Copy(NamedTuple):
    """An evaluated sample that shows nearly what a training sample shows; see `copies` for how alike."""

    evaluated: SamplePrediction
    training: Sample
    alike: float


def class_figures(evaluation: Evaluation) -> list[ClassFigures]:
    """Every class, in the order of the model's outputs."""
    confusion = evaluation.confusion()
    columns = confusion.sum(axis=1), confusion.sum(axis=0), confusion.diagonal()
    counts = zip(*(column.tolist() for column in columns), strict=True)
    return [ClassFigures(name, *row) for name, row in zip(evaluation.labels, counts, strict=True)]


def worst_first(classes: Sequence[ClassFigures]) -> list[ClassFigures]:
    """By F1, the lowest first; classes without one last."""
    return sorted(classes, key=lambda row: (row.f1 is None, row.f1 or 0.0, -row.samples))


def worst_confusions(evaluation: Evaluation, most: int) -> list[Confusion]:
    """The pairs of label and answer with the most samples; of equally many, that with the larger share of its class."""
    confusion = evaluation.confusion()
    totals = confusion.sum(axis=1)
    pairs = [(label, other) for label, other in np.argwhere(confusion).tolist() if label != other]
    pairs.sort(key=lambda pair: (-confusion[pair], -confusion[pair] / totals[pair[0]], pair))
    return [
        Confusion(label, other, _mistakes(evaluation, label, other), int(totals[label]))
        for label, other in pairs[:most]
    ]


def _mistakes(evaluation: Evaluation, label: int, predicted: int) -> list[SamplePrediction]:
    found = [p for p in evaluation.predictions if (p.label, p.predicted) == (label, predicted)]
    return sorted(found, key=lambda p: -p.probabilities[predicted])


def least_certain_right(evaluation: Evaluation, most: int) -> list[SamplePrediction]:
    """Right answers of the lowest probabilities, lowest first."""
    right = [p for p in evaluation.predictions if p.predicted == p.label]
    return sorted(right, key=lambda p: p.probabilities[p.label])[:most]


def label_errors(evaluation: Evaluation) -> list[LabelError]:
    """Samples whose label may be wrong, by the rule of confident learning, the widest margin first.

    A class's threshold is its mean probability over the samples with its label. A sample is counted as of the most
    probable class among those that reach their thresholds; where that is not its label, the label is in doubt. A class
    without samples here has no threshold, and is never suggested.

    Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 2021, Eq. 1 and 2.

    Args:
        evaluation: of samples that the model was not trained on.
    """
    if not evaluation.predictions:
        return []
    labels = np.array([prediction.label for prediction in evaluation.predictions])
    probabilities = np.stack([prediction.probabilities for prediction in evaluation.predictions])
    own = probabilities[np.arange(len(labels)), labels]
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    sums = np.bincount(labels, weights=own, minlength=probabilities.shape[1])
    thresholds = np.divide(sums, counts, out=np.full(len(counts), np.inf), where=counts > 0)
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    suggested = confident.argmax(axis=1)
    doubtful = (confident.max(axis=1) >= 0) & (suggested != labels)
    margins = confident.max(axis=1) - own
    names = evaluation.labels
    found = [
        LabelError(evaluation.predictions[i], names[labels[i]], names[suggested[i]], float(margins[i]))
        for i in np.flatnonzero(doubtful)
    ]
    return sorted(found, key=lambda error: -error.margin)


def copies_across(shrunk: Shrunk, *, above: float = COPIES_ABOVE) -> list[Copy]:
    """Evaluated samples that show nearly what one of the training shows, the most alike first."""
    frames = np.concatenate([shrunk.train_pixels.grey, shrunk.pixels.grey])
    num_train = len(shrunk.train)
    parts = np.repeat([0, 1], [num_train, len(shrunk.evaluated)])
    found = [
        Copy(shrunk.evaluated[b - num_train], shrunk.train[a], alike)
        for a, b, alike in pairs_of_copies(frames, parts, above=above)
    ]
    return sorted(found, key=lambda copy: -copy.alike)
