"""The temperature and the threshold that are fitted."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from morphmlp.errors import DataError
from morphmlp.tasks.classification.calibration.fitting import (
    COLDEST,
    HOTTEST,
    fit_temperature,
    fit_threshold,
    joined_logs,
    negative_log_likelihood,
)
from morphmlp.tasks.classification.calibration.logits import ViewLogits
from morphmlp.tasks.classification.calibration.measures import Outcomes
from morphmlp.tasks.classification.prediction import join_views


def views_of(logits: Tensor, labels: list[int] | np.ndarray, aggregation: str = "logits") -> ViewLogits:
    return ViewLogits(logits[:, None] if logits.dim() == 2 else logits, np.array(labels), aggregation, [])


def drawn(samples: int, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Logits, and labels drawn from their softmax: their temperature is 1."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(samples, classes, generator=generator)
    return logits, logits.softmax(1).multinomial(1, generator=generator)[:, 0]


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.5])
def test_the_temperature_is_the_factor_that_logits_were_scaled_by(factor: float):
    logits, labels = drawn(20_000)
    assert fit_temperature(views_of(factor * logits, labels.numpy())) == pytest.approx(factor, rel=0.03)


def test_scaled_logits_have_the_scaled_temperature_and_the_same_likelihood():
    logits, labels = drawn(300)
    plain, scaled = views_of(logits, labels.numpy()), views_of(3 * logits, labels.numpy())
    temperature = fit_temperature(plain)
    assert fit_temperature(scaled) == pytest.approx(3 * temperature, rel=1e-4)
    losses = negative_log_likelihood(plain, temperature), negative_log_likelihood(scaled, 3 * temperature)
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_the_temperature_of_two_classes_worked_by_hand():
    # Three of four answers with logits [0, 2] are right: the best probability is 3/4, so 2 / T = ln 3.
    views = views_of(torch.tensor([[0.0, 2.0]] * 4), [1, 1, 1, 0])
    assert fit_temperature(views) == pytest.approx(2 / math.log(3), rel=1e-5)


@pytest.mark.parametrize(("label", "expected"), [(1, COLDEST), (0, HOTTEST)])
def test_where_all_or_no_answers_are_right_the_temperature_is_at_its_bound(label: int, expected: float):
    views = views_of(torch.tensor([[0.0, 2.0], [-1.0, 1.0]]), [label, label])
    assert fit_temperature(views) == pytest.approx(expected, rel=1e-5)


def test_samples_of_no_class_have_no_part_in_the_likelihood():
    logits = torch.tensor([[0.0, 2.0]] * 5)
    assert negative_log_likelihood(views_of(logits, [1, 1, 1, 0, -1]), 1.5) == pytest.approx(
        negative_log_likelihood(views_of(logits[:4], [1, 1, 1, 0]), 1.5)
    )


@pytest.mark.parametrize("aggregation", ["logits", "probabilities"])
def test_the_likelihood_is_of_the_probabilities_that_are_predicted(aggregation: str):
    logits = 3 * torch.randn(6, 3, 5, generator=torch.Generator().manual_seed(1))
    joined = join_views(logits.flatten(0, 1).numpy(), num_videos=6, aggregation=aggregation, temperature=1.7)
    logs = joined_logs(logits, temperature=1.7, aggregation=aggregation)
    torch.testing.assert_close(logs.exp().float(), torch.from_numpy(joined))
    np.testing.assert_array_equal(views_of(logits, [0] * 6, aggregation).probabilities(1.7), joined)


def outcomes(rows: list[tuple[float, bool]], num_known: int | None = None) -> Outcomes:
    scores, right = zip(*rows, strict=True)
    return Outcomes(np.array(scores), np.array(right), len(rows) if num_known is None else num_known)


ROWS = [(0.95, True), (0.9, True), (0.8, False), (0.7, True), (0.3, False)]


@pytest.mark.parametrize(
    ("precision", "threshold"),
    [(1.0, 0.85), (0.75, 0.5), (0.7, 0.5), (0.6, 0.2), (0.1, 0.2)],  # 3/5 of all are right; 0.2 is (0.1 + 0.3) / 2
)
def test_the_lowest_threshold_of_the_wanted_precision_is_taken(precision: float, threshold: float):
    assert fit_threshold(outcomes(ROWS), num_classes=10, precision=precision) == pytest.approx(threshold)


def test_by_default_the_threshold_has_the_best_f1():
    # F1 from the lowest threshold: 6/10, 6/9, 4/8, 4/7, 2/6.
    assert fit_threshold(outcomes(ROWS), num_classes=10) == pytest.approx(0.5)


def test_samples_of_no_class_move_the_threshold():
    rows = [(0.9, True), (0.8, True), (0.6, False), (0.55, False)]
    assert fit_threshold(outcomes(rows, num_known=2), num_classes=2) == pytest.approx(0.7)


def test_where_all_are_right_nothing_is_refused():
    rows = [(0.9, True), (0.6, True)]
    threshold = fit_threshold(outcomes(rows), num_classes=2)
    assert threshold == pytest.approx(0.55)
    assert outcomes(rows).refusal(threshold).share_refused == 0


def test_where_all_are_wrong_there_is_no_threshold_by_f1_and_an_error_by_precision():
    rows = [(0.9, False), (0.6, False)]
    assert fit_threshold(outcomes(rows), num_classes=2) is None
    with pytest.raises(DataError, match=r"the best is 0.0%, as not one answer is right; are"):
        fit_threshold(outcomes(rows), num_classes=2, precision=0.9)


def test_a_precision_that_is_never_reached_names_the_best_one():
    rows = [(0.9, False), (0.8, True), (0.7, True), (0.3, False)]
    message = (
        r"precision of 95.0%: the best is 66.6%|66.7%, at a threshold of 0.5 with 25.0% refused; .*--at_precision 0.666"
    )
    with pytest.raises(DataError, match=message):
        fit_threshold(outcomes(rows), num_classes=10, precision=0.95)
    with pytest.raises(DataError, match="no sample is answered"):
        fit_threshold(outcomes([(0.0, False)]), num_classes=10, precision=0.95)
