"""Calibration error, AUROC, intervals, and what a threshold does."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_auroc, multiclass_calibration_error

from morphmlp.tasks.classification.calibration.measures import (
    Outcomes,
    auroc,
    calibration_error,
    reliability_bins,
    thresholds,
    wilson_interval,
)


def test_a_score_on_an_edge_is_in_the_bin_below_it():
    bins = reliability_bins(np.array([0.0, 0.4, 0.41, 1.0]), np.array([True, True, False, True]), num_bins=5)
    assert [b.samples for b in bins] == [1, 1, 1, 0, 1]
    assert bins[1] == (0.2, 0.4, 1, 0.4, 1.0)
    assert math.isnan(bins[3].score)


def test_calibration_error_is_the_weighted_distance_of_score_and_accuracy():
    # Three samples of 0.9, of which two are right, and one of 0.3 that is wrong: 3/4 |0.9 - 2/3| + 1/4 |0.3 - 0|.
    bins = reliability_bins(np.array([0.9, 0.9, 0.9, 0.3]), np.array([True, True, False, False]))
    assert calibration_error(bins) == pytest.approx(0.75 * (0.9 - 2 / 3) + 0.25 * 0.3)
    assert math.isnan(calibration_error(reliability_bins(np.empty(0), np.empty(0, bool))))


@given(st.integers(1, 200), st.integers(2, 7), st.integers(0, 2**32))
def test_calibration_error_is_that_of_torchmetrics(samples: int, classes: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    probabilities = (3 * torch.randn(samples, classes, generator=generator)).softmax(1)
    labels = torch.randint(classes, (samples,), generator=generator)
    scores, winners = (values.numpy() for values in probabilities.max(1))
    ours = calibration_error(reliability_bins(scores, winners == labels.numpy()))
    theirs = multiclass_calibration_error(probabilities, labels, num_classes=classes, n_bins=15)
    assert ours == pytest.approx(float(theirs), abs=1e-5)


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 9), st.integers(0, 2**32))
def test_auroc_is_that_of_torchmetrics_with_ties(num_known: int, num_unknown: int, levels: int, seed: int):
    values = np.random.default_rng(seed).integers(0, levels, num_known + num_unknown) / levels
    known, unknown = values[:num_known], values[num_known:]
    is_known = torch.arange(len(values)) < num_known
    theirs = binary_auroc(torch.from_numpy(values), is_known.long(), thresholds=None)
    assert auroc(known, unknown) == pytest.approx(float(theirs), abs=1e-6)


def test_auroc_without_samples_is_not_known():
    assert math.isnan(auroc(np.empty(0), np.ones(2)))
    assert math.isnan(auroc(np.ones(2), np.empty(0)))


def test_the_interval_of_few_answers_is_wide():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    low, high = wilson_interval(950, 1000)
    assert (low, high) == pytest.approx((0.9347, 0.9619), abs=1e-4)


def test_a_threshold_is_halfway_between_two_scores_or_a_score_and_chance():
    assert thresholds(np.array([0.9, 0.6, 0.9]), 2) == pytest.approx([0.55, 0.75])
    assert thresholds(np.array([0.0, 0.8]), 4) == pytest.approx([0.525])  # 0 is no answer
    assert thresholds(np.array([0.5]), 2) == pytest.approx([0.5])
    assert len(thresholds(np.zeros(3), 4)) == 0


def test_counts_of_a_threshold_worked_by_hand():
    # Four of five samples belong to a class; the one of 0.7 belongs to none.
    outcomes = Outcomes(np.array([0.9, 0.8, 0.7, 0.6, 0.3]), np.array([True, True, False, False, True]), num_known=4)
    refusal = outcomes.refusal(0.65)
    assert (refusal.answered, refusal.hits) == (3, 2)
    assert refusal.share_refused == pytest.approx(2 / 5)
    assert (refusal.precision, refusal.recall) == (2 / 3, 2 / 4)
    assert refusal.f1 == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))
    assert outcomes.refusal(None).answered == 5
    assert math.isnan(outcomes.refusal(1.0).precision)


def test_a_refused_sample_of_no_class_costs_nothing_and_an_answered_one_costs_precision():
    scores, right = np.array([0.9, 0.4]), np.array([True, False])
    assert Outcomes(scores, right, num_known=1).refusal(0.5).f1 == 1
    assert Outcomes(scores, right, num_known=1).refusal(None).f1 == pytest.approx(2 / 3)
