"""How well segments were found: ActivityNet's mAP, frame accuracy, and the segment F1 of action segmentation.

Two segments agree by their tIoU, the time that they share over the time that either covers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from morphmlp.tasks.classification.timeline.segments import Segment

TIOUS = (0.3, 0.4, 0.5, 0.6, 0.7)  # of the mean average precision
OVERLAPS = (0.1, 0.25, 0.5)  # of the segment F1


@dataclass(frozen=True)
class Recording:
    """What happens in a recording, and what a model says: segments that may overlap, in any order.

    Attributes:
        ranked: what the mean average precision ranks; None takes what is predicted.
    """

    name: str
    duration_s: float
    truth: Sequence[Segment]
    predicted: Sequence[Segment]
    ranked: Sequence[Segment] | None = None


def tious(segment: Segment, others: Sequence[Segment]) -> np.ndarray:
    """The tIoU of a segment with each of the others, whatever their labels.

    >>> tious(Segment(0, 4, "a"), [Segment(1, 4, "a"), Segment(2, 6, "a"), Segment(4, 5, "a")]).round(3).tolist()
    [0.75, 0.333, 0.0]
    """
    starts, ends = np.array([(other.start_s, other.end_s) for other in others], dtype=float).reshape(-1, 2).T
    shared = np.maximum(np.minimum(ends, segment.end_s) - np.maximum(starts, segment.start_s), 0)
    covered = (ends - starts) + segment.duration_s - shared
    return np.divide(shared, covered, out=np.zeros_like(shared), where=covered > 0)


def classes_of(recordings: Sequence[Recording]) -> list[str]:
    """The labels of the truth: the classes that count."""
    return sorted({segment.label for recording in recordings for segment in recording.truth})


def average_precision(recordings: Sequence[Recording], label: str, tiou: float) -> float:
    """The interpolated average precision of a class, as in ActivityNet's evaluation; NaN where it never happens.

    The predictions of all recordings are taken by falling score. Each is matched with the true segment of its recording
    that it shares most with, among those with at least `tiou` that no earlier one has; without one it is wrong.

    Source: Caba Heilbron et al., ActivityNet, CVPR 2015, and the challenge's `eval_detection.py`.
    """
    num_true, is_right = 0, []
    for recording in recordings:
        truth = [segment for segment in recording.truth if segment.label == label]
        candidates = recording.predicted if recording.ranked is None else recording.ranked
        predicted = [segment for segment in candidates if segment.label == label]
        num_true += len(truth)
        is_right += _matched(predicted, truth, tiou)
    # Predictions of one recording do not compete with those of another, so the order may be made afterwards.
    by_score = [right for _, right in sorted(is_right, key=lambda item: -item[0])]
    return _interpolated(np.array(by_score, dtype=bool), num_true)


def _matched(predicted: Sequence[Segment], truth: Sequence[Segment], tiou: float) -> list[tuple[float, bool]]:
    """Score of each prediction, and whether a true segment was left for it."""
    free = np.ones(len(truth), dtype=bool)
    results = []
    for segment in sorted(predicted, key=lambda segment: -segment.score):
        shares = np.where(free, tious(segment, truth), -1)
        best = int(np.argmax(shares)) if len(shares) else None
        is_right = best is not None and bool(shares[best] >= tiou)
        if is_right:
            free[best] = False
        results.append((segment.score, is_right))
    return results


def _interpolated(is_right: np.ndarray, num_true: int) -> float:
    """Mean over the true segments of the highest precision at which each, or more, are found.

    Right, wrong, right, of 4: precisions 1, 1/2 and 2/3 at recalls 1/4, 1/4 and 2/4; so 1/4 x 1 + 1/4 x 2/3 = 0.4167.
    """
    if num_true == 0:
        return float("nan")
    precision = np.cumsum(is_right) / np.arange(1, len(is_right) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float(highest[is_right].sum() / num_true)


def mean_average_precision(recordings: Sequence[Recording], tiou: float) -> float:
    """The mean over the classes of the truth; predictions of other classes do not count. NaN without truth."""
    values = [average_precision(recordings, label, tiou) for label in classes_of(recordings)]
    return float(np.mean(values)) if values else float("nan")


def frame_accuracy(recordings: Sequence[Recording], *, only_labelled: bool = False) -> float:
    """The share of the time at which the answer is right: that of frames, where these are ever so many; NaN without.

    The answer at a moment is the label of the segment there with the highest score, and nothing where there is none. It
    is right if it is a true label of that moment, or both are nothing.

    Args:
        only_labelled: leaves out the time at which nothing happens by the truth.
    """
    right_s = total_s = 0.0
    for recording in recordings:
        seconds, is_right, is_labelled = _moments(recording)
        counted = is_labelled if only_labelled else np.ones_like(is_labelled)
        right_s += float(seconds[is_right & counted].sum())
        total_s += float(seconds[counted].sum())
    return right_s / total_s if total_s else float("nan")


def _moments(recording: Recording) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Between one edge of a segment and the next: the seconds, whether the answer is right, and whether any is true."""
    every = [*recording.truth, *recording.predicted]
    inner = [time for segment in every for time in (segment.start_s, segment.end_s)]
    edges = np.unique(np.clip([0.0, recording.duration_s, *inner], 0.0, recording.duration_s))
    labels = {label: number for number, label in enumerate({segment.label for segment in every})}
    answers = np.full(len(edges) - 1, -1)
    is_right, is_labelled = (np.zeros(len(edges) - 1, dtype=bool) for _ in range(2))
    for segment in sorted(recording.predicted, key=lambda segment: segment.score):  # the best one is painted last
        answers[_cells(segment, edges)] = labels[segment.label]
    for segment in recording.truth:
        cells = _cells(segment, edges)
        is_labelled[cells] = True
        is_right[cells] |= answers[cells] == labels[segment.label]
    return np.diff(edges), is_right | (~is_labelled & (answers == -1)), is_labelled


def _cells(segment: Segment, edges: np.ndarray) -> slice:
    return slice(*np.searchsorted(edges, np.clip([segment.start_s, segment.end_s], 0.0, edges[-1])))


def segment_f1(recordings: Sequence[Recording], overlap: float) -> float:
    """F1 over the segments of all recordings and classes, as in action segmentation; NaN where there are none.

    Predictions are taken by their time. Each is compared with the true segment of its label that it shares most with:
    it is right if their tIoU is at least `overlap` and no earlier one was right there. Splitting one action into many
    segments costs, an edge that is a little off does not.

    Source: F1@10, 25 and 50 of Lea et al., Temporal Convolutional Networks for Action Segmentation, CVPR 2017.
    """
    num_right = num_segments = 0
    for recording in recordings:
        found: set[int] = set()
        for segment in sorted(recording.predicted, key=lambda segment: (segment.start_s, segment.end_s)):
            same_label = np.array([other.label == segment.label for other in recording.truth], dtype=bool)
            shares = np.where(same_label, tious(segment, recording.truth), -1)
            if len(shares) and shares.max() >= overlap:
                found.add(int(np.argmax(shares)))
        num_right += len(found)
        num_segments += len(recording.truth) + len(recording.predicted)
    return 2 * num_right / num_segments if num_segments else float("nan")
