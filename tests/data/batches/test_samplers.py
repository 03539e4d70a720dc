"""The batches of each process: every sample once an epoch, the same steps however many processes there are."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphmlp.data.batches.samplers import EpochBatches, balanced_epoch, ordinary_epoch, share_of

COUNTS = st.integers(1, 40)
FEW = st.integers(1, 4)


@given(num_samples=COUNTS, seed=st.integers(0, 9), epoch=st.integers(0, 5))
def test_an_epoch_is_a_permutation_of_its_own_items(num_samples: int, seed: int, epoch: int):
    items = ordinary_epoch(num_samples, seed=seed, epoch=epoch)
    assert sorted(items) == list(range(epoch * num_samples, (epoch + 1) * num_samples))


@given(num_samples=COUNTS, batch_size=COUNTS, processes=FEW, accumulate=FEW, epoch=st.integers(0, 3))
def test_the_processes_share_each_step_of_a_single_one(
    num_samples: int, batch_size: int, processes: int, accumulate: int, epoch: int
):
    def batches(rank: int, num_processes: int, accumulate: int) -> list[list[int]]:
        loader = EpochBatches(
            num_samples,
            batch_size=batch_size,
            seed=3,
            accumulate=accumulate,
            rank=rank,
            num_processes=num_processes,
        )
        loader.start_at(epoch=epoch)
        assert len(loader) == loader.steps_per_epoch * accumulate
        return list(loader)

    whole = batches(0, 1, 1)
    assert [len(batch) for batch in whole[:-1]] == [batch_size] * (len(whole) - 1)
    assert sorted(item for batch in whole for item in batch) == sorted(
        ordinary_epoch(num_samples, seed=3, epoch=epoch).tolist()
    )
    parts = [batches(rank, processes, accumulate) for rank in range(processes)]
    for step, batch in enumerate(whole):
        mine = [part[step * accumulate : (step + 1) * accumulate] for part in parts]
        assert [item for shares in mine for share in shares for item in share] == batch
        sizes = [sum(map(len, shares)) for shares in mine]
        assert max(sizes) - min(sizes) <= 1
        for shares in mine:
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(num_samples=COUNTS, batch_size=st.integers(1, 7), epoch=st.integers(0, 3), data=st.data())
def test_an_epoch_entered_at_a_step_goes_on_as_the_whole_one(
    num_samples: int, batch_size: int, epoch: int, data: st.DataObject
):
    batches = EpochBatches(num_samples, batch_size=batch_size, seed=0)
    batches.start_at(epoch=epoch)
    whole = list(batches)
    step = data.draw(st.integers(0, len(whole)))
    batches.start_at(epoch=epoch, step=step)
    assert list(batches) == whole[step:]
    assert len(batches) == len(whole) - step


def test_epochs_and_seeds_have_their_own_orders():
    def order(seed: int, epoch: int) -> list[int]:
        return (ordinary_epoch(30, seed=seed, epoch=epoch) % 30).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=6), seed=st.integers(0, 5), epoch=st.integers(0, 3))
def test_a_balanced_epoch_draws_every_class_equally_often_and_no_item_twice(sizes: list[int], seed: int, epoch: int):
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    items = balanced_epoch(labels, seed=seed, epoch=epoch)
    assert len(items) == len(set(items.tolist())) == len(labels)
    draws = Counter(labels[item % len(labels)] for item in items)
    counts = [draws[label] for label in range(len(sizes))]
    assert max(counts) - min(counts) <= 1
    samples = Counter(int(item % len(labels)) for item in items)
    for label in range(len(sizes)):  # the samples of a class come in turn
        of_class = [samples[i] for i, own in enumerate(labels) if own == label]
        assert max(of_class) - min(of_class) <= 1


@given(sizes=st.lists(st.integers(1, 8), min_size=2, max_size=4))
def test_no_item_of_a_balanced_epoch_comes_in_another(sizes: list[int]):
    """An item decides the random changes of a clip: it must not come again."""
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    epochs = [set(balanced_epoch(labels, seed=0, epoch=epoch).tolist()) for epoch in range(4)]
    assert len(set.union(*epochs)) == sum(map(len, epochs))


def test_classes_that_have_no_sample_are_not_drawn():
    items = balanced_epoch([0, 0, 0, 7], seed=0, epoch=0)
    assert sorted(np.asarray([0, 0, 0, 7])[items % 4].tolist()) == [0, 0, 7, 7]


@pytest.mark.parametrize(("num_samples", "processes"), [(0, 2), (1, 3), (10, 3), (12, 4)])
def test_every_sample_is_evaluated_by_one_process(num_samples: int, processes: int):
    shares = [share_of(num_samples, rank=rank, num_processes=processes) for rank in range(processes)]
    assert sorted(index for share in shares for index in share) == list(range(num_samples))
