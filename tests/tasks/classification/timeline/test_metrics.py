"""The metrics of timelines: values worked by hand, and a second implementation that follows the published code."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphmlp.tasks.classification.timeline import metrics
from morphmlp.tasks.classification.timeline.metrics import Recording
from morphmlp.tasks.classification.timeline.segments import Segment


def recording(truth: list, predicted: list, *, name: str = "a", duration_s: float = 20) -> Recording:
    return Recording(name, duration_s, [Segment(*row) for row in truth], [Segment(*row) for row in predicted])


def test_average_precision_by_hand():
    # 0.9: right. 0.8: shares 2 of 6 s with the second one, tIoU 1/3. 0.7: right. 0.6: the first one is taken already.
    one = recording(
        [(0, 4, "a"), (8, 12, "a"), (16, 20, "b")],
        [(0, 4, "a", 0.9), (10, 14, "a", 0.8), (8, 11, "a", 0.7), (0, 3, "a", 0.6)],
    )
    other = recording([(0, 10, "a"), (12, 14, "a")], [], name="b")
    # tIoU 0.5: right, wrong, right, wrong of 4: 1/4 x 1 + 1/4 x 2/3
    assert metrics.average_precision([one, other], "a", 0.5) == pytest.approx(0.25 + 0.25 * 2 / 3)
    # tIoU 0.3: right, right, wrong, wrong
    assert metrics.average_precision([one, other], "a", 0.3) == pytest.approx(0.5)
    # tIoU 0.8: only the first is right
    assert metrics.average_precision([one, other], "a", 0.8) == pytest.approx(0.25)
    assert metrics.average_precision([one, other], "b", 0.5) == 0
    assert metrics.mean_average_precision([one, other], 0.3) == pytest.approx(0.25)


def test_a_segment_of_another_recording_or_class_is_no_match():
    recordings = [recording([(0, 4, "a")], [(0, 4, "b", 0.9)]), recording([], [(0, 4, "a", 1.0)], name="b")]
    assert metrics.average_precision(recordings, "a", 0.3) == 0
    assert metrics.classes_of(recordings) == ["a"]


def test_nothing_true_is_no_number():
    empty = [recording([], [(0, 4, "a", 0.5)])]
    assert math.isnan(metrics.mean_average_precision(empty, 0.5))
    assert math.isnan(metrics.average_precision(empty, "a", 0.5))
    assert metrics.segment_f1(empty, 0.5) == 0
    assert math.isnan(metrics.segment_f1([recording([], [])], 0.5))
    assert math.isnan(metrics.frame_accuracy([]))
    assert math.isnan(metrics.frame_accuracy(empty, only_labelled=True))


def test_frame_accuracy_by_hand():
    # Right: 0 to 2 nothing, 3 to 6 "a", 10 to 20 nothing. Wrong: 2 to 3 missed, 6 to 8 "b", 8 to 10 too long.
    one = recording([(2, 8, "a")], [(3, 7, "a", 0.8), (6, 10, "b", 0.9)])
    assert metrics.frame_accuracy([one]) == pytest.approx(15 / 20)
    assert metrics.frame_accuracy([one], only_labelled=True) == pytest.approx(3 / 6)
    # Half as long, and all right: one of two true labels is enough. Longer recordings weigh more.
    other = recording([(0, 5, "a"), (0, 10, "b")], [(0, 5, "a", 0.5), (5, 12, "b", 0.5)], duration_s=10)
    assert metrics.frame_accuracy([other]) == 1
    assert metrics.frame_accuracy([one, other]) == pytest.approx(25 / 30)


def test_segment_f1_by_hand():
    # tIoU of the three with the truth: 0.75 (right at all), 0.25 (the truth is found already), 0.2 with "b".
    one = recording([(0, 4, "a"), (10, 20, "b")], [(0, 3, "a"), (3, 4, "a"), (18, 20, "b")])
    assert metrics.segment_f1([one], 0.1) == pytest.approx(2 * 2 / 5)
    assert metrics.segment_f1([one], 0.25) == pytest.approx(2 * 1 / 5)
    assert metrics.segment_f1([one, recording([(0, 1, "a")], [], name="b")], 0.5) == pytest.approx(2 * 1 / 6)


def test_all_are_one_where_the_prediction_is_the_truth():
    rows = [(0, 4, "a"), (4, 5.5, "b"), (7, 20, "a")]
    perfect = [recording(rows, rows)]
    assert metrics.mean_average_precision(perfect, 0.7) == 1
    assert metrics.frame_accuracy(perfect) == 1
    assert [metrics.segment_f1(perfect, overlap) for overlap in metrics.OVERLAPS] == [1, 1, 1]


def naive_average_precision(recordings: list[Recording], label: str, tiou: float) -> float:
    """As the challenge's code goes: one list of predictions, locks on the truth, the precision over the recall."""
    rows = [(s, r.name) for r in recordings for s in r.predicted if s.label == label]
    rows.sort(key=lambda row: -row[0].score)
    truth = {r.name: [s for s in r.truth if s.label == label] for r in recordings}
    num_true, locked = sum(map(len, truth.values())), set()
    right, wrong = [], []
    for segment, name in rows:
        shares = [naive_tiou(segment, other) for other in truth[name]]
        hit = False
        for index in sorted(range(len(shares)), key=lambda i: -shares[i]):
            if shares[index] < tiou:
                break
            if (name, index) in locked:
                continue
            locked.add((name, index))
            hit = True
            break
        right.append(hit)
        wrong.append(not hit)
    if not num_true:
        return math.nan
    true_positives, false_positives = np.cumsum(right), np.cumsum(wrong)
    recall = [0.0, *(true_positives / num_true), 1.0]
    precision = [0.0, *(true_positives / np.maximum(true_positives + false_positives, 1)), 0.0]
    for i in reversed(range(len(precision) - 1)):
        precision[i] = max(precision[i], precision[i + 1])
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)) if recall[i] != recall[i - 1])


def naive_tiou(one: Segment, other: Segment) -> float:
    shared = max(min(one.end_s, other.end_s) - max(one.start_s, other.start_s), 0)
    return shared / (one.duration_s + other.duration_s - shared)


def naive_f1(recordings: list[Recording], overlap: float) -> float:
    """True positives, false positives and false negatives, as the published code of action segmentation counts."""
    true_positives = false_positives = false_negatives = 0
    for r in recordings:
        hits = [False] * len(r.truth)
        for segment in sorted(r.predicted, key=lambda s: (s.start_s, s.end_s)):
            shares = [naive_tiou(segment, other) * (segment.label == other.label) for other in r.truth]
            best = shares.index(max(shares)) if shares else None
            if best is not None and shares[best] >= overlap and not hits[best]:
                hits[best] = True
                true_positives += 1
            else:
                false_positives += 1
        false_negatives += hits.count(False)
    total = 2 * true_positives + false_positives + false_negatives
    return 2 * true_positives / total if total else math.nan


def naive_accuracy(recordings: list[Recording], *, only_labelled: bool) -> float:
    """Frame by frame, where all segments begin and end at one."""
    hits = []
    for r in recordings:
        for time in np.arange(0.5, r.duration_s):
            true = {s.label for s in r.truth if s.start_s <= time < s.end_s}
            answers = [s for s in r.predicted if s.start_s <= time < s.end_s]
            answer = max(answers, key=lambda s: s.score).label if answers else None
            if true or not only_labelled:
                hits.append(answer in true if true else answer is None)
    return float(np.mean(hits)) if hits else math.nan


@st.composite
def many_recordings(draw) -> list[Recording]:
    recordings, scores = [], iter(draw(st.permutations(range(1, 40))))
    for number in range(draw(st.integers(1, 3))):
        duration = draw(st.integers(1, 12))

        def segments(duration: int = duration) -> list[tuple[int, int, str]]:
            span = st.tuples(st.integers(0, duration), st.integers(1, 6), st.sampled_from("ab"))
            return [(start, start + n, label) for start, n, label in draw(st.lists(span, max_size=5))]

        predicted = [(*row, next(scores) / 40) for row in segments()]
        recordings.append(recording(segments(), predicted, name=str(number), duration_s=duration))
    return recordings


@given(many_recordings(), st.sampled_from(metrics.TIOUS))
def test_average_precision_is_that_of_a_second_implementation(recordings: list[Recording], tiou: float):
    for label in "ab":
        ours, naive = (f(recordings, label, tiou) for f in (metrics.average_precision, naive_average_precision))
        assert ours == pytest.approx(naive, nan_ok=True)


@given(many_recordings(), st.sampled_from(metrics.OVERLAPS))
def test_segment_f1_is_that_of_a_second_implementation(recordings: list[Recording], overlap: float):
    assert metrics.segment_f1(recordings, overlap) == pytest.approx(naive_f1(recordings, overlap), nan_ok=True)


@given(many_recordings(), st.booleans())
def test_frame_accuracy_is_that_of_counted_frames(recordings: list[Recording], only_labelled: bool):
    ours = metrics.frame_accuracy(recordings, only_labelled=only_labelled)
    assert ours == pytest.approx(naive_accuracy(recordings, only_labelled=only_labelled), nan_ok=True)
