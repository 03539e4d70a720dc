"""Evaluations and predictions for people and for programs: tables, csv, JSON and the confusion matrix."""

import csv
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from morphmlp.data.media.sources import Source
from morphmlp.data.media.stretches import stretch_columns
from morphmlp.display.confusion import draw_confusion
from morphmlp.display.style import INK, can_draw
from morphmlp.display.tables import class_tables, number_columns, table, text_columns
from morphmlp.errors import MediaError
from morphmlp.files import replace_json, replaced_file
from morphmlp.formatting import clamp, csv_path, csv_text, encodable, percent
from morphmlp.output import tell
from morphmlp.tasks.classification.evaluation import Evaluation, ranks
from morphmlp.tasks.classification.prediction import NONE_OF_THESE
from morphmlp.tasks.classification.predictor import Prediction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import RenderableType
    from rich.table import Table


def evaluation_tables(evaluation: Evaluation) -> "list[RenderableType]":
    """For the terminal: what was evaluated, the figures, and recall and precision of the classes."""
    from rich.text import Text

    done, broken = len(evaluation.predictions), evaluation.broken
    views = {None: "", 1: ", one view each"}.get(evaluation.num_views, f", {evaluation.num_views} views each")
    lines = [f"{done} of {done + len(broken)} {evaluation.unit} evaluated{views}"]
    lines += not_evaluated_lines(evaluation)
    if incomplete := evaluation.incomplete:
        path, note = incomplete[0]
        lines.append(f"  {len(incomplete)} incomplete, evaluated as far as they go: such as {path} ({note})")
    accuracies = _accuracies(evaluation, evaluation.accuracy, evaluation.unit.removesuffix("s"))
    lines.append(f"{accuracies}   loss {evaluation.loss():.3f}")
    if (evaluation.num_views or 1) > 1:
        lines.append(_accuracies(evaluation, evaluation.view_accuracy, "single view"))
    if evaluation.threshold is not None:
        refused, precision = percent(evaluation.share_refused()), percent(evaluation.precision_of_rest())
        lines.append(
            f"below the threshold of {evaluation.threshold:.5g}: {refused} refused; precision of the rest {precision}"
        )
    if evaluation.note:
        lines.append(evaluation.note)
    lines += _review_lines(evaluation)
    rows = evaluation.per_class()
    if without := sum(row["samples"] == 0 for row in rows):
        lines.append(f"{without} of {len(rows)} classes have no {evaluation.unit} here")
    columns = {evaluation.unit: "samples", "recall": "recall", "precision": "precision"}
    return [
        Text(encodable("\n".join(lines))),
        *class_tables(rows, columns, rank="recall", what=f"with {evaluation.unit}"),
    ]


def not_evaluated_lines(evaluation: Evaluation) -> list[str]:
    """How many samples could not be read, a line for each reason, that of the most first."""
    by_reason: dict[str, list[Source]] = defaultdict(list)
    for path, reason in evaluation.broken:
        by_reason[reason].append(path)
    lines = []
    for reason, paths in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        others = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        lines.append(f"  {len(paths)} not evaluated: {reason} ({paths[0]}{others})")
    return lines


def _review_lines(evaluation: Evaluation) -> list[str]:
    """The interval of the accuracy, and the model beside the baselines."""
    if (review := evaluation.review) is None:
        return []
    from morphmlp.tasks.classification.review.comparisons import comparison_lines

    if review.comparisons is None:
        return [f"no comparison with simple means: {review.why_alone}"]
    return comparison_lines(review.comparisons)


def _accuracies(evaluation: Evaluation, accuracy: Callable[[int], float], of: str) -> str:
    return "   ".join(f"top-{k} ({of}) {percent(accuracy(k))}" for k in ranks(len(evaluation.labels)))


def prediction_table(rows: Sequence[tuple[str, Sequence[str], Sequence[tuple[str, float]]]]) -> "Table":
    """For the terminal: a block of bars for each file, which is a name, its answers, and its classes, best first."""
    columns = [*text_columns("file", "class"), *number_columns("probability"), *text_columns("", min_width=20)]
    return table("", columns, *(_file_rows(*row) for row in rows))


def _file_rows(file: str, answers: Sequence[str], top: Sequence[tuple[str, float]]) -> "list[list[RenderableType]]":
    """The file's classes, the answers in bold; where there is none, that is said above them."""
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    rows: list[list[RenderableType]] = [] if answers else [["", Text(NONE_OF_THESE, style="bold"), "", ""]]
    for name, probability in top:
        bar = ProgressBar(total=1, completed=clamp(probability), width=20, complete_style="cyan", finished_style="cyan")
        shown = Text(encodable(name), style="bold" if name in answers else "")
        rows.append(["", shown, percent(probability), bar])
    if rows:
        rows[0][0] = file
    return rows


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Writes `summary.json`, `predictions.csv`, `index.html` and, where matplotlib is installed, `confusion.png`.

    The page needs a review; without one it is not written.
    """
    write_summary(evaluation, folder / "summary.json")
    write_predictions(evaluation, folder / "predictions.csv")
    picture = folder / "confusion.png"
    if can_draw():
        plot_confusion(evaluation, picture)
    else:
        picture.unlink(missing_ok=True)  # of an earlier evaluation
        tell(f"{picture.name} is not drawn: matplotlib is not installed (pip install matplotlib)")
    page = folder / "index.html"
    if evaluation.review is None:
        page.unlink(missing_ok=True)  # of an earlier evaluation
        return
    from morphmlp.tasks.classification.review.page import write_page

    write_page(evaluation, evaluation.review, picture if picture.exists() else None, page)


def write_predictions(evaluation: Evaluation, path: str | Path) -> None:
    """A csv row for each sample: path, label, prediction, its probability, and that of every class.

    Where there are stretches, their columns follow the path: see `stretch_columns`.
    """
    with replaced_file(path) as file:
        rows = csv.writer(file)
        names = [csv_text(name) for name in evaluation.labels]
        bounds = stretch_columns([prediction.path for prediction in evaluation.predictions])
        rows.writerow(["path", *bounds, "label", "predicted", "probability", *names])
        for prediction in evaluation.predictions:
            best = prediction.predicted
            probabilities = [f"{value:.6f}" for value in prediction.probabilities]
            label = names[prediction.label] if prediction.label >= 0 else ""
            cells = [csv_path(os.fspath(prediction.path)), *(bound(prediction.path) for bound in bounds.values())]
            rows.writerow([*cells, label, names[best], probabilities[best], *probabilities])


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """The figures of an evaluation as plain values; `top1` and `top5` are of whole videos or images."""
    total = len(evaluation.predictions) + len(evaluation.broken)
    return {
        evaluation.unit: total,
        "evaluated": len(evaluation.predictions),
        "views": evaluation.num_views,
        "top1": evaluation.accuracy(1),
        "top5": evaluation.accuracy(5),
        "top1_single_view": evaluation.view_accuracy(1),
        "top5_single_view": evaluation.view_accuracy(5),
        "loss": evaluation.loss(),
        **_refusal(evaluation),
        **_review(evaluation),
        "classes": evaluation.per_class(),
        "not_evaluated": [{"path": str(path), "reason": reason} for path, reason in evaluation.broken],
        "incomplete": [{"path": str(path), "note": note} for path, note in evaluation.incomplete],
    }


def _refusal(evaluation: Evaluation) -> dict[str, float]:
    """What the threshold costs and brings; nothing where there is none."""
    if evaluation.threshold is None:
        return {}
    return {
        "threshold": evaluation.threshold,
        "share_refused": evaluation.share_refused(),
        "precision_of_rest": evaluation.precision_of_rest(),
    }


def _review(evaluation: Evaluation) -> dict[str, Any]:
    if evaluation.review is None:
        return {}
    from morphmlp.tasks.classification.review.review import review_values

    return {"review": review_values(evaluation.review)}


def write_summary(evaluation: Evaluation, path: str | Path) -> None:
    """The figures of an evaluation as a JSON file."""
    replace_json(path, summary(evaluation))


def plot_confusion(evaluation: Evaluation, png_path: str | Path) -> None:
    """Draws the counts, a row for each label and a column for each prediction, coloured by the share of the row."""
    top1, num_samples = percent(evaluation.accuracy()), len(evaluation.predictions)
    draw_confusion(
        evaluation.confusion(),
        evaluation.labels,
        png_path,
        title=f"Top-1 {top1} of {num_samples:,} {evaluation.unit}",
        note="colour: share of the row",
        write_cells=_draw_counts,
    )


def _draw_counts(axes: "Axes", counts: np.ndarray, shares: np.ndarray) -> None:
    edges = np.arange(1, len(counts)) - 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > 0.45 else INK
        size = 10 if len(counts) <= 20 else 7
        axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=colour, fontsize=size)


def as_row(result: Prediction | MediaError, k: int) -> dict[str, Any]:
    """Plain values of a result: path, answer and its k best classes, what is missing of the file, or path and error."""
    if isinstance(result, MediaError):
        return {"path": result.name, "error": result.reason}
    top = [{"label": label, "probability": round(probability, 6)} for label, probability in result.shown(k)]
    note = {"incomplete": result.note} if result.note else {}
    several = {} if result.thresholds is None else {"answers": result.answers}
    return {"path": str(result.path), "answer": result.answer, **several, "top": top} | note


CSV_COLUMNS = ("path", "rank", "label", "probability", "error", "answer", "incomplete")


def write_csv(rows: list[dict[str, Any]], path: str | Path) -> None:
    """Rows of `as_row` as a csv file, see `csv_lines`."""
    with replaced_file(path) as file:
        writer = csv.writer(file)
        writer.writerow(CSV_COLUMNS)
        for row in rows:
            writer.writerows(csv_lines(row))


def csv_lines(row: dict[str, Any]) -> list[list[object]]:
    """The lines of a row of `as_row`: one for each of its classes, best first, or one with the error."""
    path = csv_path(row["path"])
    if "error" in row:
        return [[path, "", "", "", csv_text(row["error"]), "", ""]]
    answer, note = csv_text(row["answer"]), csv_text(row.get("incomplete", ""))
    return [
        [path, rank, csv_text(entry["label"]), entry["probability"], "", answer, note]
        for rank, entry in enumerate(row["top"], start=1)
    ]
