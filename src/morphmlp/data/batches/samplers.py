"""Which samples a step trains on, and which of them each process takes: from (seed, epoch) alone.

A loader's item `pass_number * num_samples + index` is the clip of a sample in one of its passes: in an ordinary epoch
every sample has one, and the pass is the epoch.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


class EpochBatches(Sampler[list[int]]):
    """The batches of one process, epoch by epoch; an epoch can be entered at any step.

    The order of the epoch is cut into steps of `batch_size`, each step into a share for every process, and each share
    into `accumulate` parts, which are what is iterated over. So a step is the same set of samples however many
    processes there are. Only the last step of an epoch can be smaller, where a share or a part may be empty.

    Args:
        batch_size: samples a step, over all processes.
        labels: of the samples, to draw every class equally often; None goes through all samples once.
        rank, num_processes: of this process.

    >>> list(EpochBatches(5, batch_size=4, seed=0, rank=1, num_processes=2))  # the steps are [4, 2, 3, 0] and [1]
    [[3, 0], []]
    """

    def __init__(
        self,
        num_samples: int,
        *,
        batch_size: int,
        seed: int,
        accumulate: int = 1,
        labels: Sequence[int] | None = None,
        rank: int = 0,
        num_processes: int = 1,
    ):
        self.num_samples, self.batch_size, self.seed = num_samples, batch_size, seed
        self.accumulate, self.labels = accumulate, labels
        self.rank, self.num_processes = rank, num_processes
        self.start_at(epoch=0)

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.num_samples // self.batch_size)

    def start_at(self, *, epoch: int, step: int = 0) -> None:
        """The next pass is `epoch`, from its step number `step` on."""
        self.epoch, self.first_step = epoch, step

    def __iter__(self) -> Iterator[list[int]]:
        if self.labels is None:
            order = ordinary_epoch(self.num_samples, seed=self.seed, epoch=self.epoch)
        else:
            order = balanced_epoch(self.labels, seed=self.seed, epoch=self.epoch)
        for step in range(self.first_step, self.steps_per_epoch):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            share = np.array_split(batch, self.num_processes)[self.rank]
            yield from (part.tolist() for part in np.array_split(share, self.accumulate))

    def __len__(self) -> int:
        return (self.steps_per_epoch - self.first_step) * self.accumulate


def ordinary_epoch(num_samples: int, *, seed: int, epoch: int) -> np.ndarray:
    """Every sample once, in a fresh order: loader items `[num_samples]`."""
    return epoch * num_samples + np.random.default_rng([seed, epoch]).permutation(num_samples)


def balanced_epoch(labels: Sequence[int], *, seed: int, epoch: int) -> np.ndarray:
    """As many draws as there are samples, every class equally often (to one draw): loader items `[num_samples]`.

    A class's samples are drawn in turn: none comes again before all others of its class have come. What comes again
    has another pass number, and so other random changes, in this epoch and in all others.

    With the labels [0, 0, 0, 1], two draws fall to each class: two of the samples 0, 1 and 2, and sample 3 twice.
    """
    generator = np.random.default_rng([seed, epoch])
    labels_array = np.asarray(labels)
    num_samples = len(labels_array)
    classes, sizes = np.unique(labels_array, return_counts=True)
    draws = np.full(len(classes), num_samples // len(classes))
    draws[generator.permutation(len(classes))[: num_samples % len(classes)]] += 1
    passes_per_epoch = -(-(num_samples // len(classes) + 1) // sizes.min())
    items = []
    for label, count in zip(classes, draws, strict=True):
        members = np.flatnonzero(labels_array == label)
        for start in range(0, count, len(members)):
            pass_number = epoch * passes_per_epoch + start // len(members)
            items.append(pass_number * num_samples + generator.permutation(members)[: count - start])
    return generator.permutation(np.concatenate(items))


def share_of(num_samples: int, *, rank: int, num_processes: int) -> range:
    """The samples that one process evaluates: every one belongs to exactly one process, and none is repeated."""
    return range(rank, num_samples, num_processes)
