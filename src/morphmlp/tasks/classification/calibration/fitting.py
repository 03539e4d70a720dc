"""Fits the two numbers: the temperature by the likelihood of held-out labels, then the threshold by what it answers."""

import math

import numpy as np
import torch
from torch import Tensor

from morphmlp.errors import DataError
from morphmlp.formatting import percent
from morphmlp.tasks.classification.calibration.logits import ViewLogits
from morphmlp.tasks.classification.calibration.measures import Outcomes, thresholds

COLDEST, HOTTEST = 0.05, 20.0  # where all (or no) answers are right, the likelihood has no best temperature


def fit_temperature(views: ViewLogits) -> float:
    """The temperature of the least negative log-likelihood, from `COLDEST` to `HOTTEST` (Guo et al. 2017, Sec. 4.2).

    A grid on the logarithm, which the next one refines around its best point: five times 41 points, of which the last
    are 0.0001 % apart. Of single views the likelihood has one minimum; of a mean of softmaxes it may have more, and the
    first grid finds the deepest.
    """
    low, high = math.log(COLDEST), math.log(HOTTEST)
    middle = 0.0
    for _ in range(5):
        grid = np.linspace(low, high, 41)
        best = int(np.argmin([negative_log_likelihood(views, math.exp(point)) for point in grid]))
        low, middle, high = grid[max(best - 1, 0)], grid[best], grid[min(best + 1, 40)]
    return min(max(math.exp(middle), COLDEST), HOTTEST)


def negative_log_likelihood(views: ViewLogits, temperature: float) -> float:
    """Mean over the samples that belong to a class, in float64; NaN where there is none."""
    known = torch.from_numpy(views.labels >= 0)
    labels = torch.from_numpy(views.labels)[known]
    logs = joined_logs(views.logits[known], temperature=temperature, aggregation=views.aggregation)
    return float(-logs.gather(1, labels[:, None]).mean())


def joined_logs(logits: Tensor, *, temperature: float, aggregation: str) -> Tensor:
    """Logits `[samples, views, classes]` -> `[samples, classes]`, the logarithms of what `join_views` gives.

    In float64: what is 0 as a probability in float32 has a logarithm here.
    """
    if aggregation == "logits":
        return (logits.double().mean(dim=1) / temperature).log_softmax(dim=-1)
    return (logits.double() / temperature).log_softmax(dim=-1).logsumexp(dim=1) - math.log(logits.shape[1])


def fit_threshold(outcomes: Outcomes, *, num_classes: int, precision: float | None = None) -> float | None:
    """The lowest threshold with at least this precision among the answers, or by default the lowest of the best F1.

    None where no answer is right, so that F1 is 0 at every threshold.

    Raises:
        DataError: no threshold has the precision; the message names the best that there is.
    """
    choices = [(float(t), outcomes.refusal(float(t))) for t in thresholds(outcomes.scores, num_classes)]
    if precision is not None:
        for threshold, refusal in choices:
            if refusal.precision >= precision:
                return threshold
        raise DataError(_unreached(precision, choices))
    if not outcomes.right.any():
        return None
    return max(choices, key=lambda choice: choice[1].f1)[0]


def _unreached(wanted: float, choices: list) -> str:
    start = f"no threshold reaches a precision of {percent(wanted)}"
    if not choices:
        return f"{start}: no sample is answered"
    threshold, refusal = max(choices, key=lambda choice: choice[1].precision)
    if not refusal.hits:
        return f"{start}: the best is 0.0%, as not one answer is right; are these the checkpoint's classes?"
    reachable = math.floor(refusal.precision * 1000) / 1000
    return (
        f"{start}: the best is {percent(refusal.precision)}, at a threshold of {threshold:.5g} with "
        f"{percent(refusal.share_refused)} refused; give --at_precision {reachable:g} or less"
    )
