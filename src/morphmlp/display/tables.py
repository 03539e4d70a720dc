"""Tables for the terminal; rich is imported where it is used."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from morphmlp.formatting import encodable, percent
from morphmlp.output import until_closed

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    Cells = Sequence[RenderableType]

MOST_CLASSES_IN_FULL = 30  # of more classes, the table shows the best and the worst


class Column(NamedTuple):
    """A heading, and rich's options for the column."""

    heading: str
    options: dict[str, Any]


def text_columns(*headings: str, **options: Any) -> list[Column]:
    """Columns on the left, whose long texts go over several lines."""
    return [Column(heading, {"overflow": "fold", **options}) for heading in headings]


def number_columns(*headings: str, **options: Any) -> list[Column]:
    """Columns on the right, which stay in one line."""
    return [Column(heading, {"justify": "right", "no_wrap": True, **options}) for heading in headings]


def table(title: str, columns: Sequence[Column], *sections: "Iterable[Cells]", **layout: Any) -> "Table":
    """A table in the package's style.

    Args:
        title: above the table; "" for none.
        sections: rows of cells; a line parts two sections. A cell of text is shown as it is: square brackets are no
            markup, and bytes of a file name that are no UTF-8 become question marks.
        layout: rich's options for the table.

    >>> columns = [*text_columns("class"), *number_columns("videos")]
    >>> table("Classes", columns, [("up", "1,200"), ("down", "980")]).row_count
    2
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    def plain(text: str) -> Text:
        return Text(encodable(text))

    shown = Table(
        title=plain(title) if title else None, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", **layout
    )
    for column in columns:
        shown.add_column(plain(column.heading), **column.options)
    for rows in sections:
        shown.add_section()
        for row in rows:
            shown.add_row(*(plain(cell) if isinstance(cell, str) else cell for cell in row))
    return shown


def class_tables(rows: list[dict[str, Any]], columns: dict[str, str], *, rank: str, what: str) -> "list[Table]":
    """One table of all classes, or, of many classes, two tables: those with the highest figure and with the lowest.

    Args:
        columns: heading and key of a row; counts are shown as they are, other figures in percent.
        rank: the key of the figure; a long table leaves out the classes without it.
        what: says which classes have the figure.
    """
    if len(rows) <= MOST_CLASSES_IN_FULL:
        return [_class_table("Classes", rows, columns)]
    ranked = sorted((row for row in rows if row[rank] is not None), key=lambda row: -row[rank])
    if len(ranked) <= MOST_CLASSES_IN_FULL:
        return [_class_table(f"The {len(ranked)} classes {what}", ranked, columns)]
    return [
        _class_table(f"The 10 best of {len(ranked)} classes", ranked[:10], columns),
        _class_table(f"The 10 worst of {len(ranked)} classes", ranked[-10:], columns),
    ]


def _class_table(title: str, rows: list[dict[str, Any]], columns: dict[str, str]) -> "Table":
    cells = [(row["class"], *(_figure(row[key]) for key in columns.values())) for row in rows]
    return table(title, [*text_columns("class"), *number_columns(*columns)], cells)


def _figure(value: float | None) -> str:
    return f"{value:,}" if isinstance(value, int) else percent(value)


def model_table(rows: Iterable[dict[str, Any]]) -> "Table":
    """Models and their cost, from plain values such as {"model", "frames", "size", "classes", "parameters", ...}."""
    columns = [*text_columns("model", "input"), *number_columns("classes", "parameters", "multiply-adds")]
    columns += text_columns("start")
    return table("one view", columns, map(_model_cells, rows))


def _model_cells(row: dict[str, Any]) -> "Cells":
    clip = f"{row['frames']} x " if row["frames"] > 1 else ""
    return (
        row["model"],
        f"{clip}{row['size']} x {row['size']}",
        str(row["classes"]),
        f"{row['parameters'] / 1e6:.2f} M",
        f"{row['multiply_adds'] / 1e9:.2f} G",
        row.get("start") or "",
    )


def print_all(renderables: "Iterable[RenderableType]") -> None:
    """Prints tables and lines to standard output; a pipe or a file gets 240 columns, enough for paths."""
    from rich.console import Console

    class PipeConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # for `until_closed`, instead of an exit with status 1

    console = PipeConsole(highlight=False)
    if not console.is_terminal:
        console.width = 240
    with until_closed():
        for renderable in renderables:
            console.print(renderable)
