"""Intervals: groups are drawn, figures are those of the drawn samples, and they hold what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphmlp.tasks.classification.review import intervals
from morphmlp.tasks.classification.review.intervals import Bootstrap, Interval, class_f1s, class_recalls, whole


def test_groups_are_drawn_whole_and_as_many_as_there_are():
    weights = np.concatenate(list(Bootstrap(["a", "a", "b"])._weights()))
    assert weights.shape == (2_000, 3)
    assert {tuple(row) for row in weights.tolist()} == {(2.0, 2.0, 0.0), (1.0, 1.0, 1.0), (0.0, 0.0, 2.0)}
    assert np.mean(weights[:, 0] == 1) == pytest.approx(0.5, abs=0.05)


def test_blocks_do_not_change_the_interval(monkeypatch: pytest.MonkeyPatch):
    hits = np.random.default_rng(0).random(50) < 0.7
    names = [str(number // 2) for number in range(50)]
    expected = Bootstrap(names).of_share(hits)
    monkeypatch.setattr(intervals, "_VALUES_AT_ONCE", 300)
    assert Bootstrap(names).of_share(hits) == expected


def test_two_groups_of_which_one_is_right_may_as_well_both_be():
    assert Bootstrap(["a", "a", "b", "b"]).of_share(np.array([1, 1, 0, 0])) == Interval(0.0, 1.0)


def test_one_group_has_no_interval():
    assert Bootstrap(["a", "a", "a"]).of_share(np.array([1, 0, 1])) is None
    assert Bootstrap(["a", "a", "a"]).of_share(np.array([1, 1, 1])) is None


def test_an_accuracy_of_all_or_none_has_an_interval_by_its_groups():
    right = Bootstrap([str(i // 2) for i in range(40)]).of_share(np.ones(40))  # 20 groups
    assert right == pytest.approx((0.839, 1.0), abs=0.001)  # 20 / (20 + 1.96^2)
    assert Bootstrap([str(i) for i in range(20)]).of_share(np.zeros(20)) == pytest.approx((0.0, 0.161), abs=0.001)


def test_samples_that_go_together_make_it_wider():
    groups = [str(number // 25) for number in range(200)]
    hits = np.repeat([1, 1, 1, 0, 1, 0, 1, 1], 25)
    together, alone = Bootstrap(groups).of_share(hits), Bootstrap([str(i) for i in range(200)]).of_share(hits)
    assert together is not None
    assert alone is not None
    assert together.high - together.low > 3 * (alone.high - alone.low)


def test_an_interval_holds_the_true_share_about_95_times_of_100():
    generator = np.random.default_rng(0)
    names = [str(number) for number in range(100)]
    held = 0
    for _ in range(200):
        low, high = Bootstrap(names, draws=500).of_share(generator.random(100) < 0.7) or (1, 0)
        held += low <= 0.7 <= high
    assert 0.90 <= held / 200 <= 0.98


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_figures_of_classes_are_those_of_a_loop(pairs: list[tuple[int, int]]):
    labels, predicted = np.array(pairs).T
    recalls, f1s = [], []
    for number in range(4):
        hits = sum(label == number == answer for label, answer in pairs)
        samples, answers = (labels == number).sum(), (predicted == number).sum()
        recalls += [hits / samples] if samples else []
        f1s += [2 * hits / (samples + answers)] if samples + answers else []
    assert whole(class_recalls(labels, predicted, num_classes=4), len(pairs)) == pytest.approx(np.mean(recalls))
    assert whole(class_f1s(labels, predicted, num_classes=4), len(pairs)) == pytest.approx(np.mean(f1s))
