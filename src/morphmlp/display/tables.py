"""Tables for the terminal; rich is imported where it is used."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from morphmlp.formatting import encodable, percent

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

MOST_CLASSES_IN_FULL = 30  # beyond it, the per-class table shows the best and the worst


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
