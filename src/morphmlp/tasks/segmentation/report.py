"""Evaluations and predictions for people and for programs: tables, csv, JSON and the confusion matrix."""

import csv
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphmlp.display.tables import class_tables, table, text_columns
from morphmlp.files import replace_json, replaced_file
from morphmlp.formatting import csv_text, encodable, percent, shortened
from morphmlp.tasks.segmentation.evaluation import MaskEvaluation
from morphmlp.tasks.segmentation.overlays import plot_mask_confusion

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


def summary(evaluation: MaskEvaluation) -> dict[str, Any]:
    """The figures of an evaluation as plain values; None where there is nothing to divide."""
    figures = {
        "mean_iou": evaluation.mean_iou(),
        "pixel_accuracy": evaluation.pixel_accuracy(),
        "loss": evaluation.loss(),
    }
    return {
        "images": evaluation.num_images + len(evaluation.broken),
        "evaluated": evaluation.num_images,
        **{name: None if math.isnan(value) else value for name, value in figures.items()},
        "classes": evaluation.per_class(),
        "not_evaluated": [{"path": str(path), "reason": reason} for path, reason in evaluation.broken],
    }


def write_evaluation(evaluation: MaskEvaluation, folder: Path) -> None:
    """Writes `summary.json`, `per_class.csv` (class, pixels, IoU, accuracy) and `confusion.png` into a folder."""
    replace_json(folder / "summary.json", summary(evaluation))
    with replaced_file(folder / "per_class.csv") as file:
        rows = csv.DictWriter(file, ["class", "pixels", "iou", "accuracy"])
        rows.writeheader()
        rows.writerows(row | {"class": csv_text(row["class"])} for row in evaluation.per_class())
    title = f"Mean IoU {percent(evaluation.mean_iou())} of {evaluation.num_images:,} images"
    plot_mask_confusion(evaluation.confusion, evaluation.labels, folder / "confusion.png", title=title)


def evaluation_tables(evaluation: MaskEvaluation) -> "list[RenderableType]":
    """For the terminal: what was evaluated, the figures, and IoU and accuracy of the classes."""
    from rich.text import Text

    done, broken = evaluation.num_images, [f"{path}: {reason}" for path, reason in evaluation.broken]
    lines = [f"{done} of {done + len(broken)} images evaluated"]
    if broken:
        lines.append(f"  not evaluated: {shortened(broken, limit=3)}")
    figures = f"mean IoU {percent(evaluation.mean_iou())}   pixel accuracy {percent(evaluation.pixel_accuracy())}"
    lines.append(f"{figures}   loss {evaluation.loss():.3f}")
    rows = evaluation.per_class()
    if without := sum(row["iou"] is None for row in rows):
        lines.append(f"{without} of {len(rows)} classes are neither annotated nor predicted here")
    columns = {"pixels": "pixels", "IoU": "iou", "accuracy": "accuracy"}
    tables = class_tables(rows, columns, rank="iou", what="that are annotated or predicted")
    return [Text(encodable("\n".join(lines))), *tables]


def area_table(rows: Iterable[dict[str, Any]], *, top: int = 3) -> "Table":
    """For the terminal: the largest classes of each image, from rows of its `path` and its `areas` by class."""
    largest = [(row["path"], list(row["areas"].items())[:top]) for row in rows]
    cells = [(path, ", ".join(f"{name} {percent(share)}" for name, share in areas)) for path, areas in largest]
    return table("", text_columns("image", "largest classes"), cells)
