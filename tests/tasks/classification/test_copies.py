"""Which clips show the same: their frames are compared, one with the most similar of the other clip."""

import numpy as np
import pytest

from morphmlp.tasks.classification.copies import (
    SIDE,
    alike,
    candidates,
    grey_thumbnails,
    mirrored,
    pairs_of_copies,
)


def clip(seed: int, frames: int = 6) -> np.ndarray:
    return grey_thumbnails(np.random.default_rng(seed).normal(size=(frames, SIDE, SIDE)))


def test_alike_is_the_mean_of_each_frames_best_match():
    one, other = np.eye(4, SIDE**2)[:2], np.eye(4, SIDE**2)[1:4]
    assert alike(one, other) == 0.5  # of the two frames of `one` the second is in `other`; of the three only a third


def test_a_mirrored_thumbnail_is_mirrored_row_by_row():
    assert mirrored(np.arange(SIDE**2))[: SIDE + 1].tolist() == [*range(SIDE - 1, -1, -1), 2 * SIDE - 1]


def test_pairs_of_one_part_are_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("morphmlp.tasks.classification.copies.BLOCK", 2)
    found = list(candidates(np.stack([clip(0)] * 5), np.array([0, 0, 1, 1, 2])))
    assert sorted(found) == [(0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4), (2, 4), (3, 4)]


def test_pairs_have_the_lower_number_first_and_only_those_that_are_alike_enough():
    frames, parts = np.stack([clip(0), clip(1), clip(0), mirrored(clip(1))]), np.array([0, 0, 1, 1])
    found = list(pairs_of_copies(frames, parts, above=0.975))
    assert [(a, b) for a, b, _ in found] == [(0, 2), (1, 3)]
    assert [alike for *_, alike in found] == pytest.approx([1, 1])
