"""Near copies in a data set: videos or images that show the same, see `tasks/classification/copies.py`.

The clips are those that a checkpoint's model is given, and the cosine of their features is told beside what decides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from morphmlp.analysis.data_check.inventory import Inventory
from morphmlp.analysis.data_check.report import CheckedFile, CheckReport, NearCopy
from morphmlp.data.sets.labelled import Sample
from morphmlp.errors import DataError
from morphmlp.tasks.classification.copies import COPIES_ABOVE, LEAST, SIDE, grey_thumbnails, pairs_of_copies
from morphmlp.tasks.classification.features.neighbours import unit

if TYPE_CHECKING:
    from torch import Tensor

    from morphmlp.tasks.classification.features.extractor import FeatureExtractor

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
    from morphmlp.tasks.classification.features.extractor import FeatureExtractor

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
    found = sorted(
        pairs_of_copies(clips.frames, clips.parts, above=above), key=lambda pair: (-pair[2], pair[0], pair[1])
    )
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

    dataset = TestClips([Sample(file.source) for file in files], extractor.config.frames, extractor.input)
    batches = [list(batch) for batch in extractor.batches_of(len(files))]
    indices, frames, vectors = [], [], []
    for batch in make_loader(dataset, batches=batches, workers=min(workers, len(files))):
        if batch.indices:
            indices += batch.indices
            frames.append(thumbnails(batch.clips))
            vectors.append(extractor.vectors(batch.clips, len(batch.indices)))
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

    return grey_thumbnails(adaptive_avg_pool2d(clips.float().mean(dim=1), SIDE).numpy())
