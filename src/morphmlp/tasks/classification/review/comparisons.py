"""A model beside what costs nothing: the commonest class, and a classifier of shrunk pixels, on the same samples.

`three_comparisons` does all of it; an evaluation, which also looks for copies, calls the two steps itself.
`compared_over_folds` is the same where each sample was held out once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from morphmlp.config import SplitConfig
from morphmlp.data.media.sources import MediaKind
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.data.sets.spaced import evenly_spaced
from morphmlp.data.sets.splits import groups_of
from morphmlp.errors import DataError
from morphmlp.formatting import percent
from morphmlp.inference.device import show_nothing
from morphmlp.tasks.classification.baselines import commonest_class, fit_pixels
from morphmlp.tasks.classification.evaluation import Evaluation, SamplePrediction
from morphmlp.tasks.classification.review.intervals import Bootstrap, Interval
from morphmlp.tasks.classification.thumbnails import NUM_FRAMES, Thumbnails, read_thumbnails
from morphmlp.tasks.task import Compared

MOST_TRAINING, MOST_COMPARED = 3_000, 2_000  # samples that are decoded: at most as much as one epoch of a small set
# Of groups. Fewer tell nothing apart: by a coin, 5 are all of one side in 6 % of cases (2 / 2^5), and 6 in 3 %.
LEAST_TOLD_APART = 6
UNREADABLE = "no part can be read as shrunk pixels"
SIDES = {-1: "is worse than", 0: "is not told apart from", 1: "is better than"}


@dataclass(frozen=True)
class Shrunk:
    """Samples of the training part and of the evaluated part that could be read, and their thumbnails."""

    train: list[Sample]
    train_pixels: Thumbnails
    evaluated: list[SamplePrediction]
    pixels: Thumbnails


@dataclass(frozen=True)
class Answers:
    """A way to answer, and how often it is right.

    Attributes:
        name: for people, such as "shrunk pixels".
        how: a few words more.
        interval: of the accuracy; None with fewer than two groups.
        lead: the model's accuracy less this one; None of the model itself.
        lead_interval: of that difference, on the same draws of the same samples; None of fewer than
            `LEAST_TOLD_APART` groups, whose draws are too much alike.
    """

    name: str
    how: str
    accuracy: float
    interval: Interval | None
    lead: float | None = None
    lead_interval: Interval | None = None

    @property
    def side(self) -> int:
        """1 where the model is better and the interval of its lead is above 0, -1 where it is below, else 0."""
        if self.lead_interval is None:
            return 0
        return int(self.lead_interval.low > 0) - int(self.lead_interval.high < 0)


@dataclass(frozen=True)
class Comparisons:
    """The model and the baselines on the same samples.

    Attributes:
        unit: "videos" or "images".
        num_samples, num_groups: that were compared.
        num_training: samples that the shrunk pixels were learned from, over folds from those of other folds each; None
            where they were not.
        model: its answers.
        baselines: the commonest class, then shrunk pixels where they were learned.
        note: what was left out, for people; "" where nothing was.
    """

    unit: str
    num_samples: int
    num_groups: int
    num_training: int | None
    model: Answers
    baselines: tuple[Answers, ...]
    note: str = ""

    @property
    def not_beaten(self) -> list[Answers]:
        """The baselines that the model is not told apart from, or is worse than."""
        return [baseline for baseline in self.baselines if baseline.side < 1]


def three_comparisons(
    evaluation: Evaluation,
    train: LabelledSet,
    *,
    split: SplitConfig,
    workers: int,
    progress: Callable[[int, int], None] = show_nothing,
) -> Comparisons:
    """Compares an evaluation with the commonest class and with shrunk pixels, both of the training part.

    At most 3,000 training and 2,000 evaluated samples are decoded, drawn evenly.

    Args:
        train: in the classes of the evaluation.
        split: says which samples are of one group.
        workers, progress: see `read_thumbnails`.
    """
    shrunk = read_shrunk(evaluation, train, workers=workers, progress=progress)
    return compared(evaluation, train, shrunk, split=split)


def read_shrunk(
    evaluation: Evaluation, train: LabelledSet, *, workers: int, progress: Callable[[int, int], None] = show_nothing
) -> Shrunk:
    """The thumbnails of both parts, of no more samples than the limits allow."""
    learned = evenly_spaced(train.samples, MOST_TRAINING)
    asked = evenly_spaced(evaluation.predictions, MOST_COMPARED)
    samples = [*learned, *(prediction.sample for prediction in asked)]
    read = read_thumbnails(samples, train.kind, workers=workers, progress=progress)
    of_train = read.indices < len(learned)
    parts = [Thumbnails(read.indices[part], read.pixels[part]) for part in (of_train, ~of_train)]
    return Shrunk(
        [learned[i] for i in parts[0].indices],
        parts[0],
        [asked[i - len(learned)] for i in parts[1].indices],
        parts[1],
    )


def compared(evaluation: Evaluation, train: LabelledSet, shrunk: Shrunk | None, *, split: SplitConfig) -> Comparisons:
    """The comparisons on the samples of `shrunk`; where that is None, on all of them and without shrunk pixels."""
    if shrunk is not None and not (shrunk.train and shrunk.evaluated):
        return replace(compared(evaluation, train, None, split=split), note=UNREADABLE)
    predictions = evaluation.predictions if shrunk is None else shrunk.evaluated
    most = commonest_class([sample.label for sample in train.samples], num_classes=len(evaluation.labels))
    simple = [_Simple("the commonest class", evaluation.labels[most], np.full(len(predictions), most))]
    if shrunk is not None:
        labels, groups = [sample.label for sample in shrunk.train], sample_groups(shrunk.train, split)
        classifier = fit_pixels(
            shrunk.train_pixels.features, np.array(labels), groups, num_classes=len(evaluation.labels)
        )
        how = f"{_frames(train.kind)}, {classifier.kernel} kernel"
        simple.append(_Simple("shrunk pixels", how, classifier.predict(shrunk.pixels.features)))
    num_training = None if shrunk is None else len(shrunk.train)
    note = _note(evaluation, train, len(predictions), num_training)
    return _beside(evaluation.unit, predictions, simple, split=split, num_training=num_training, note=note)


def compared_over_folds(
    evaluation: Evaluation,
    folds: Sequence[int],
    *,
    split: SplitConfig,
    workers: int,
    progress: Callable[[int, int], None] = show_nothing,
) -> Comparisons:
    """Compares the predictions of folds with simple means that learn, for each fold, from the samples of the others.

    At most 3,000 samples are decoded, drawn evenly.

    Args:
        folds: of each prediction.
        split: says which samples are of one group.
        workers, progress: see `read_thumbnails`.
    """
    chosen = evenly_spaced(range(len(evaluation.predictions)), MOST_TRAINING)
    kind: MediaKind = "image" if evaluation.unit == "images" else "video"
    samples = [evaluation.predictions[i].sample for i in chosen]
    thumbnails = read_thumbnails(samples, kind, workers=workers, progress=progress)
    all_labels, all_folds = np.array([p.label for p in evaluation.predictions]), np.array(folds)
    read = np.array(chosen, dtype=np.int64)[thumbnails.indices]
    is_enough = len(set(all_folds[read])) > 1
    if not is_enough:
        read = np.arange(len(all_labels))
    predictions = [evaluation.predictions[i] for i in read]
    groups = np.array(sample_groups([prediction.sample for prediction in predictions], split), dtype=object)
    labels, numbers, num_classes = all_labels[read], all_folds[read], len(evaluation.labels)
    commonest, pixels = np.zeros_like(labels), np.zeros_like(labels)
    for fold in np.unique(numbers):
        held = numbers == fold
        commonest[held] = commonest_class(all_labels[all_folds != fold].tolist(), num_classes=num_classes)
        if is_enough:
            features = thumbnails.features
            classifier = fit_pixels(features[~held], labels[~held], groups[~held].tolist(), num_classes=num_classes)
            pixels[held] = classifier.predict(features[held])
    simple = [_Simple("the commonest class", "of the other folds", commonest)]
    if is_enough:
        simple.append(_Simple("shrunk pixels", f"{_frames(kind)}, of the other folds", pixels))
    note = _compared_of(evaluation, len(read)) if is_enough else UNREADABLE
    num_training = len(read) if is_enough else None
    return _beside(evaluation.unit, predictions, simple, split=split, num_training=num_training, note=note)


@dataclass(frozen=True)
class _Simple:
    """A simple way to answer, and its answers, `[samples]`."""

    name: str
    how: str
    answers: np.ndarray


def _beside(
    unit: str,
    predictions: Sequence[SamplePrediction],
    simple: Sequence[_Simple],
    *,
    split: SplitConfig,
    num_training: int | None,
    note: str,
) -> Comparisons:
    """The model's predictions beside simple answers to the same samples."""
    labels = np.array([prediction.label for prediction in predictions])
    bootstrap = Bootstrap(sample_groups([prediction.sample for prediction in predictions], split))
    hits = np.array([prediction.predicted for prediction in predictions]) == labels
    baselines = tuple(_answers(way.name, way.how, way.answers == labels, hits, bootstrap) for way in simple)
    model = Answers("this model", "", float(hits.mean()), bootstrap.of_share(hits))
    return Comparisons(unit, len(labels), bootstrap.num_groups, num_training, model, baselines, note)


def _frames(kind: MediaKind) -> str:
    return f"{NUM_FRAMES} frames of 16 x 16 px" if kind == "video" else "16 x 16 px"


def sample_groups(samples: Sequence[Sample], split: SplitConfig) -> list[str]:
    """As `groups_of`; by recording where the names of these samples do not fit the pattern of the training's."""
    try:
        return groups_of(samples, split)
    except DataError:
        return groups_of(samples, SplitConfig())


def _answers(name: str, how: str, right: np.ndarray, hits: np.ndarray, bootstrap: Bootstrap) -> Answers:
    lead = hits.astype(float) - right
    reach = bootstrap.of_mean(lead) if bootstrap.num_groups >= LEAST_TOLD_APART else None
    return Answers(name, how, float(right.mean()), bootstrap.of_share(right), float(lead.mean()), reach)


def _note(evaluation: Evaluation, train: LabelledSet, num_compared: int, num_training: int | None) -> str:
    notes = [said] if (said := _compared_of(evaluation, num_compared)) else []
    if num_training is not None and num_training < len(train.samples):
        notes.append(f"the pixels were learned from {num_training:,} of {len(train.samples):,} training {train.unit}")
    return "; ".join(notes)


def _compared_of(evaluation: Evaluation, num_compared: int) -> str:
    num_samples = len(evaluation.predictions)
    return f"{num_compared:,} of {num_samples:,} {evaluation.unit} were compared" if num_compared < num_samples else ""


def as_compared(comparisons: Comparisons) -> Compared:
    """For people, and for programs."""
    return Compared(comparison_lines(comparisons), as_values(comparisons))


def comparison_lines(comparisons: Comparisons) -> list[str]:
    """For the terminal: the three accuracies, and what the model has not beaten."""
    rows = [*comparisons.baselines, comparisons.model]
    names = [f"{row.name} ({row.how})" if row.how else row.name for row in rows]
    width = max(map(len, names))
    lines = [f"on the same {comparisons.num_samples:,} {comparisons.unit}, with 95 % intervals:"]
    for name, row in zip(names, rows, strict=True):
        lines.append(f"  {name:<{width}}  {percent(row.accuracy):>6}{shown_interval(row.interval)}")
    return [*lines, *verdicts(comparisons), *([comparisons.note] if comparisons.note else [])]


def verdicts(comparisons: Comparisons) -> list[str]:
    """A sentence for each baseline that the model has not beaten; one for all where it has beaten them."""
    if not comparisons.not_beaten:
        names = " and ".join(baseline.name for baseline in comparisons.baselines)
        return [f"The model is better than {names}."]
    return [
        f"The model {SIDES[baseline.side]} {baseline.name}: its lead is {shown_points(baseline)}."
        for baseline in comparisons.not_beaten
    ]


def shown_interval(interval: Interval | None) -> str:
    """
    >>> shown_interval(Interval(0.4, 0.561))
    '  [40.0%, 56.1%]'
    """
    return "" if interval is None else f"  [{percent(interval.low)}, {percent(interval.high)}]"


def shown_points(baseline: Answers) -> str:
    """The model's lead in points of a hundred, such as "+3.5 points [-1.8, +8.8]"."""
    lead, interval = baseline.lead or 0.0, baseline.lead_interval
    reach = "" if interval is None else f" [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
    return f"{100 * lead:+.1f} points{reach}"


def as_values(comparisons: Comparisons) -> dict[str, Any]:
    """Plain values, ready for JSON."""
    rows = {"model": comparisons.model, **{row.name.replace(" ", "_"): row for row in comparisons.baselines}}
    return {
        comparisons.unit: comparisons.num_samples,
        "groups": comparisons.num_groups,
        "training": comparisons.num_training,
        **{name.removeprefix("the_"): _row_values(row) for name, row in rows.items()},
        "not_beaten": [row.name for row in comparisons.not_beaten],
        "note": comparisons.note,
    }


def _row_values(row: Answers) -> dict[str, Any]:
    values: dict[str, Any] = {"accuracy": row.accuracy, "interval": row.interval}
    if row.lead is not None:
        values |= {"how": row.how, "lead": row.lead, "lead_interval": row.lead_interval}
    return values
