"""A linear classifier of vectors, fitted in seconds: the last layer of a linear probe."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

MOST_STEPS = 200  # of L-BFGS; some tens are usual


@dataclass(frozen=True)
class LinearClassifier:
    """Softmax of `(features - mean) / scale @ weights + bias`.

    Attributes:
        mean, scale: of the features that it was fitted on, `[D]`; the scale of a constant feature is 1.
        weights: `[D, classes]`.
        bias: `[classes]`.
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Features `[N, D]` -> logits `[N, classes]`, float64."""
        return (features - self.mean) / self.scale @ self.weights + self.bias


def fit_linear(features: np.ndarray, labels: np.ndarray, *, num_classes: int, l2: float = 1.0) -> LinearClassifier:
    """Multinomial logistic regression on standardised features: convex, so the start and the seed do not matter.

    Minimises the sum of the cross-entropies plus `l2 / 2` times the sum of the squared weights, without the bias, by
    L-BFGS in float64; so `l2` is 1 / C of scikit-learn's `LogisticRegression`.

    Args:
        features: `[N, D]`.
        labels: `[N]`, from 0; a class without samples gets a low bias.
        l2: above 0; larger values hold the weights closer to 0.
    """
    import torch
    import torch.nn.functional as F

    features = np.asarray(features, dtype=np.float64)
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-12] = 1.0
    vectors, targets = torch.from_numpy((features - mean) / scale), torch.from_numpy(np.asarray(labels, np.int64))
    # The best weights lie in the span of the vectors: with fewer of these than features, fit their coordinates there.
    basis, vectors = _in_own_span(vectors)
    weights = torch.zeros(vectors.shape[1], num_classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(num_classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights, bias], max_iter=MOST_STEPS, tolerance_grad=1e-8, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        # The mean and not the sum, so that the tolerances mean the same for any number of samples.
        value = F.cross_entropy(vectors @ weights + bias, targets) + l2 / (2 * len(targets)) * weights.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    return LinearClassifier(mean, scale, (basis @ weights.detach()).numpy(), bias.detach().numpy())


def _in_own_span(vectors: "Tensor") -> "tuple[Tensor, Tensor]":
    """An orthonormal basis `[D, K]` of the span of vectors `[N, D]`, K = min(N, D), and their coordinates `[N, K]`."""
    import torch

    basis, coordinates = torch.linalg.qr(vectors.T)
    return basis, coordinates.T
