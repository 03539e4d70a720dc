"""The page of an evaluation: one HTML file that needs no other. `docs/evaluate.md` says how to read it."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from morphmlp.data.clips.sampling import sparse_indices
from morphmlp.data.media.sources import part_of
from morphmlp.data.media.video import read_clip
from morphmlp.data.sets.labelled import Sample
from morphmlp.display import parts
from morphmlp.display.page import CSS, TEMPLATE, escape, inline_drawing
from morphmlp.display.reliability import draw_reliability
from morphmlp.display.style import can_draw
from morphmlp.errors import MediaError
from morphmlp.files import replaced_file
from morphmlp.formatting import percent
from morphmlp.tasks.classification.calibration.measures import calibration_error, reliability_bins
from morphmlp.tasks.classification.evaluation import Evaluation, SamplePrediction
from morphmlp.tasks.classification.review.comparisons import Answers, Comparisons, shown_points, verdicts
from morphmlp.tasks.classification.review.findings import (
    ClassFigures,
    Confusion,
    Copy,
    LabelError,
    class_figures,
    least_certain_right,
    worst_confusions,
    worst_first,
)
from morphmlp.tasks.classification.review.intervals import FEW_GROUPS, Interval
from morphmlp.tasks.classification.review.review import Figure, Review, scores_of

CONFUSIONS, MISTAKES, DOUBTS, LABEL_ERRORS, COPIES = 5, 3, 6, 9, 6  # shown with pictures
CLASSES_SHOWN, MOST_ROWS, MOST_LISTED = 20, 1_000, 200
STRIP_FRAMES, STRIP_PX, STILL_PX = 5, 84, 180


def write_page(evaluation: Evaluation, review: Review, confusion_png: Path | None, path: Path) -> None:
    """Writes the page; its pictures are at most about 3 MB.

    Args:
        confusion_png: the drawing of the confusion matrix; None where there is none.
    """
    title = f"Evaluation of {review.checkpoint}"
    sections = {
        "compared": ("Compared with simple means", _compared(review)),
        "classes": ("Classes", _classes(evaluation)),
        "confusions": ("Worst confusions", _confusions(evaluation, confusion_png)),
        "doubts": ("Right, but least certain", _doubts(evaluation)),
        "calibration": ("Are the probabilities to be believed?", _calibration(evaluation)),
        "labels": ("Labels that may be wrong", _label_errors(evaluation, review)),
        "copies": ("Near copies across the split", _copies(evaluation, review)),
        "unread": ("Not evaluated, or in part", _unread(evaluation)),
    }
    shown = {anchor: part for anchor, part in sections.items() if part[1]}
    links = parts.contents((anchor, heading) for anchor, (heading, _) in shown.items())
    body = [
        f"<header><h1>{escape(title)}</h1>{parts.paragraph(_intro(evaluation, review))}{links}</header>",
        parts.facts(_fact(evaluation, figure) for figure in review.figures.values()),
        parts.paragraph(_about_intervals(review)),
        *(parts.section(anchor, heading, html) for anchor, (heading, html) in shown.items()),
    ]
    with replaced_file(path) as file:
        file.write(TEMPLATE.format(title=escape(title), css=CSS + parts.PARTS_CSS, body="\n".join(body)))


def _intro(evaluation: Evaluation, review: Review) -> str:
    done, broken = len(evaluation.predictions), len(evaluation.broken)
    views = "" if (evaluation.num_views or 1) == 1 else f", {evaluation.num_views} views each"
    of = f" of {done + broken:,}" if broken else ""
    notes = [evaluation.note] if evaluation.note else []
    lines = [f"{done:,}{of} {evaluation.unit} of {review.data}{views}, {len(evaluation.labels):,} classes."]
    return "\n".join([*lines, *notes])


def _fact(evaluation: Evaluation, figure: Figure) -> tuple[str, str, str]:
    return figure.name, percent(figure.value), _reach(figure.interval)


def _reach(interval: Interval | None) -> str:
    return "" if interval is None else f"{percent(interval.low)} to {percent(interval.high)}"


def _about_intervals(review: Review) -> str:
    if review.num_groups < 2:
        return f"There are no intervals: all is of one group ({review.grouped_by})."
    few = " Of so few, the intervals are too narrow." if review.num_groups < FEW_GROUPS else ""
    return (
        f"Small figures: 95 % intervals, by a bootstrap over {review.num_groups:,} {review.grouped_by}. Another draw "
        f"of as many could as well have given any figure within them.{few}"
    )


def _compared(review: Review) -> str:
    comparisons = review.comparisons
    if comparisons is None:
        return parts.paragraph(f"Nothing to compare with: {review.why_alone}.")
    rows = [*comparisons.baselines, comparisons.model]
    table = parts.figure_table(
        ["", "accuracy", "95 % interval", "", "the model's lead"],
        [_answers_cells(row) for row in rows],
        caption=f"On the same {comparisons.num_samples:,} {comparisons.unit}",
        own=len(rows) - 1,
    )
    kind = "verdict bad" if comparisons.not_beaten else "verdict"
    said = "".join(f"<p class='{kind}'>{escape(line)}</p>" for line in verdicts(comparisons))
    return said + table + parts.paragraph(_about_baselines(comparisons, review))


def _answers_cells(row: Answers) -> list[str]:
    name = escape(f"{row.name} ({row.how})" if row.how else row.name)
    lead = "" if row.lead is None else escape(shown_points(row))
    return [name, percent(row.accuracy), _reach(row.interval), parts.range_bar(row.accuracy, row.interval), lead]


def _about_baselines(comparisons: Comparisons, review: Review) -> str:
    said = "The commonest class is that of the training part."
    if comparisons.num_training is not None:
        said += (
            f" The shrunk pixels are a classifier that was fitted in seconds to {comparisons.num_training:,} training "
            f"{comparisons.unit}, each frame as 16 x 16 pixels: what the data gives away by colours and places alone."
        )
    elif review.why_alone:
        said += f" No shrunk pixels: {review.why_alone}."
    return f"{said} {comparisons.note}".strip()


def _classes(evaluation: Evaluation) -> str:
    found = class_figures(evaluation)
    rows = worst_first(found)
    absent = sum(row.samples == 0 for row in found)
    about = f"{absent} of {len(found)} classes have no {evaluation.unit} here." if absent else ""
    first, others = rows[:CLASSES_SHOWN], rows[CLASSES_SHOWN:MOST_ROWS]
    if len(rows) <= CLASSES_SHOWN + 5:
        first, others = rows, []
    heading = "All classes" if not others else f"The {len(first)} of {len(rows):,} classes with the lowest F1"
    shown = parts.paragraph(about) + _class_table(first, evaluation.unit, caption=f"{heading}, the lowest F1 first")
    if others:
        name = f"the other {len(others):,} classes"
        shown += parts.collapsed(name[0].upper() + name[1:], _class_table(others, evaluation.unit, caption=name))
    return shown


def _class_table(rows: Sequence[ClassFigures], unit: str, *, caption: str) -> str:
    cells = [
        [escape(row.name), f"{row.samples:,}", f"{row.predicted:,}", f"{row.hits:,}"]
        + [percent(value) for value in (row.precision, row.recall, row.f1)]
        for row in rows
    ]
    return parts.figure_table(
        ["class", unit, "predicted", "right", "precision", "recall", "F1"], cells, caption=caption
    )


def _confusions(evaluation: Evaluation, confusion_png: Path | None) -> str:
    shown = ""
    if confusion_png is not None:
        alt = "Confusion matrix: a row for each label, a column for each prediction; the table above has its figures"
        drawing = inline_drawing(confusion_png.read_bytes())
        shown += f"<div class='charts'>{parts.chart('Confusion matrix', drawing, alt=alt)}</div>"
    worst = worst_confusions(evaluation, CONFUSIONS)
    if not worst:
        return shown + "<p class='none'>There are none: every prediction is right.</p>"
    about = f"With the {MISTAKES} mistakes of each in which the model was the most certain."
    return shown + parts.paragraph(about) + "".join(_confusion(evaluation, confusion) for confusion in worst)


def _confusion(evaluation: Evaluation, confusion: Confusion) -> str:
    label, predicted = (evaluation.labels[number] for number in (confusion.label, confusion.predicted))
    count = len(confusion.mistakes)
    heading = f"{label} taken for {predicted}: {count:,} of {confusion.of:,} ({percent(count / confusion.of)})"
    return f"<h3>{escape(heading)}</h3>{_cards(evaluation, confusion.mistakes[:MISTAKES])}"


def _doubts(evaluation: Evaluation) -> str:
    return _cards(evaluation, least_certain_right(evaluation, DOUBTS), if_empty="There are none: no answer is right.")


def _cards(evaluation: Evaluation, predictions: Sequence[SamplePrediction], *, if_empty: str = "") -> str:
    kind = evaluation.unit.removesuffix("s")
    cards = [
        parts.strip_card(
            _frames(prediction.sample, kind),
            label=evaluation.labels[prediction.label],
            top=[(evaluation.labels[i], float(prediction.probabilities[i])) for i in prediction.top(3)],
            note=_name(prediction.sample),
            what=kind,
            count=STRIP_FRAMES,
            height=STILL_PX if kind == "image" else STRIP_PX,
            most_bytes=parts.STRIP_BYTES,
        )
        for prediction in predictions
    ]
    return parts.strips(cards, if_empty=if_empty, stills=kind == "image")


def _frames(sample: Sample, kind: str) -> np.ndarray:
    """A few frames `[T, H, W, 3]`; one grey one where the file has gone or changed meanwhile."""
    try:
        return read_clip(
            sample.shown(),
            lambda n, fps: sparse_indices(n, frames=1 if kind == "image" else min(STRIP_FRAMES, n)),
            stills=kind == "image",
            short_side=2 * STRIP_PX,
        )
    except MediaError:
        return np.full((1, STRIP_PX, STRIP_PX, 3), 128, dtype=np.uint8)


def _name(sample: Sample) -> str:
    """The file and its folder, and which part of it: `tea/monday.mp4 (12.5 to 17 s)`."""
    path = Path(os.fspath(sample.path))
    part = part_of(sample.path)
    return f"{path.parent.name}/{path.name}" + (f" ({part})" if part else "")


def _calibration(evaluation: Evaluation) -> str:
    bins = reliability_bins(*scores_of(evaluation))
    about = (
        f"On average, the probability of an answer is {percent(calibration_error(bins))} off the share of answers of "
        "that probability that are right (expected calibration error, 15 bins). morphmlp calibrate fits a temperature "
        "to held-out data."
    )
    if not can_draw():
        return parts.paragraph(about)
    with tempfile.TemporaryDirectory() as folder:
        png = Path(folder) / "reliability.png"
        draw_reliability(png, {"": bins}, title="", threshold=evaluation.threshold)
        url = inline_drawing(png.read_bytes(), most_px=720)
    filled = [b for b in bins if b.samples]
    alt = "; ".join(f"{percent(b.score, digits=0)} sure: right {percent(b.accuracy, digits=0)}" for b in filled)
    return parts.paragraph(about) + (
        "<div class='charts'>" + parts.chart("Accuracy over the probability of the answer", url, alt=alt) + "</div>"
    )


def _label_errors(evaluation: Evaluation, review: Review) -> str:
    found = review.label_errors
    if review.out_of_fold is None:
        seen = "may have been trained on, so that it knows their labels" if review.may_have_seen else "has not learned"
        where = (
            f"Found among the evaluated {evaluation.unit}, which the model {seen}. For all of the data: morphmlp train "
            "--folds, and its folder as evaluate --out_of_fold."
        )
    else:
        where = f"Found among the out-of-fold predictions in {review.out_of_fold}: each is of a model that had not "
        where += "learned the sample."
    about = (
        "The model is surer of another class than it usually is of that class's own samples (confident learning). "
        f"Look at each: hard samples are here as well as wrong labels. {where}"
    )
    if not found:
        return parts.paragraph(about) + f"<p class='none'>There are none among these {evaluation.unit}.</p>"
    kind = evaluation.unit.removesuffix("s")
    cards = [_label_error(error, kind) for error in found[:LABEL_ERRORS]]
    shown = parts.paragraph(about) + parts.strips(cards, if_empty="", stills=kind == "image")
    if more := found[LABEL_ERRORS:]:
        lines = [f"{error.prediction.path}: {error.label}, or {error.suggested}?" for error in more[:MOST_LISTED]]
        shown += parts.collapsed(f"{len(more):,} more{_first(more)}", parts.listed(lines))
    return shown


def _label_error(error: LabelError, kind: str) -> str:
    rows = [
        ("label", error.label),
        ("or rather", error.suggested),
        ("by", f"{100 * error.margin:.1f} points"),
        (kind, _name(error.prediction.sample)),
    ]
    return parts.pair_card([(error.label, _frames(error.prediction.sample, kind))], rows, what=kind)


def _copies(evaluation: Evaluation, review: Review) -> str:
    if review.copies is None:
        return ""
    kind, found = evaluation.unit.removesuffix("s"), review.copies
    about = (
        f"{evaluation.unit.capitalize()} here that show nearly what a training {kind} shows: the model may have "
        "learned them by heart, so that the figures are too good."
    )
    if not found:
        return parts.paragraph(about) + f"<p class='none'>There are none among the compared {evaluation.unit}.</p>"
    copied = {id(copy.evaluated) for copy in found}
    rest = [prediction for prediction in evaluation.predictions if id(prediction) not in copied]
    without = percent(float(np.mean([p.predicted == p.label for p in rest]))) if rest else "n/a"
    have = "has" if len(copied) == 1 else "have"
    said = f"{len(copied):,} {have} one. Without them, top-1 is {without} of {len(rest):,}."
    cards = [_copy(copy, evaluation.labels, kind) for copy in found[:COPIES]]
    shown = parts.paragraph(f"{about} {said}") + parts.strips(cards, if_empty="", stills=kind == "image")
    if more := found[COPIES:]:
        lines = [
            f"{copy.evaluated.path} and {copy.training.path}: {copy.alike:.3f} alike" for copy in more[:MOST_LISTED]
        ]
        shown += parts.collapsed(f"{len(more):,} more pairs{_first(more)}", parts.listed(lines))
    return shown


def _copy(copy: Copy, labels: Sequence[str], kind: str) -> str:
    pair = [copy.evaluated.sample, copy.training]
    rows = [
        ("evaluated", f"{_name(pair[0])}, {labels[pair[0].label]}"),
        ("training", f"{_name(pair[1])}, {labels[pair[1].label]}"),
        ("alike", f"{copy.alike:.3f}"),
    ]
    return parts.pair_card([(labels[sample.label], _frames(sample, kind)) for sample in pair], rows, what=kind)


def _unread(evaluation: Evaluation) -> str:
    shown = ""
    for items, name in ((evaluation.broken, "not evaluated"), (evaluation.incomplete, "evaluated as far as they go")):
        if items:
            lines = [f"{path}: {reason}" for path, reason in items[:MOST_LISTED]]
            shown += parts.collapsed(f"{len(items):,} {name}{_first(items)}", parts.listed(lines))
    return shown


def _first(items: Sequence[object]) -> str:
    """What a list of many says of its length."""
    return f", of which the first {MOST_LISTED} are here; summary.json has all" if len(items) > MOST_LISTED else ""
