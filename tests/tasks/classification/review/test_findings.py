"""What is worth a look among predictions."""

from pathlib import Path

import numpy as np
import pytest

from morphmlp.tasks.classification.evaluation import Evaluation, SamplePrediction
from morphmlp.tasks.classification.review.findings import (
    class_figures,
    label_errors,
    least_certain_right,
    worst_confusions,
    worst_first,
)


def evaluation_of(*rows: tuple[str, int, list[float]], labels: str = "abc") -> Evaluation:
    predictions = [SamplePrediction(Path(name), label, np.array(values)) for name, label, values in rows]
    return Evaluation(list(labels), predictions)


ROWS = [
    ("a1", 0, [0.9, 0.1, 0.0]),
    ("a2", 0, [0.5, 0.4, 0.1]),
    ("a3", 0, [0.3, 0.6, 0.1]),
    ("a4", 0, [0.1, 0.8, 0.1]),
    ("b1", 1, [0.1, 0.9, 0.0]),
    ("b2", 1, [0.2, 0.7, 0.1]),
    ("b3", 1, [0.7, 0.3, 0.0]),
]


def test_classes_are_counted_and_the_worst_is_first():
    rows = class_figures(evaluation_of(*ROWS))
    assert [tuple(row) for row in rows] == [("a", 4, 3, 2), ("b", 3, 4, 2), ("c", 0, 0, 0)]
    assert (rows[0].recall, rows[0].precision, rows[0].f1) == (0.5, 2 / 3, 4 / 7)
    assert (rows[2].recall, rows[2].precision, rows[2].f1) == (None, None, None)
    assert [row.name for row in worst_first(rows)] == ["a", "b", "c"]
    assert [row.name for row in worst_first([*rows[1:], rows[0]])] == ["a", "b", "c"]


def test_the_worst_confusion_has_its_surest_mistakes_first():
    first, second = worst_confusions(evaluation_of(*ROWS), 5)
    assert (first.label, first.predicted, first.of, [str(p.path) for p in first.mistakes]) == (0, 1, 4, ["a4", "a3"])
    assert (second.label, second.predicted, second.of) == (1, 0, 3)
    assert worst_confusions(evaluation_of(ROWS[0]), 5) == []


def test_right_answers_are_sorted_by_doubt():
    assert [str(p.path) for p in least_certain_right(evaluation_of(*ROWS), 2)] == ["a2", "b2"]


def test_a_label_is_in_doubt_where_another_class_reaches_its_own_mean():
    """The mean of a over samples of a is 0.45, that of b over samples of b 0.633."""
    found = label_errors(evaluation_of(*ROWS))
    assert [(str(error.prediction.path), error.label, error.suggested) for error in found] == [
        ("a4", "a", "b"),  # 0.8 is above 0.633; a3 with 0.6 is not
        ("b3", "b", "a"),  # 0.7 is above 0.45
    ]
    assert [error.margin for error in found] == pytest.approx([0.7, 0.4])


def test_a_class_without_samples_is_never_suggested():
    assert label_errors(evaluation_of(("a1", 0, [0.1, 0.0, 0.9]), ("a2", 0, [0.9, 0.1, 0.0]))) == []
    assert label_errors(evaluation_of()) == []
