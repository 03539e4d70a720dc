"""What `train --tune` tries, for how long, and what goes on: successive halving, without the trainings themselves.

Jamieson and Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization, 2016, with thirds for
halves: all candidates are trained for a few epochs, the best third of them for about three times as many, and so on, so
that each rung takes the same time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from morphmlp.config import AugmentConfig, RunConfig

LR_FACTORS = (1.0, 3.0, 1 / 3)  # of the learning rate of the configuration, in the order in which they are tried
STRENGTHS = ("usual", "light", "strong")
GOES_ON = 3  # one of so many
FEWEST = 3  # candidates, however short the time


@dataclass(frozen=True)
class Candidate:
    """What a trial tries.

    Attributes:
        start: the checkpoint to start from; None for fresh weights.
        lr: peak learning rate.
        strength: of the augmentation, one of `STRENGTHS`.
    """

    start: str | None
    lr: float
    strength: str = STRENGTHS[0]

    def configured(self, config: RunConfig) -> RunConfig:
        """The configuration with what is tried in the place of its own."""
        given = config.train
        lower = {"lr": self.lr, "min_lr": min(given.min_lr, self.lr)}
        if given.warmup_lr is not None:
            lower["warmup_lr"] = min(given.warmup_lr, self.lr)
        return replace(
            config,
            init=self.start,
            train=replace(given, augment=strengthened(given.augment, self.strength), **lower),
        )

    def describe(self) -> str:
        return f"{self.start or 'fresh weights'}, lr {self.lr:.2g}, {self.strength} augmentation"


def strengthened(augment: AugmentConfig, strength: str) -> AugmentConfig:
    """The augmentation, lighter or stronger.

    Flips stay as they are, and turns and other paces stay off: whether they are safe is no matter of strength.
    """
    if strength == "light":
        return replace(
            augment,
            crop_area=max(augment.crop_area, 0.8),
            rotate=augment.rotate / 3,
            time_warp=augment.time_warp / 3,
            color=augment.color / 3,
            mixup=augment.mixup / 4,
            cutmix=augment.cutmix / 4,
            erase=0.0,
        )
    if strength == "strong":
        return replace(
            augment,
            crop_area=min(augment.crop_area, 0.35),
            rotate=min(1.5 * augment.rotate, 180.0),
            time_warp=min(1.5 * augment.time_warp, 1.0),
            color=min(max(1.5 * augment.color, 0.4), 1.0),
            mixup=max(2 * augment.mixup, 0.4),
            erase=max(augment.erase, 0.25),
        )
    return augment


@dataclass(frozen=True)
class Space:
    """What may be varied: what was given stays.

    Attributes:
        starts: checkpoints to start from, and None for fresh weights.
        lr, strength: whether the learning rate, and the strength of the augmentation, may be varied.
    """

    starts: tuple[str | None, ...]
    lr: bool = True
    strength: bool = True

    def candidates(self, starts: Sequence[str | None], lr: float) -> list[Candidate]:
        """All of these starts, those with the fewest changes first: any first part of them is a fair choice.

        >>> [c.describe() for c in Space((None,), strength=False).candidates([None], 0.001)]
        ['fresh weights, lr 0.001, usual augmentation', 'fresh weights, lr 0.003, usual augmentation', \
'fresh weights, lr 0.00033, usual augmentation']
        """
        factors = LR_FACTORS if self.lr else LR_FACTORS[:1]
        strengths = STRENGTHS if self.strength else STRENGTHS[:1]
        pairs = [(i, j) for i in range(len(factors)) for j in range(len(strengths))]
        pairs.sort(key=lambda pair: (sum(number > 0 for number in pair), max(pair)))
        return [Candidate(start, lr * factors[i], strengths[j]) for i, j in pairs for start in starts]


@dataclass(frozen=True)
class Trial:
    """A candidate that was tried.

    Attributes:
        rung: 0 for a linear probe and for the training that measures the time, then from 1.
        epochs: 0 for a probe.
        score, loss: on the held-out part; the loss of a training that diverged is infinite.
        seconds: that all of it took.
        training_s: of these, the seconds of the steps; all of them where the training diverged.
    """

    rung: int
    candidate: Candidate
    epochs: int
    score: float
    loss: float
    seconds: float
    training_s: float

    @property
    def rank(self) -> tuple[float, float]:
        """The larger, the better: of equal scores the one with the smaller loss."""
        return self.score, -self.loss


class Cost(NamedTuple):
    """Seconds of a trial: those of an epoch, and those before and after its epochs."""

    epoch_s: float
    others_s: float

    def seconds(self, epochs: int) -> float:
        return self.others_s + epochs * self.epoch_s


def cost_of(trials: Sequence[Trial]) -> Cost:
    """What the time of trials says of others, by the slowest of them; nothing where there are none.

    A probe has no epochs: all of its time is beside them. One that diverged says little, as it ended early.

    >>> timed = Trial(0, Candidate(None, 0.001), epochs=10, score=0.5, loss=1.0, seconds=25.0, training_s=20.0)
    >>> cost_of([timed]).seconds(epochs=30)
    65.0
    """
    trials = [trial for trial in trials if math.isfinite(trial.loss)] or trials
    epochs_s = [trial.training_s / trial.epochs for trial in trials if trial.epochs]
    others_s = [trial.seconds - (trial.training_s if trial.epochs else 0.0) for trial in trials]
    return Cost(max(epochs_s, default=0.0), max([0.0, *others_s]))


def num_rungs(num_candidates: int) -> int:
    """Rungs until one candidate is left.

    >>> [num_rungs(n) for n in (1, 3, 4, 9, 10, 27)]
    [1, 1, 2, 2, 3, 3]
    """
    rungs, left = 1, num_candidates
    while (left := math.ceil(left / GOES_ON)) > 1:
        rungs += 1
    return rungs


def num_affordable(num_candidates: int, *, seconds: float, cost: Cost, least_epochs: int) -> int:
    """How many candidates can be tried in this time, with `least_epochs` in the first rung.

    With 10 s for such a trial and 200 s, of 27 candidates: 9, as 9 of them take 90 s, and so do the second rung's 3; 10
    would have three rungs of 100 s.

    >>> num_affordable(27, seconds=200, cost=Cost(epoch_s=1, others_s=0), least_epochs=10)
    9
    """
    trial_s = cost.seconds(least_epochs)
    fits = [n for n in range(1, num_candidates + 1) if n * num_rungs(n) * trial_s <= seconds]
    return min(max(max(fits, default=0), FEWEST), num_candidates)


def epochs_of_rung(
    num_candidates: int, *, seconds: float, rungs_left: int, cost: Cost, least_epochs: int, most_epochs: int
) -> int:
    """Epochs of each trial of a rung that may take its share of the seconds that are left.

    >>> epochs_of_rung(3, seconds=90, rungs_left=1, cost=Cost(1, 5), least_epochs=5, most_epochs=100)
    25
    """
    share_s = seconds / rungs_left / num_candidates
    epochs = int((share_s - cost.others_s) / max(cost.epoch_s, 1e-3))
    return min(max(epochs, least_epochs), max(most_epochs, 1))


def best_of(trials: Sequence[Trial]) -> list[Trial]:
    """The trials of a rung that go on, best first."""
    return sorted(trials, key=lambda trial: trial.rank, reverse=True)[: math.ceil(len(trials) / GOES_ON)]
