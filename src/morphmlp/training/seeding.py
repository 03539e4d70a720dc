"""Everything random of a step follows from its place in the run."""

import numpy as np
import torch


def seed_step(seed: int, step: int, *, rank: int = 0, part: int = 0) -> None:
    """Makes everything random of a training step follow from its place, so that a resumed run repeats it.

    Each process draws on its own, and so does each part of its share of the step.
    """
    torch.manual_seed(int(np.random.default_rng([seed, step, rank, part]).integers(2**62)))
