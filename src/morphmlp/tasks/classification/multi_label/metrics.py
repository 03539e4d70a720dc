"""Figures of multi-label answers, by torchmetrics: average precision, precision, recall, F1, and thresholds.

torchmetrics takes seconds to import and serves no other task, so it is an extra. No prediction needs it.

Probabilities and truth are `[samples, classes]`, the truth of 0 and 1.
"""

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from morphmlp.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

USUAL_THRESHOLD = 0.5


@dataclass(frozen=True)
class ClassFigures:
    """Figures of each class, `[classes]`; NaN where there is nothing to divide."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


def require_torchmetrics() -> None:
    """Raises UserError where the extra is not installed."""
    if importlib.util.find_spec("torchmetrics") is None:
        raise UserError("several labels a sample are scored by torchmetrics: pip install 'morphmlp[multilabel]'")


def average_precisions(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Average precision of each class, `[classes]`: its precision over the recall; NaN of a class that no sample shows.

    >>> average_precisions(np.array([[0.9], [0.8], [0.1]]), np.array([[1], [0], [1]])).round(4)
    array([0.8333])
    """
    from torchmetrics.functional.classification import binary_average_precision

    found = np.full(truth.shape[1], np.nan)
    for label in np.flatnonzero(truth.any(axis=0)):
        value = binary_average_precision(*_tensors(probabilities[:, label], truth[:, label]))
        found[label] = min(float(value), 1.0)  # float32 sums may be a last digit above it
    return found


def class_figures(answers: np.ndarray, truth: np.ndarray) -> ClassFigures:
    """Precision, recall and F1 of each class, of answers of 0 and 1."""
    from torchmetrics.functional.classification import multilabel_f1_score, multilabel_precision, multilabel_recall

    given, counts = _tensors(answers, truth), {"num_labels": truth.shape[1], "average": None}
    answered, shown = answers.any(axis=0), truth.any(axis=0)
    return ClassFigures(
        np.where(answered, _array(multilabel_precision(*given, **counts)), np.nan),
        np.where(shown, _array(multilabel_recall(*given, **counts)), np.nan),
        np.where(answered | shown, _array(multilabel_f1_score(*given, **counts)), np.nan),
    )


def fitted_thresholds(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """For each class the threshold with the best F1, `[classes]`; 0.5 of a class that no sample shows.

    It lies in the middle between two probabilities that occur, so that rounding does not move a sample over it. Of
    several that are equally good it is the highest.

    >>> fitted_thresholds(np.array([[0.9], [0.6], [0.5], [0.1]]), np.array([[1], [1], [0], [0]])).round(4)
    array([0.55])
    """
    from torchmetrics.functional.classification import binary_precision_recall_curve

    found = np.full(truth.shape[1], USUAL_THRESHOLD)
    for label in np.flatnonzero(truth.any(axis=0)):
        curve = binary_precision_recall_curve(*_tensors(probabilities[:, label], truth[:, label]))
        precision, recall, values = map(_array, curve)
        both = precision[:-1] + recall[:-1]
        f1 = np.where(both > 0, 2 * precision[:-1] * recall[:-1] / np.maximum(both, 1e-12), 0)
        best = int(np.flatnonzero(f1 >= f1.max() - 1e-9)[-1])
        below = values[best - 1] if best else 0.0
        found[label] = (below + values[best]) / 2
    return found


def mean_of(figures: np.ndarray) -> float:
    """The mean over the classes that have a figure; NaN where none has."""
    return float(np.mean(figures[~np.isnan(figures)])) if (~np.isnan(figures)).any() else float("nan")


def _tensors(values: np.ndarray, truth: np.ndarray) -> "tuple[Tensor, Tensor]":
    import torch

    with torch.device("cpu"):
        return torch.from_numpy(np.ascontiguousarray(values)), torch.from_numpy(truth.astype(np.int64))


def _array(values: "Tensor") -> np.ndarray:
    return values.double().numpy()
