"""Evaluations of multi-label classifiers for people and programs: tables, csv, JSON and a picture of the classes."""

import csv
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from morphmlp.data.media.stretches import stretch_columns
from morphmlp.data.sets.written import SEPARATOR
from morphmlp.display.style import ACCENT, INK, can_draw, drawable, figure
from morphmlp.display.tables import class_tables
from morphmlp.files import replace_json, replaced_file
from morphmlp.formatting import csv_path, csv_text, encodable, percent, shortened
from morphmlp.output import tell
from morphmlp.tasks.classification.multi_label.evaluation import MultiLabelEvaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import RenderableType

MOST_BARS = 40  # classes in the picture: of more, the best and the worst


def summary(evaluation: MultiLabelEvaluation) -> dict[str, Any]:
    """The figures of an evaluation as plain values; None where there is nothing to divide."""
    figures = {
        "map": evaluation.mean_average_precision(),
        "macro_f1": evaluation.macro_f1(),
        "exact": evaluation.exact(),
        "loss": evaluation.loss(),
    }
    read = evaluation.samples
    return {
        evaluation.unit: len(read) + len(evaluation.broken),
        "evaluated": len(read),
        "views": evaluation.num_views,
        **{name: None if math.isnan(value) else value for name, value in figures.items()},
        "labels_per_sample": float(evaluation.truth.sum(axis=1).mean()),
        "answers_per_sample": float(evaluation.answers.sum(axis=1).mean()),
        "thresholds_from": evaluation.thresholds_from or None,
        "classes": evaluation.per_class(),
        "not_evaluated": [{"path": str(path), "reason": reason} for path, reason in evaluation.broken],
        "incomplete": [{"path": str(read[i].path), "note": note} for i, note in evaluation.notes.items()],
    }


def evaluation_tables(evaluation: MultiLabelEvaluation) -> "list[RenderableType]":
    """For the terminal: what was evaluated, the figures, and those of the classes."""
    from rich.text import Text

    rows = evaluation.per_class()
    columns = {
        evaluation.unit: "samples",
        "average precision": "average_precision",
        "precision": "precision",
        "recall": "recall",
        "F1": "f1",
        "threshold": "threshold",
    }
    tables = class_tables(rows, columns, rank="average_precision", what=f"with {evaluation.unit}")
    return [Text(encodable("\n".join(_lines(evaluation, rows)))), *tables]


def _lines(evaluation: MultiLabelEvaluation, rows: list[dict[str, Any]]) -> list[str]:
    done, broken = len(evaluation.samples), [f"{path}: {reason}" for path, reason in evaluation.broken]
    views = {None: "", 1: ", one view each"}.get(evaluation.num_views, f", {evaluation.num_views} views each")
    lines = [f"{done} of {done + len(broken)} {evaluation.unit} evaluated{views}"]
    if broken:
        lines.append(f"  not evaluated: {shortened(broken, limit=3)}")
    if evaluation.notes:
        i, note = next(iter(evaluation.notes.items()))
        path = evaluation.samples[i].path
        lines.append(f"  {len(evaluation.notes)} incomplete, evaluated as far as they go: such as {path} ({note})")
    figures = {
        "mAP": evaluation.mean_average_precision(),
        "macro F1": evaluation.macro_f1(),
        "all labels right": evaluation.exact(),
    }
    shown = "   ".join(f"{name} {percent(value)}" for name, value in figures.items())
    lines.append(f"{shown}   loss {evaluation.loss():.3f}")
    labels, answers = evaluation.truth.sum(axis=1).mean(), evaluation.answers.sum(axis=1).mean()
    lines.append(f"{labels:.2f} labels and {answers:.2f} answers a {evaluation.unit[:-1]}, on average")
    fitted = f"fitted on {evaluation.thresholds_from}" if evaluation.thresholds_from else "0.5, as none were fitted"
    lines.append(f"thresholds: {fitted}; mAP does not depend on them")
    if evaluation.note:
        lines.append(evaluation.note)
    if without := sum(row["samples"] == 0 for row in rows):
        lines.append(f"{without} of {len(rows)} classes have no {evaluation.unit} here, and count in no mean")
    return lines


def write_evaluation(evaluation: MultiLabelEvaluation, folder: Path) -> None:
    """Writes `summary.json`, `predictions.csv`, `per_class.csv` and, where matplotlib is installed, `classes.png`."""
    replace_json(folder / "summary.json", summary(evaluation))
    write_predictions(evaluation, folder / "predictions.csv")
    with replaced_file(folder / "per_class.csv") as file:
        rows = evaluation.per_class()
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"class": csv_text(row["class"])} for row in rows)
    picture = folder / "classes.png"
    if can_draw():
        plot_classes(evaluation, picture)
        return
    picture.unlink(missing_ok=True)  # of an earlier evaluation
    tell(f"{picture.name} is not drawn: matplotlib is not installed (pip install matplotlib)")


def write_predictions(evaluation: MultiLabelEvaluation, path: str | Path) -> None:
    """A csv row for each sample: path, labels and answers, each parted by `|`, and the probability of every class."""
    with replaced_file(path) as file:
        rows = csv.writer(file)
        bounds = stretch_columns([sample.path for sample in evaluation.samples])
        rows.writerow(["path", *bounds, "labels", "predicted", *map(csv_text, evaluation.labels)])
        for i, sample in enumerate(evaluation.samples):
            cells = [csv_path(os.fspath(sample.path)), *(bound(sample.path) for bound in bounds.values())]
            both = [_joined(evaluation.labels, row[i]) for row in (evaluation.truth, evaluation.answers)]
            rows.writerow([*cells, *both, *(f"{value:.6f}" for value in evaluation.probabilities[i])])


def _joined(labels: list[str], marks: np.ndarray) -> str:
    return csv_text(SEPARATOR.join(labels[i] for i in np.flatnonzero(marks)))


def plot_classes(evaluation: MultiLabelEvaluation, png_path: str | Path) -> None:
    """Draws the average precision of each class, its F1, and the average precision of a guess: its share of samples."""
    rows = [row for row in evaluation.per_class() if row["average_precision"] is not None]
    rows.sort(key=lambda row: -row["average_precision"])
    left_out = len(rows) - MOST_BARS
    if left_out > 0:
        rows = [*rows[: MOST_BARS // 2], *rows[-MOST_BARS // 2 :]]
    mean, num = percent(evaluation.mean_average_precision()), len(evaluation.samples)
    title = f"mAP {mean} of {num:,} {evaluation.unit}"
    if left_out > 0:
        title += f"; the {MOST_BARS // 2} best and worst of {len(rows) + left_out} classes"
    with figure(png_path, (7.5, max(2.2, 1.4 + 0.26 * len(rows))), title=title) as canvas:
        axes = canvas.subplots()
        _draw_bars(axes, rows, num)
        canvas.legend(loc="outside lower center", ncols=3, frameon=False, labelcolor=INK, fontsize=9)


def _draw_bars(axes: "Axes", rows: list[dict[str, Any]], num_samples: int) -> None:
    places = range(len(rows))
    axes.barh(places, [row["average_precision"] for row in rows], color=ACCENT, alpha=0.85, label="average precision")
    dots = {"linestyle": "none", "marker": "o", "markersize": 6, "color": INK, "markeredgecolor": "white", "zorder": 4}
    axes.plot([row["f1"] for row in rows], places, label="F1 at the threshold", **dots)
    ticks = {"linestyle": "none", "marker": "|", "markersize": 11, "markeredgewidth": 2, "color": INK, "zorder": 3}
    axes.plot([row["samples"] / num_samples for row in rows], places, label="a guess (share of samples)", **ticks)
    names = [f"{drawable(row['class'], longest=36)} ({row['samples']:,})" for row in rows]
    axes.set_yticks(places, names, fontsize=9)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_axisbelow(True)
    axes.set_xlim(0, 1.02)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
