"""How good are probabilities, and what does a threshold on the winning one do? Plain arithmetic on arrays.

A sample has a *score*, the probability of its winning class, and is answered where the score reaches the threshold.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

NUM_BINS = 15  # as in Guo et al. 2017


class Bin(NamedTuple):
    """The samples whose score is above `low` and at most `high`; score and accuracy are means, NaN without samples."""

    low: float
    high: float
    samples: int
    score: float
    accuracy: float


def reliability_bins(scores: np.ndarray, right: np.ndarray, *, num_bins: int = NUM_BINS) -> list[Bin]:
    """Bins of equal width from 0 to 1.

    With 15 bins, a score of 0.40 is in bin ceil(0.40 * 15) - 1 = 5, which is from 1/3 to 0.4.
    """
    numbers = np.clip(np.ceil(scores.astype(float) * num_bins).astype(int) - 1, 0, num_bins - 1)
    bins = []
    for number in range(num_bins):
        inside = numbers == number
        means = (float(scores[inside].mean()), float(right[inside].mean())) if inside.any() else (math.nan, math.nan)
        bins.append(Bin(number / num_bins, (number + 1) / num_bins, int(inside.sum()), *means))
    return bins


def calibration_error(bins: list[Bin]) -> float:
    """Expected calibration error: the mean distance of score and accuracy over the bins, weighted by their samples.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017, Eq. 3. NaN without samples.
    """
    total = sum(b.samples for b in bins)
    return sum(b.samples * abs(b.score - b.accuracy) for b in bins if b.samples) / total if total else math.nan


def auroc(higher: np.ndarray, lower: np.ndarray) -> float:
    """The probability that a value of the first array is above one of the second; of equal ones, half count.

    This is the area under the ROC curve (Mann and Whitney). NaN where one is empty.

    >>> auroc(np.array([0.9, 0.5]), np.array([0.5, 0.1]))  # of four pairs three and a half
    0.875
    """
    if not len(higher) or not len(lower):
        return math.nan
    ordered = np.sort(lower)
    below, not_above = (np.searchsorted(ordered, higher, side=side) for side in ("left", "right"))
    return float((below + not_above).mean() / 2 / len(lower))


def wilson_interval(hits: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share of which `hits` of `total` were seen (Wilson 1927); 0 to 1 of none.

    >>> [round(end, 3) for end in wilson_interval(19, 20)]
    [0.764, 0.991]
    """
    if not total:
        return 0.0, 1.0
    z = 1.959964  # of the normal distribution, 95 % are within it
    middle = hits + z * z / 2
    reach = z * math.sqrt(hits * (total - hits) / total + z * z / 4)
    return max(0.0, (middle - reach) / (total + z * z)), min(1.0, (middle + reach) / (total + z * z))


@dataclass(frozen=True)
class Outcomes:
    """The winning classes of samples, as a threshold sees them.

    Attributes:
        scores: `[samples]`, the probability of the winning class; 0 where that is `(nothing)`, which is no answer.
        right: `[samples]`, whether the winning class is the sample's; never of a sample that belongs to no class.
        num_known: samples that belong to a class that is an answer.
    """

    scores: np.ndarray
    right: np.ndarray
    num_known: int

    def refusal(self, threshold: float | None) -> "Refusal":
        """What a threshold does; None answers all but `(nothing)`."""
        answered = (self.scores > 0) & (self.scores >= (threshold or 0))
        return Refusal(len(self.scores), int(answered.sum()), int((answered & self.right).sum()), self.num_known)


class Refusal(NamedTuple):
    """Counts under a threshold: samples, those answered, those answered right, those that belong to a class."""

    samples: int
    answered: int
    hits: int
    num_known: int

    @property
    def share_refused(self) -> float:
        return 1 - self.answered / self.samples if self.samples else math.nan

    @property
    def precision(self) -> float:
        """Right answers among those given; NaN where none is."""
        return self.hits / self.answered if self.answered else math.nan

    @property
    def recall(self) -> float:
        """Right answers among the samples that have one."""
        return self.hits / self.num_known if self.num_known else math.nan

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall: 2 PR / (P + R) = 2 hits / (answered + known).

        A sample of no class costs precision if it is answered, and nothing if it is refused.
        """
        return 2 * self.hits / (self.answered + self.num_known) if self.answered + self.num_known else math.nan


def thresholds(scores: np.ndarray, num_classes: int) -> np.ndarray:
    """All that differ in what they answer, lowest first: each is halfway from one score to the next lower one.

    Halfway, as a score may change in its last digits on another device. Below the lowest score is chance. Of the scores
    0.6, 0.9, 0.9 with two classes they are (0.5 + 0.6) / 2 = 0.55 and (0.6 + 0.9) / 2 = 0.75.
    """
    levels = np.unique(scores[scores > 0].astype(float))
    below = np.concatenate([[1 / num_classes], levels[:-1]])[: len(levels)]
    return (np.minimum(below, levels) + levels) / 2
