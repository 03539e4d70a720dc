"""What a classifier says of samples before any softmax: the logits of every view, by the loader of `evaluate`."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from morphmlp.config import InputConfig
from morphmlp.data.batches.loaders import TestClips
from morphmlp.data.media.sources import Source
from morphmlp.data.sets.labelled import Sample
from morphmlp.inference.device import Execution
from morphmlp.tasks.classification.prediction import batch_logits, join_views, make_test_loader


@dataclass(frozen=True)
class ViewLogits:
    """Logits of the samples that could be read.

    Attributes:
        logits: `[samples, views, classes]`, float32.
        labels: `[samples]`, -1 for a sample that belongs to no class.
        aggregation: how the views are joined, as in `InputConfig`.
        broken: path and reason of the samples that could not be read.
    """

    logits: Tensor
    labels: np.ndarray
    aggregation: str
    broken: list[tuple[Source, str]]

    def __len__(self) -> int:
        return len(self.labels)

    def of(self, chosen: np.ndarray) -> "ViewLogits":
        """The samples where `[samples]` is true."""
        return replace(self, logits=self.logits[torch.from_numpy(chosen)], labels=self.labels[chosen], broken=[])

    def energies(self, temperature: float) -> np.ndarray:
        """`[samples]`, T log sum exp(logits / T), the mean over the views; high for what a model knows.

        The negative of the energy of Liu et al., Energy-based Out-of-distribution Detection, NeurIPS 2020, Eq. 4.
        """
        return (temperature * (self.logits.double() / temperature).logsumexp(dim=-1)).mean(dim=1).numpy()

    def probabilities(self, temperature: float) -> np.ndarray:
        """`[samples, classes]`, the views joined as in every prediction."""
        if not len(self):
            return np.empty((0, self.logits.shape[-1]), np.float32)
        flat = self.logits.flatten(0, 1).numpy()
        return join_views(flat, num_videos=len(self), aggregation=self.aggregation, temperature=temperature)


def read_logits(
    model: nn.Module, samples: list[Sample], *, frames: int, config: InputConfig, execution: Execution
) -> ViewLogits:
    """The logits of all views of the samples, in their order.

    Args:
        frames: of the model's clips.
        execution: as `for_inference` gave it with the model.

    Raises:
        NotFiniteError: an output is NaN or infinite.
    """
    loader = make_test_loader(TestClips(samples, frames, config), workers=execution.workers)
    by_index: dict[int, Tensor] = {}
    broken: list[tuple[Source, str]] = []
    for batch, logits in batch_logits(model, loader, precision=execution.precision):
        broken.extend((sample.path, sample.reason) for sample in batch.broken)
        if batch.indices:
            views = torch.from_numpy(logits).unflatten(0, (len(batch.indices), -1))
            by_index.update(zip(batch.indices, views, strict=True))
        execution.progress(len(by_index) + len(broken), len(samples))
    order = sorted(by_index)
    joined = torch.stack([by_index[index] for index in order]) if order else torch.empty(0, 1, 0)
    return ViewLogits(joined, np.array([samples[index].label for index in order], int), config.aggregation, broken)
