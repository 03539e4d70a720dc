"""The losses of classifiers, with weights of classes and focal terms: of one class a sample, and of several.

Targets are soft, as mixup and label smoothing make them, so each formula is an expectation over the target: of a target
of 0 and 1 it is the published one.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

EFFECTIVE_BETA = 0.99  # of "effective" weights: a class of many more than 1 / (1 - 0.99) = 100 samples counts as 100


def soft_cross_entropy(
    logits: Tensor,
    soft_labels: Tensor,
    *,
    label_smoothing: float,
    class_weights: Tensor | None = None,
    focal: float = 0.0,
) -> Tensor:
    """Cross-entropy with labels `[B, classes]` that sum to one, in float32; the mean over the batch.

    With weights w and focal gamma: -sum_c w_c y_c (1 - p_c)^gamma log p_c, where y is the smoothed label (Lin et al.,
    Focal Loss for Dense Object Detection, ICCV 2017, Eq. 5).

    Args:
        class_weights: `[classes]`, see `class_weights`.
        focal: gamma; 0 is the plain cross-entropy.
    """
    logits = logits.float()
    if focal == 0:
        return F.cross_entropy(logits, soft_labels, weight=class_weights, label_smoothing=label_smoothing)
    targets = soft_labels * (1 - label_smoothing) + label_smoothing / logits.shape[-1]
    log_p = F.log_softmax(logits, dim=-1)
    terms = targets * (1 - log_p.exp()) ** focal * log_p
    return -(terms if class_weights is None else terms * class_weights).sum(dim=-1).mean()


def binary_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    label_smoothing: float,
    class_weights: Tensor | None = None,
    focal: float = 0.0,
) -> Tensor:
    """Cross-entropy of each class against its absence, targets `[B, classes]` from 0 to 1; the mean over all of them.

    With weights w and focal gamma: -w_c y_c (1 - p_c)^gamma log p_c - (1 - y_c) p_c^gamma log(1 - p_c). Smoothing
    spreads its share over the two answers of a class, so that a target of 0 is half of it: 0.05 for a smoothing of 0.1.

    Args:
        class_weights: `[classes]`, of the presence of each, see `positive_weights`.
        focal: gamma; 0 is the plain cross-entropy.
    """
    logits, targets = logits.float(), targets.float() * (1 - label_smoothing) + label_smoothing / 2
    if focal == 0:
        return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=class_weights)
    p = torch.sigmoid(logits)
    present = targets * (1 - p) ** focal * F.logsigmoid(logits)
    absent = (1 - targets) * p**focal * F.logsigmoid(-logits)
    return -(absent + (present if class_weights is None else present * class_weights)).mean()


def class_weights(kind: str, labels: Sequence[int], num_classes: int) -> Tensor | None:
    """What each class counts in `soft_cross_entropy`, `[classes]`: 1 on average over the samples.

    "balanced": inversely to the number of its samples. "effective": inversely to its effective number of samples,
    (1 - beta^n) / (1 - beta) with beta 0.99 (Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR
    2019, Eq. 2), which rises less for the rarest. "none": None. A class without samples counts 1.

    >>> class_weights("balanced", [0, 0, 0, 1], 2)
    tensor([0.6667, 2.0000])
    """
    if kind == "none":
        return None
    counts = torch.bincount(torch.tensor(labels, dtype=torch.long), minlength=num_classes).double()
    weights = 1 / _effective(kind, counts)
    weights = weights * counts.sum() / (weights * counts)[counts > 0].sum()
    return torch.where(counts > 0, weights, 1.0).float()


def positive_weights(kind: str, counts: Sequence[int], num_samples: int) -> Tensor | None:
    """What the presence of each class counts beside its absence in `binary_cross_entropy`, `[classes]`.

    "balanced": samples without the class over samples with it. "effective": their effective numbers, as in
    `class_weights`. "none": None. A class that is in no sample or in all counts 1.

    >>> positive_weights("balanced", [1, 2], num_samples=4)
    tensor([3., 1.])
    """
    if kind == "none":
        return None
    present = torch.tensor(counts, dtype=torch.float64)
    absent = num_samples - present
    weights = _effective(kind, absent) / _effective(kind, present)
    return torch.where((present > 0) & (absent > 0), weights, 1.0).float()


def _effective(kind: str, counts: Tensor) -> Tensor:
    if kind == "balanced":
        return counts
    return (1 - EFFECTIVE_BETA**counts) / (1 - EFFECTIVE_BETA)
