"""Figures of multi-label answers against values that are counted by hand."""

import importlib.util

import numpy as np
import pytest

from morphmlp.errors import UserError
from morphmlp.tasks.classification.multi_label.metrics import (
    average_precisions,
    class_figures,
    fitted_thresholds,
    mean_of,
    require_torchmetrics,
)

NAN = float("nan")


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)[:, None]


def test_average_precision_is_the_precision_over_the_recall():
    # Right at ranks 1 and 3: half the recall at precision 1, half at 2/3.
    probabilities, truth = np.hstack([column(0.9, 0.8, 0.1)] * 3), np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1]])
    found = average_precisions(probabilities, truth)
    assert found[0] == pytest.approx((1 + 2 / 3) / 2)
    assert np.isnan(found[1])  # shown by no sample
    assert found[2] == 1
    assert mean_of(found) == pytest.approx((5 / 6 + 1) / 2)
    assert np.isnan(average_precisions(probabilities, np.zeros_like(truth))).all()


def test_a_figure_without_anything_to_divide_is_nan():
    answers, truth = np.array([[1, 0, 0, 1], [1, 0, 0, 0]]), np.array([[1, 1, 0, 0], [0, 0, 0, 0]])
    figures = class_figures(answers, truth)
    np.testing.assert_allclose(figures.precision, [0.5, NAN, NAN, 0])
    np.testing.assert_allclose(figures.recall, [1, 0, NAN, NAN])
    np.testing.assert_allclose(figures.f1, [2 / 3, 0, NAN, 0], rtol=1e-6)


def test_a_threshold_is_in_the_middle_below_the_answers_with_the_best_f1():
    probabilities = np.hstack([column(0.9, 0.6, 0.5, 0.1), column(0.4, 0.3, 0.2, 0.1), column(0.7, 0.7, 0.2, 0.1)])
    truth = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0]])
    # Of the second class F1 is 2/3 at 0.4 and at 0.1: the higher one is taken. The third one is shown by none.
    assert fitted_thresholds(probabilities, truth).tolist() == pytest.approx([0.55, 0.35, 0.5])


def test_a_threshold_below_all_samples_is_half_of_the_lowest():
    assert fitted_thresholds(column(0.4, 0.2), np.array([[1], [1]])).tolist() == pytest.approx([0.1])


def test_without_the_extra_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    require_torchmetrics()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'morphmlp\[multilabel\]'"):
        require_torchmetrics()
