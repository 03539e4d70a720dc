"""Tables for the terminal; rich is imported where it is used."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphmlp.formatting import clamp, encodable, percent

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from morphmlp.tasks import Evaluation

MOST_CLASSES_IN_FULL = 30  # beyond it, the per-class table shows the best and the worst


def evaluation_tables(evaluation: "Evaluation") -> "list[RenderableType]":
    """For the terminal: what was evaluated, the figures, and recall and precision of the classes."""
    from rich.text import Text

    done, broken = len(evaluation.predictions), evaluation.broken
    views = {None: "", 1: ", one view each"}.get(evaluation.num_views, f", {evaluation.num_views} views each")
    lines = [f"{done} of {done + len(broken)} {evaluation.unit} evaluated{views}"]
    by_reason: dict[str, list[Path]] = defaultdict(list)
    for path, reason in broken:
        by_reason[reason].append(path)
    for reason, paths in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        others = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        lines.append(f"  {len(paths)} not evaluated: {reason} ({paths[0]}{others})")
    lines.append(
        f"{_accuracies(evaluation.accuracy, evaluation.unit.removesuffix('s'))}   loss {evaluation.loss():.3f}"
    )
    if (evaluation.num_views or 1) > 1:
        lines.append(_accuracies(evaluation.view_accuracy, "single view"))
    rows = evaluation.per_class()
    if without := sum(row["samples"] == 0 for row in rows):
        lines.append(f"{without} of {len(rows)} classes have no {evaluation.unit} here")
    columns = {evaluation.unit: "samples", "recall": "recall", "precision": "precision"}
    return [
        Text(encodable("\n".join(lines))),
        *class_tables(rows, columns, rank="recall", what=f"with {evaluation.unit}"),
    ]


def _accuracies(accuracy: Callable[[int], float], of: str) -> str:
    return "   ".join(f"top-{k} ({of}) {percent(accuracy(k))}" for k in (1, 5))


def class_tables(rows: list[dict[str, Any]], columns: dict[str, str], *, rank: str, what: str) -> "list[Table]":
    """One table of the classes, or where it would be long, those with the highest and the lowest figure.

    Args:
        columns: heading and key of a row; counts are shown as they are, other figures in percent.
        rank: the key of the figure; classes without it are left out of a long table.
        what: says which classes have the figure.
    """
    if len(rows) <= MOST_CLASSES_IN_FULL:
        return [_class_table(rows, columns, title="Classes")]
    ranked = sorted((row for row in rows if row[rank] is not None), key=lambda row: -row[rank])
    if len(ranked) <= MOST_CLASSES_IN_FULL:
        return [_class_table(ranked, columns, title=f"The {len(ranked)} classes {what}")]
    return [
        _class_table(ranked[:10], columns, title=f"The 10 best of {len(ranked)} classes"),
        _class_table(ranked[-10:], columns, title=f"The 10 worst of {len(ranked)} classes"),
    ]


def _class_table(rows: list[dict[str, Any]], columns: dict[str, str], *, title: str) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    table.add_column("class", overflow="fold")
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        values = [row[key] for key in columns.values()]
        cells = [f"{value:,}" if isinstance(value, int) else percent(value) for value in values]
        table.add_row(Text(encodable(row["class"])), *cells)
    return table


def prediction_table(rows: Sequence[tuple[str, Sequence[tuple[str, float]]]]) -> "Table":
    """For the terminal: of each file (a name and its classes with probabilities, best first) a block of bars."""
    from rich import box
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("file", overflow="fold")
    table.add_column("class", overflow="fold")
    table.add_column("probability", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, min_width=20)
    for file, top in rows:
        for rank, (name, probability) in enumerate(top):
            bar = ProgressBar(
                total=1, completed=clamp(probability), width=20, complete_style="cyan", finished_style="cyan"
            )
            cells = [Text(encodable(file if rank == 0 else "")), Text(encodable(name), style="" if rank else "bold")]
            table.add_row(*cells, percent(probability), bar, end_section=rank == len(top) - 1)
    return table


def print_all(renderables: "Iterable[RenderableType]") -> None:
    """Prints tables and lines to standard output; wide enough for paths where that is no terminal."""
    from rich.console import Console

    class PipeConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # for the command line, instead of an exit with status 1

    console = PipeConsole(highlight=False)
    if not console.is_terminal:
        console.width = 240
    for renderable in renderables:
        console.print(renderable)


def model_table(rows: Sequence[dict[str, Any]]) -> "Table":
    """The rows of `efficiency.model_rows`."""
    from rich.table import Table

    table = Table("model", "input", "classes", "parameters", "multiply-adds", title="one view", title_justify="left")
    for row in rows:
        clip = f"{row['frames']} x " if row["frames"] > 1 else ""
        table.add_row(
            row["model"],
            f"{clip}{row['size']} x {row['size']}",
            str(row["classes"]),
            f"{row['parameters'] / 1e6:.2f} M",
            f"{row['multiply_adds'] / 1e9:.2f} G",
        )
    return table
