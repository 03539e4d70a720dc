"""A linear probe: the last layer of a classifier, fitted to the features of a backbone that stays as it is.

The features are computed once for all samples of a data set, and kept in the user's cache under the digest of what
they depend on: the weights, the input, the files. What follows takes seconds. The strength of the regularisation is
chosen on parts held out of the training samples; the validation samples have no part in it.
"""

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from morphmlp.config import RunConfig
from morphmlp.data.clips.flips import mirrored_classes
from morphmlp.data.media.sources import sort_key, state_if_there
from morphmlp.data.sets.folds import fold_numbers, require_one_label
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.data.sets.splits import groups_of
from morphmlp.distributed import is_main
from morphmlp.errors import DataError
from morphmlp.export.cache import remove_old_entries
from morphmlp.formatting import as_json
from morphmlp.inference.device import Execution, show_nothing
from morphmlp.inference.optimize import for_inference
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.system import cache_folder
from morphmlp.tasks.classification.features.extractor import FeatureExtractor
from morphmlp.tasks.classification.features.model import FeatureModel
from morphmlp.tasks.classification.features.run import write_features
from morphmlp.tasks.classification.features.sources import FeatureFile, digest_of_files
from morphmlp.tasks.classification.linear import LinearClassifier, fit_linear
from morphmlp.tasks.classification.prediction import model_kind

L2S = tuple(10.0**power for power in range(-1, 5))
USUAL_L2 = 1.0  # where nothing can be held out to choose by
NUM_PARTS = 5  # held out in turn to choose among `L2S`
SMALL = 2**21  # numbers in all features, up to which one thread is quickest
MOST_ROWS_IN_TURN = 20_000  # of more rows, one part alone is held out, which then is large enough


@dataclass(frozen=True)
class ProbeFit:
    """How the last layer was fitted.

    Attributes:
        l2: the strength of the regularisation, see `fit_linear`.
        held_out_top1, held_out_loss: with it, on samples held out of the training samples; NaN without any.
        num_held_out: how many they are, of classes that the others have too.
        num_samples, num_rows: that the layer was fitted to, and their views.
    """

    l2: float
    held_out_top1: float
    held_out_loss: float
    num_held_out: int
    num_samples: int
    num_rows: int

    def describe(self, unit: str) -> str:
        fitted = f"the head is fitted to the features of {self.num_samples} training {unit} ({self.num_rows} views)"
        if not self.num_held_out:
            return f"linear probe: {fitted}; l2 {self.l2:g}, as no class has {unit} of two groups to choose it by"
        return (
            f"linear probe: {fitted}; l2 {self.l2:g} by {self.num_held_out} of them held out, "
            f"of which {self.held_out_top1:.3f} are right"
        )


def fit_probe(
    model: MorphMLP,
    config: RunConfig,
    sets: tuple[LabelledSet, LabelledSet],
    *,
    progress: Callable[[int, int], None] = show_nothing,
) -> ProbeFit:
    """Fits the head of a model to the training samples, in place; the rest of it stays as it is.

    With `input.num_clips` and `num_crops` above 1 each view is a row of its own; with `augment.flip` above 0 so is its
    mirror image, under the label that it has then.

    Raises:
        DataError: too many of the training samples cannot be read, or they have several labels.
    """
    train = sets[0]
    require_one_label(train.samples, option="--probe")
    features = probe_features(model, config, sets, progress=progress)
    samples = [sample for sample in train.samples if sample.path in features]
    _require_enough(len(samples), train, config)
    num_views = config.input.num_clips * config.input.num_crops
    rows = _rows(samples, features, train.classes, num_views=num_views)
    held_out = _held_out_parts(samples, config, num_rows=len(rows.labels))
    with _threads_for(rows.vectors):
        fits = [(_score(rows, held_out, l2=l2, num_classes=len(train.classes)), l2) for l2 in L2S]
        scored = [fit for fit in fits if fit[0].num]
        score, l2 = min(scored, key=lambda fit: fit[0].loss) if scored else (fits[0][0], USUAL_L2)
        put_into_head(model.head, fit_linear(rows.vectors, rows.labels, num_classes=len(train.classes), l2=l2))
    return ProbeFit(l2, score.top1, score.loss, score.num, len(samples), len(rows.labels))


def _require_enough(readable: int, train: LabelledSet, config: RunConfig) -> None:
    broken = len(train.samples) - readable
    if not readable or broken > max(3, config.train.max_broken * len(train.samples)):
        raise DataError(
            f"{broken} of {len(train.samples)} training {train.unit} cannot be read: more than "
            f"{config.train.max_broken:.0%} (--max_broken); `morphmlp check-data` names all"
        )


# Features


class ViewFeatures(FeatureExtractor):
    """The features of a model in memory, each view apart: `[videos, views, D]`, with `flip` the mirror images last."""

    def __init__(self, model: MorphMLP, config: RunConfig, *, flip: bool):
        self.layer, self.pooling, self.precision = "head", "mean", config.train.precision
        self.config, self.input, self.flip = model.config, config.input, flip
        self.kind = model_kind(model)
        self.num_views = self.input.num_clips * self.input.num_crops
        features = FeatureModel(model)
        self.digest = digest_of_parameters(features)
        execution = Execution(config.train.device, config.train.precision)
        self.model, self._execution = for_inference(features, execution)

    def vectors(self, clips: Any, num_videos: int) -> np.ndarray:
        shown = [clips, clips.flip(-1)] if self.flip else [clips]
        return np.concatenate([self._views(part, num_videos) for part in shown], axis=1)

    def description(self) -> dict[str, Any]:
        return {
            "weights_sha256": self.digest,
            "precision": self.precision,
            "device": self.device,
            "frames": self.config.frames,
            "input": self.input.to_dict(),
            "flip": self.flip,
        }


def digest_of_parameters(model: nn.Module) -> str:
    """Tells two backbones apart by their weights and statistics."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {list(value.shape)} {value.dtype}\n".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def probe_features(
    model: MorphMLP,
    config: RunConfig,
    sets: tuple[LabelledSet, LabelledSet],
    *,
    progress: Callable[[int, int], None] = show_nothing,
) -> dict[Any, np.ndarray]:
    """The features `[views, D]` of the samples of both parts that can be read, by their sources.

    Of both, so that one entry of the cache serves every way to divide a data set, such as the folds.
    """
    extractor = ViewFeatures(model, config, flip=config.train.augment.flip > 0)
    samples = sorted([*sets[0].samples, *sets[1].samples], key=lambda sample: sort_key(sample.path))
    files = [FeatureFile(sample.shown(), state=state_if_there(sample.path)) for sample in samples]
    settings = as_json(extractor.description() | {"files_sha256": digest_of_files(files)})
    folder = cache_folder("features") / hashlib.sha256(settings.encode()).hexdigest()[:32]
    found = write_features(extractor, files, folder, workers=config.train.workers, progress=progress)
    if is_main():
        with suppress(OSError):
            os.utime(folder)  # used last
            remove_old_entries(keep=folder)
    places = (found.spans.place(int(row)).file for row in found.rows)
    return {samples[place].path: vector for place, vector in zip(places, np.asarray(found.vectors), strict=True)}


# The layer


@dataclass(frozen=True)
class Rows:
    """What the layer is fitted to, a row for each view.

    Attributes:
        vectors: `[rows, D]`, float64.
        labels, samples: `[rows]`, of each row its class and the number of its sample.
        plain: `[rows]`, False for mirror images, which are learnt from but not scored.
    """

    vectors: np.ndarray
    labels: np.ndarray
    samples: np.ndarray
    plain: np.ndarray

    def of(self, samples: Sequence[int], *, plain: bool = False) -> "Rows":
        """The rows of some samples, or only the plain ones of them."""
        kept = np.isin(self.samples, samples) & (self.plain if plain else True)
        return Rows(self.vectors[kept], self.labels[kept], self.samples[kept], self.plain[kept])


def _rows(
    samples: Sequence[Sample], features: dict[Any, np.ndarray], classes: Sequence[str], *, num_views: int
) -> Rows:
    """The views of all samples; of a class that must not be flipped without the mirror images."""
    mirrored = mirrored_classes(classes)
    rows = [
        (vector, sample.label if view < num_views else mirrored[sample.label], number, view < num_views)
        for number, sample in enumerate(samples)
        for view, vector in enumerate(features[sample.path])
        if view < num_views or mirrored[sample.label] is not None
    ]
    vectors, labels, numbers, plain = zip(*rows, strict=True)
    return Rows(np.stack(vectors).astype(np.float64), np.array(labels), np.array(numbers), np.array(plain))


def _held_out_parts(samples: Sequence[Sample], config: RunConfig, *, num_rows: int) -> list[list[int]]:
    """Numbers of the samples that are held out together: whole groups, or single samples where all are of one group."""
    groups = groups_of(samples, config.split)
    if len(set(groups)) < 2:
        groups = [str(number) for number in range(len(samples))]
    num_parts = min(NUM_PARTS, len(set(groups)))
    labels = [sample.label for sample in samples]
    numbers = np.array(fold_numbers(labels, groups, num_folds=num_parts, seed=config.split.seed))
    num_tried = num_parts if num_rows <= MOST_ROWS_IN_TURN else 1
    return [np.flatnonzero(numbers == part).tolist() for part in range(num_tried)]


@contextmanager
def _threads_for(vectors: np.ndarray) -> Iterator[None]:
    """One thread for small products: several of them wait for one another after each, for minutes on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if vectors.size <= SMALL else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Score(NamedTuple):
    """Mean loss and top-1 over so many samples; NaN over none."""

    loss: float
    top1: float
    num: int


def _score(rows: Rows, parts: Sequence[Sequence[int]], *, l2: float, num_classes: int) -> _Score:
    """How right a layer is on the samples of all parts, each by one that was fitted without its part.

    A sample counts where another part has its class too. Of a class that is not learnt no answer is right, and the
    strongest regularisation, which answers alike to all, would seem best.
    """
    losses: list[float] = []
    hits: list[bool] = []
    everything = np.unique(rows.samples)
    for part in parts:
        fitted_to = rows.of(np.setdiff1d(everything, part))  # type: ignore[arg-type]
        held_out = rows.of(part, plain=True)
        held_out = held_out.of(np.unique(held_out.samples[np.isin(held_out.labels, fitted_to.labels)]))  # type: ignore[arg-type]
        if not len(held_out.labels):
            continue
        classifier = fit_linear(fitted_to.vectors, fitted_to.labels, num_classes=num_classes, l2=l2)
        _, firsts, counts = np.unique(held_out.samples, return_index=True, return_counts=True)  # rows are in order
        logits = np.add.reduceat(classifier.logits(held_out.vectors), firsts) / counts[:, None]  # [samples, classes]
        labels = held_out.labels[firsts]
        losses += (np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(labels)), labels]).tolist()
        hits += (logits.argmax(axis=1) == labels).tolist()
    if not losses:
        return _Score(math.nan, math.nan, 0)
    return _Score(float(np.mean(losses)), float(np.mean(hits)), len(losses))


def put_into_head(head: nn.Module, classifier: LinearClassifier) -> None:
    """Writes a fitted classifier into a last layer, which knows no mean and scale: they go into its weight and bias.

    `(x - mean) / scale @ W + b` is `x @ (W / scale) + (b - mean / scale @ W)`.
    """
    assert isinstance(head, nn.Linear)
    weights = classifier.weights / classifier.scale[:, None]  # [D, classes]
    bias = classifier.bias - classifier.mean @ weights
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weights.T))
        head.bias.copy_(torch.from_numpy(bias))
