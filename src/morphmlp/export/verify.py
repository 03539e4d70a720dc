"""How near an exported model comes to its checkpoint, and how fast it is beside the same export in fp32."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from morphmlp.errors import UserError
from morphmlp.inference.runtimes import FEATURES, LOGITS

# Largest difference of an output, as a share of its largest, and the clips for which the best class may be another.
MOST_DIFFERENCE = {"fp32": 1e-4, "fp16": 0.02, "bf16": 0.1, "int8": 0.5}
MOST_DROP = {"fp32": 0.0, "fp16": 0.05, "bf16": 0.1, "int8": 0.1}
TURNS = 7
_LEAST = float(np.finfo(np.float32).tiny)  # where all outputs of the checkpoint are 0, nothing is divided by it

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


def compare(
    expected: Iterable[Mapping[str, np.ndarray]], exported: Mapping[str, Output], clips: Iterable[np.ndarray]
) -> Verified:
    """The checkpoint's outputs for each clip `[1, 3, ...]`, by their names, and those of the exported model.

    The outputs of two clips at most are there at once: those of a large segmenter have hundreds of megabytes. Classes
    whose logits in the checkpoint are nearer than the rounding of float32 count as the same class: at such a tie either
    is right.
    """
    differences = {name: _Difference() for name in exported}
    classes = _Classes()
    num_clips = 0
    for outputs, clip in zip(expected, clips, strict=True):
        found = {name: output(clip) for name, output in exported.items()}
        for name, difference in differences.items():
            difference.add(outputs[name], found[name])
        classes.add(outputs[LOGITS], found[LOGITS])
        num_clips += 1
    logits, features = differences[LOGITS], differences.get(FEATURES)
    of_features = None if features is None else features.relative
    if not np.isfinite(logits.most):
        return Verified(num_clips, float("inf"), float("inf"), 0.0, of_features)
    agreement = classes.agreement(tie=1e-5 * logits.largest)
    return Verified(num_clips, logits.most, logits.relative, agreement, of_features)


@dataclass
class _Difference:
    """The largest difference of two models' outputs, and the largest output of the first; NaN once one is."""

    most: float = 0.0
    largest: float = 0.0

    def add(self, one: np.ndarray, other: np.ndarray) -> None:
        self.most = float(np.maximum(self.most, np.abs(one - other).max()))
        self.largest = float(np.maximum(self.largest, np.abs(one).max()))

    @property
    def relative(self) -> float:
        """The one as a share of the other."""
        return self.most / max(self.largest, _LEAST) if np.isfinite(self.most) else float("inf")


@dataclass
class _Classes:
    """How often two models name the same class. What a tie is, is only known after the last clip.

    Attributes:
        num: clips, or pixels.
        others: of those with another class, the first model's logits of the class that the second names, and of its
            own: few numbers, where models are alike.
    """

    num: int = 0
    others: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def add(self, one: np.ndarray, other: np.ndarray) -> None:
        """Logits `[B, classes, ...]` of each."""
        named = np.take_along_axis(one, other.argmax(axis=1, keepdims=True), axis=1)[:, 0]
        own = one.max(axis=1)
        differ = named < own
        self.num += differ.size
        self.others.append((named[differ], own[differ]))

    def agreement(self, *, tie: float) -> float:
        """The share with the same class; logits of the first model that are no further apart than `tie` are equal."""
        changed = sum(np.count_nonzero(named < own - tie) for named, own in self.others)
        return (self.num - changed) / self.num


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
