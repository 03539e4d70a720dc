"""Which clips show the same, by small pictures of their frames, though no byte of their files need be equal.

What decides is the frames, not a model's features: those of a classifier put other takes of a class as near to one
another as copies (`docs/features.md` has the figures). Each frame becomes 16 x 16 grey values, less their mean and of
length 1. Two clips are as alike as the frames of one are, on average, to the frames of the other that are most like
them; the other may be mirrored. Light, size, coding and a cut-off end change little of that.
"""

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

import numpy as np

from morphmlp.tasks.classification.features.neighbours import unit

COPIES_ABOVE = 0.975
SIDE = 16  # of a thumbnail in px
LEAST = 1e-6  # length of a thumbnail: what is left of a frame of one colour is rounding, and stays short
ALIKE_ON_AVERAGE = 0.8  # mean frames of copies are far above it, so that most pairs need no closer look
BLOCK = 1024  # clips on either side of a product


def pairs_of_copies(frames: np.ndarray, parts: np.ndarray, *, above: float) -> Iterator[tuple[int, int, float]]:
    """Numbers of two clips of other parts, the lower one first, and how alike they are, which is `above` or more.

    Args:
        frames: thumbnails `[N, T, 256]`, of length 1.
        parts: `[N]`, a number for each clip: only pairs in which it differs count.
    """
    for a, pairs in groupby(candidates(frames, parts), key=itemgetter(0)):
        others = [b for _, b in pairs]
        values = alike(frames[a], frames[others])
        for number in np.flatnonzero(values >= above).tolist():
            yield a, others[number], float(values[number])


def candidates(frames: np.ndarray, parts: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs whose mean frames are alike, block by block: no table of all pairs is in memory."""
    means = unit(frames.mean(axis=1), least=LEAST)
    for start in range(0, len(means), BLOCK):
        own = slice(start, start + BLOCK)
        for first in range(start, len(means), BLOCK):
            other = slice(first, first + BLOCK)
            cosines = np.maximum(means[own] @ means[other].T, means[own] @ mirrored(means[other]).T)
            near = (cosines >= ALIKE_ON_AVERAGE) & (parts[own, None] != parts[other])
            rows, columns = np.nonzero(near)
            for a, b in zip((rows + start).tolist(), (columns + first).tolist(), strict=True):
                if a < b:
                    yield a, b


def mirrored(frames: np.ndarray) -> np.ndarray:
    """Thumbnails `[..., 256]`, left and right exchanged."""
    return frames.reshape(*frames.shape[:-1], SIDE, SIDE)[..., ::-1].reshape(frames.shape)


def alike(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How alike a clip `[T, 256]` is to others `[..., T', 256]`: 1 where one shows nothing but what the other shows
    too, or its mirror image.

    Where one was trimmed, all its frames are in the other, though not all of the other's are in it: so the better of
    both directions counts.
    """
    found = []
    for frames in (other, mirrored(other)):
        cosines = frames @ one.T  # [..., T', T]
        found += [cosines.max(axis=-1).mean(axis=-1), cosines.max(axis=-2).mean(axis=-1)]
    return np.max(found, axis=0)


def grey_thumbnails(pictures: np.ndarray) -> np.ndarray:
    """Grey values `[..., 16, 16]` -> `[..., 256]`: less their mean, of length 1."""
    flat = pictures.reshape(*pictures.shape[:-2], -1)
    return unit(flat - flat.mean(axis=-1, keepdims=True), least=LEAST)
