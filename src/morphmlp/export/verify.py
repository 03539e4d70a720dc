"""How near an exported model comes to its checkpoint, and how fast it is beside the same export in fp32."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from morphmlp.errors import UserError

# Largest difference of an output, as a share of its largest, and the clips for which the best class may be another.
MOST_DIFFERENCE = {"fp32": 1e-4, "fp16": 0.02, "bf16": 0.1, "int8": 0.5}
MOST_DROP = {"fp32": 0.0, "fp16": 0.05, "bf16": 0.1, "int8": 0.1}
TURNS = 7

Output = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Verified:
    """An exported model beside its checkpoint, on the same clips.

    Attributes:
        clips: how many there were.
        largest_difference: of a logit.
        relative_difference: the same as a share of the checkpoint's largest logit.
        top1_agreement: share of the clips (of a segmenter: of the pixels) for which both name the same class.
        features_difference: of a feature, as a share of the checkpoint's largest; None of a segmenter.
    """

    clips: int
    largest_difference: float
    relative_difference: float
    top1_agreement: float
    features_difference: float | None = None

    def values(self) -> dict[str, Any]:
        """For a `config.json`."""
        return asdict(self)


def compare(expected: Sequence[np.ndarray], exported: Output, clips: Sequence[np.ndarray]) -> Verified:
    """The checkpoint's logits of each clip `[1, 3, ...]`, and those of the exported model.

    Classes whose logits in the checkpoint are nearer than the rounding of float32 count as the same class: at such a
    tie either is right.
    """
    pairs = [(one, exported(clip)) for one, clip in zip(expected, clips, strict=True)]
    difference, largest = _differences(pairs)
    if not np.isfinite(difference):
        return Verified(len(clips), float("inf"), float("inf"), 0.0)
    same = [_same_class(one, other, tie=1e-5 * largest).ravel() for one, other in pairs]
    return Verified(len(clips), difference, difference / largest, float(np.concatenate(same).mean()))


def with_features(
    verified: Verified, expected: Sequence[np.ndarray], exported: Output, clips: Sequence[np.ndarray]
) -> Verified:
    """What is known of the logits, and both models' features on the same clips, as of `compare`."""
    difference, largest = _differences([(one, exported(clip)) for one, clip in zip(expected, clips, strict=True)])
    return replace(verified, features_difference=difference / largest if np.isfinite(difference) else float("inf"))


def _differences(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """The largest difference of both, and the largest value of the first."""
    difference = max(float(np.abs(one - other).max()) for one, other in pairs)
    return difference, max(float(np.abs(one).max()) for one, _ in pairs)


def _same_class(one: np.ndarray, other: np.ndarray, *, tie: float) -> np.ndarray:
    """`[B, classes, ...]` each -> `[B, ...]`."""
    chosen = np.take_along_axis(one, other.argmax(axis=1, keepdims=True), axis=1)
    return chosen[:, 0] >= one.max(axis=1) - tie


def allowed_drop(precision: str, max_drop: float | None) -> float:
    """The share of the clips for which the best class may be another; None takes `MOST_DROP`."""
    return MOST_DROP[precision] if max_drop is None else max_drop


def require_near(verified: Verified, precision: str, *, max_drop: float | None = None) -> None:
    """Raises UserError where the exported model is further from its checkpoint than its precision allows.

    Args:
        max_drop: share of the clips for which the best class may be another; None takes `MOST_DROP`.
    """
    most, drop = MOST_DIFFERENCE[precision], allowed_drop(precision, max_drop)
    share, changed = verified.relative_difference, 1 - verified.top1_agreement
    features = verified.features_difference or 0.0
    if max(share, features) <= most and changed <= drop + 1e-9:
        return
    of_features = "" if verified.features_difference is None else f" a feature by {features:.2g} (allowed {most:g}),"
    hints = {
        "fp32": "this is a defect of the exporter or engine: try another --format",
        "int8": "give more or other clips as --data, a higher --max-drop, or take --precision bf16",
    }
    raise UserError(
        f"the exported model differs from its checkpoint in {precision}: a logit by {share:.2g} of the largest (allowed"
        f" {most:g}),{of_features} the best class for {changed:.1%} of "
        f"{verified.clips} clips (allowed {drop:.1%}); nothing is written; "
        f"{hints.get(precision, 'take --precision fp32, or a higher --max-drop')}"
    )


def ms_per_clip(models: Sequence[Output], clip: np.ndarray) -> list[float]:
    """Median milliseconds of each model for a clip `[1, 3, ...]`: they take turns, and the first is not counted."""
    times: list[list[float]] = [[] for _ in models]
    for _ in range(TURNS + 1):
        for model, spent in zip(models, times, strict=True):
            start = time.perf_counter()
            model(clip)
            spent.append(1000 * (time.perf_counter() - start))
    return [statistics.median(spent[1:]) for spent in times]
