"""Near copies in a data set: videos or images that show the same, though no byte of their files need be equal.

What decides is their frames, not a model's features: those of a classifier put other takes of a class as near to one
another as copies (`docs/features.md` has the figures). Each frame of the clip that the model is given becomes 16 x 16
grey values, less their mean and of length 1. Two clips are as alike as the frames of one are, on average, to the
frames of the other that are most like them; the other may be mirrored. Light, size, coding and a cut-off end change
little of that. The features' cosine is told beside it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from morphmlp.analysis.data_check.inventory import Inventory
from morphmlp.analysis.data_check.report import CheckedFile, CheckReport, NearCopy
from morphmlp.data.sets.labelled import Sample
from morphmlp.errors import DataError
from morphmlp.tasks.classification.features.neighbours import unit

if TYPE_CHECKING:
    from torch import Tensor

    from morphmlp.tasks.classification.features.model import FeatureExtractor

COPIES_ABOVE = 0.975
SIDE = 16  # of a thumbnail in px
LEAST = 1e-6  # length of a thumbnail: what is left of a frame of one colour is rounding, and stays short
ALIKE_ON_AVERAGE = 0.8  # mean frames of copies are far above it, so that most pairs need no closer look
BLOCK = 1024  # clips on either side of a product
MOST_COPIES = 10_000


@dataclass(frozen=True)
class Clips:
    """What is known of the clips of a set, `[N]` each.

    Attributes:
        frames: thumbnails `[N, T, 256]`, of length 1.
        vectors: features `[N, C]`, of length 1.
        parts: split and label of each as one number: only pairs in which it differs count.
    """

    frames: np.ndarray
    vectors: np.ndarray
    parts: np.ndarray


def extractor_for_copies(checkpoint: str | Path, inventory: Inventory) -> "FeatureExtractor":
    """What reads the clips of a set as a checkpoint's model is given them: one view of each.

    Raises:
        CheckpointError: the folder is no checkpoint of a classifier.
        DataError: the set is of another kind than the model's.
    """
    from morphmlp.tasks.classification.features.model import FeatureExtractor

    extractor = FeatureExtractor(checkpoint, num_clips=1, num_crops=1)
    other = next((file for file in inventory.files if file.job.kind != extractor.kind), None)
    if inventory.count_annotation is not None or other is not None:
        what = f"such as {other.job.path}" if other else "annotated images"
        raise DataError(
            f"{inventory.root} holds other files ({what}) than {checkpoint} takes, a classifier of {extractor.kind}s; "
            "--copies needs one that takes them all"
        )
    return extractor


def with_copies(
    report: CheckReport,
    extractor: "FeatureExtractor",
    *,
    above: float = COPIES_ABOVE,
    workers: int = 2,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CheckReport:
    """The report with the near copies in other splits, or with other labels.

    Args:
        above: how alike they are, 0 to 1.
    """
    files, clips = _read(report.readable, extractor, workers=workers, progress=progress)
    found = sorted(_pairs(clips, above=above), key=lambda pair: (-pair[2], pair[0], pair[1]))
    cosines = [float(clips.vectors[a] @ clips.vectors[b]) for a, b, _ in found[:MOST_COPIES]]
    copies = [
        NearCopy(files[a], files[b], alike, cosine)
        for (a, b, alike), cosine in zip(found[:MOST_COPIES], cosines, strict=True)
    ]
    return replace(report, copies=copies, copies_above=above, num_copies=len(found))


def _read(
    files: Sequence[CheckedFile], extractor: "FeatureExtractor", *, workers: int, progress: Callable[[int, int], None]
) -> tuple[list[CheckedFile], Clips]:
    """The files that the model's loader can read, and their clips."""
    from morphmlp.data.batches.loaders import TestClips, make_loader

    dataset = TestClips([Sample(file.source, -1) for file in files], extractor.config.frames, extractor.input)
    batches = [list(batch) for batch in extractor.batches_of(len(files))]
    indices, frames, vectors = [], [], []
    for batch in make_loader(dataset, batches=batches, workers=min(workers, len(files))):
        if batch.indices:
            indices += batch.indices
            frames.append(thumbnails(batch.clips))
            vectors.append(extractor.vectors(batch.clips, len(batch.indices)).numpy())
        progress(len(indices), len(files))
    order = np.argsort(indices)
    read = [files[indices[i]] for i in order]
    if not read:
        return [], Clips(np.zeros((0, 1, SIDE**2), np.float32), np.zeros((0, 1), np.float32), np.zeros(0, np.int64))
    numbers: dict[Any, int] = {}
    parts = [numbers.setdefault((file.split, file.classes), len(numbers)) for file in read]
    return read, Clips(
        np.concatenate(frames)[order], unit(np.concatenate(vectors)[order], least=LEAST), np.array(parts)
    )


def thumbnails(clips: "Tensor") -> np.ndarray:
    """Clips `[N, 3, T, h, w]` -> the frames' 16 x 16 grey values, `[N, T, 256]`: less their mean, of length 1."""
    from torch.nn.functional import adaptive_avg_pool2d

    grey = adaptive_avg_pool2d(clips.float().mean(dim=1), SIDE).flatten(2)
    return unit((grey - grey.mean(dim=2, keepdim=True)).numpy(), least=LEAST)


def mirrored(frames: np.ndarray) -> np.ndarray:
    """Thumbnails `[..., 256]`, left and right exchanged."""
    return frames.reshape(*frames.shape[:-1], SIDE, SIDE)[..., ::-1].reshape(frames.shape)


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """How alike two clips `[T, 256]` are: 1 where one shows nothing but what the other shows too, or its mirror image.

    Where one was trimmed, all its frames are in the other, though not all of the other's are in it: so the better of
    both directions counts.
    """
    found = []
    for frames in (other, mirrored(other)):
        cosines = one @ frames.T
        found += [cosines.max(axis=1).mean(), cosines.max(axis=0).mean()]
    return float(max(found))


def _pairs(clips: Clips, *, above: float) -> Iterator[tuple[int, int, float]]:
    """Pairs of other splits or labels that are that much alike."""
    for a, b in _candidates(clips):
        value = alike(clips.frames[a], clips.frames[b])
        if value >= above:
            yield a, b, value


def _candidates(clips: Clips) -> Iterator[tuple[int, int]]:
    """Pairs whose mean frames are alike, block by block: no table of all pairs is in memory."""
    means = unit(clips.frames.mean(axis=1), least=LEAST)
    for start in range(0, len(means), BLOCK):
        own = slice(start, start + BLOCK)
        for first in range(start, len(means), BLOCK):
            other = slice(first, first + BLOCK)
            cosines = np.maximum(means[own] @ means[other].T, means[own] @ mirrored(means[other]).T)
            near = (cosines >= ALIKE_ON_AVERAGE) & (clips.parts[own, None] != clips.parts[other])
            rows, columns = np.nonzero(near)
            for a, b in zip((rows + start).tolist(), (columns + first).tolist(), strict=True):
                if a < b:
                    yield a, b
