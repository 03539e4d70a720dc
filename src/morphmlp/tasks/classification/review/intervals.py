"""95 % intervals of an evaluation's figures: the bootstrap over groups.

Samples of one group (a speaker, a recording) are right or wrong together, so it is groups that are drawn, with
replacement and as many as there are; the figure of each draw is computed anew, and the interval is from the 2.5th to
the 97.5th percentile (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, Sec. 13.3; Field and Welsh,
Bootstrapping clustered data, JRSS B 2007).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from morphmlp.tasks.classification.calibration.measures import wilson_interval

DRAWS = 2_000
FEW_GROUPS = 20  # of fewer, the percentiles are too narrow
_VALUES_AT_ONCE = 2**22

# Weights of the samples in a block of draws, `[block, samples]` -> a figure for each draw, `[block]`.
Statistic = Callable[[np.ndarray], np.ndarray]


class Interval(NamedTuple):
    """Where a figure is in 95 of 100 draws."""

    low: float
    high: float


@dataclass(frozen=True)
class Bootstrap:
    """Draws of the groups of samples.

    Attributes:
        groups: of each sample.
    """

    groups: Sequence[str]
    draws: int = DRAWS
    seed: int = 0

    @cached_property
    def numbers(self) -> np.ndarray:
        """The number of each sample's group, `[samples]`."""
        return np.unique(np.array(self.groups, dtype=object), return_inverse=True)[1]

    @property
    def num_groups(self) -> int:
        return int(self.numbers.max()) + 1 if len(self.numbers) else 0

    def of(self, statistic: Statistic) -> Interval | None:
        """The interval of a figure; draws in which it is NaN are left out. None with fewer than two groups."""
        if self.num_groups < 2:
            return None
        figures = np.concatenate([statistic(weights) for weights in self._weights()])
        figures = figures[~np.isnan(figures)]
        return Interval(*np.percentile(figures, [2.5, 97.5]).tolist()) if len(figures) else None

    def of_mean(self, values: np.ndarray) -> Interval | None:
        """The interval of the mean of `[samples]`."""
        return self.of(lambda weights: weights @ values / weights.sum(axis=1))

    def of_share(self, hits: np.ndarray) -> Interval | None:
        """The interval of the share of hits, `[samples]`.

        Where all samples are hits, or none is, no draw differs from another; then it is Wilson's interval of as many
        hits as there are groups.
        """
        hits = np.asarray(hits, dtype=float)
        if self.num_groups >= 2 and hits.min() == hits.max():
            return Interval(*wilson_interval(round(self.num_groups * hits[0]), self.num_groups))
        return self.of_mean(hits)

    def _weights(self) -> Iterator[np.ndarray]:
        """How often each sample is drawn, `[block, samples]`: samples of groups 0, 0, 1, drawn as 1, 1, give 0, 0, 2.

        The blocks are cut so that no table of all draws and samples is in memory; the draws are the same for any size.
        """
        generator = np.random.default_rng(self.seed)
        size, num_groups = max(1, _VALUES_AT_ONCE // len(self.numbers)), self.num_groups
        for start in range(0, self.draws, size):
            block = min(size, self.draws - start)
            drawn = generator.integers(num_groups, size=(block, num_groups))
            places = drawn + num_groups * np.arange(block)[:, None]
            counts = np.bincount(places.ravel(), minlength=block * num_groups).reshape(block, num_groups)
            yield counts[:, self.numbers].astype(float)


def class_recalls(labels: np.ndarray, predicted: np.ndarray, *, num_classes: int) -> Statistic:
    """The mean over classes of the share of a class's samples that are right; classes without samples do not count."""

    def statistic(weights: np.ndarray) -> np.ndarray:
        samples = _by_class(weights, labels, num_classes=num_classes)
        hits = _by_class(weights * (labels == predicted), labels, num_classes=num_classes)
        return _mean_where(samples > 0, hits, samples)

    return statistic


def class_f1s(labels: np.ndarray, predicted: np.ndarray, *, num_classes: int) -> Statistic:
    """The mean over classes of F1 = 2 hits / (samples + predictions); classes with neither do not count."""

    def statistic(weights: np.ndarray) -> np.ndarray:
        both = _by_class(weights, labels, num_classes=num_classes)
        both += _by_class(weights, predicted, num_classes=num_classes)
        hits = _by_class(weights * (labels == predicted), labels, num_classes=num_classes)
        return _mean_where(both > 0, 2 * hits, both)

    return statistic


def _by_class(weights: np.ndarray, classes: np.ndarray, *, num_classes: int) -> np.ndarray:
    """Weights `[block, samples]` summed by class, `[block, classes]`."""
    places = classes + num_classes * np.arange(len(weights))[:, None]
    sums = np.bincount(places.ravel(), weights=weights.ravel(), minlength=len(weights) * num_classes)
    return sums.reshape(len(weights), num_classes)


def _mean_where(counts: np.ndarray, above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Quotients `[block, classes]`, where `counts` says that there is one, averaged over the classes."""
    quotients = np.divide(above, below, out=np.zeros_like(above), where=counts)
    number = counts.sum(axis=1)
    return np.divide(quotients.sum(axis=1), number, out=np.full(len(above), np.nan), where=number > 0)


def whole(statistic: Statistic, num_samples: int) -> float:
    """The figure of the samples as they are."""
    return float(statistic(np.ones((1, num_samples)))[0])
