"""The paper's tables beside what is counted here, and Fig. 2 redrawn from them.

torch, matplotlib and rich are imported where they are used.
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

from morphmlp.analysis.paper.published import GFLOPS, PARAMETERS, TABLES, TFLOPS, Model, PaperRow
from morphmlp.display.style import MUTED
from morphmlp.display.tables import number_columns, table, text_columns
from morphmlp.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

TOLERANCE = 0.01  # a count further off than this is marked
UNITS = {PARAMETERS: 1e6, GFLOPS: 1e9, TFLOPS: 1e12}


@dataclass(frozen=True)
class CountedFigure:
    """One counted figure beside the published one, in the unit of its column.

    Attributes:
        counted: unrounded.
        published: as printed, or None where the paper prints none.
    """

    counted: float
    published: float | None

    @property
    def decimals(self) -> int:
        """Those that the paper prints; 1 where it prints none. 113 has 0, 4.0 has 1, 0.27 has 2."""
        return 1 if self.published is None else len(str(self.published).partition(".")[2])

    @property
    def difference(self) -> float | None:
        """Counted over published, less 1; 0 where the count rounds to what is printed."""
        if self.published is None:
            return None
        return 0.0 if round(self.counted, self.decimals) == self.published else self.counted / self.published - 1

    @property
    def is_off(self) -> bool:
        """Whether it is further from the published figure than rounding and 1 % explain."""
        return abs(self.difference or 0.0) > TOLERANCE

    def __str__(self) -> str:
        """One digit more than is printed, so that the rounding can be seen, and the difference: "40.5 +6.7%!"."""
        text = f"{self.counted:,.{self.decimals + 1}f}"
        return text + (f" {self.difference:+.1%}" if self.difference else "") + ("!" if self.is_off else "")


@dataclass(frozen=True)
class Count:
    """What one of our models of a row counts, all views of a video together."""

    model: Model
    figures: dict[str, CountedFigure]


@dataclass(frozen=True)
class CountedRow:
    """A row of the paper with its counts, none for other people's methods."""

    row: PaperRow
    counts: tuple[Count, ...]


def counted_table(number: int) -> list[CountedRow]:
    """The rows of Table 1 to 11, our models counted on the meta device.

    Example:
        >>> row = counted_table(8)[1]
        >>> row.row.name, str(row.counts[0].figures["params (M)"])
        ('7x7 Conv', '112.9')

    Raises:
        ConfigError: there is no such table.
    """
    if number not in TABLES:
        raise ConfigError(f"table is {number}; allowed: 1 to {max(TABLES)}, the tables of the paper")
    return [CountedRow(row, tuple(_count(row, model) for model in row.models)) for row in TABLES[number].rows]


def _count(row: PaperRow, model: Model) -> Count:
    parameters, multiply_adds = _cost(model.name, tuple(model.overrides.items()), model.size)
    amounts = {PARAMETERS: parameters, TFLOPS if TFLOPS in row.published else GFLOPS: row.views * multiply_adds}
    return Count(model, {name: CountedFigure(n / UNITS[name], row.published.get(name)) for name, n in amounts.items()})


@cache
def _cost(name: str, overrides: tuple[tuple[str, Any], ...], size: int) -> tuple[int, int]:
    """Parameters and multiply-adds of one view."""
    from morphmlp.models.cost import count
    from morphmlp.models.zoo import model_config

    cost = count(model_config(name, **dict(overrides)), size=size)
    return cost.parameters, cost.multiply_adds


def as_json(number: int, rows: Sequence[CountedRow]) -> dict[str, Any]:
    """For programs: the published columns as printed, the counted figures unrounded, differences as shares."""
    return {
        "table": number,
        "caption": TABLES[number].caption,
        "rows": [
            {
                "name": counted.row.name,
                "group": counted.row.group,
                **counted.row.settings,
                "views": counted.row.views,
                "published": counted.row.published,
                "counted": [_count_as_json(count) for count in counted.counts],
                "note": counted.row.note,
            }
            for counted in rows
        ],
    }


def _count_as_json(count: Count) -> dict[str, Any]:
    figures = count.figures.items()
    return {
        "model": count.model.name,
        "overrides": count.model.overrides,
        "size": count.model.size,
        **{name: figure.counted for name, figure in figures},
        "differences": {name: figure.difference for name, figure in figures if figure.difference is not None},
    }


RULE = (
    "here: counted on the built model, such as morphmlp_video_s; multiply-adds of linear and convolution layers (the "
    "paper's video figures hold 0.5 % of norms), of all views. A count that rounds to the printed figure is alone, "
    f"any other with its difference, and with ! beyond {TOLERANCE:.0%}."
)


def table_for_people(number: int, rows: Sequence[CountedRow]) -> "list[RenderableType]":
    """For the terminal: a line for each row and model, what disagrees in the paper as numbered notes, and the rule."""
    from rich.text import Text

    notes = list(dict.fromkeys(counted.row.note for counted in rows if counted.row.note))
    lines = [f"[{index}] {note}" for index, note in enumerate(notes, start=1)]
    return [_table(number, rows, notes), Text("\n".join([*lines, RULE]), style="dim")]


def _table(number: int, rows: Sequence[CountedRow], notes: list[str]) -> "Table":
    from rich.text import Text

    settings = _columns(counted.row.settings for counted in rows)
    published = _columns(counted.row.published for counted in rows)
    figures = _columns(count.figures for counted in rows for count in counted.counts)
    columns = [
        *text_columns(*map(_header, ["method", *settings]), min_width=8),
        *number_columns(*map(_header, published)),
        *text_columns("here", no_wrap=True),
        *number_columns(*(_header(f"{name} here") for name in figures), no_wrap=False, min_width=7),
    ]
    sections = []
    for group, members in groupby(rows, key=lambda counted: counted.row.group):
        lines = [_lines(counted, settings, published, figures, notes) for counted in members]
        sections.append([*([[Text(group, style=MUTED)]] if group else []), *chain(*lines)])
    title = f"Table {number}. {TABLES[number].caption}"
    return table(title, columns, *sections, collapse_padding=True, pad_edge=False)


def _header(name: str) -> str:
    """In lines of a word or two: "frames x", "crops x", "clips"."""
    return textwrap.fill(name, width=9, break_long_words=False)


def _lines(
    counted: CountedRow, settings: Sequence[str], published: Sequence[str], figures: Sequence[str], notes: Sequence[str]
) -> "Iterator[Sequence[RenderableType]]":
    """A line for the row with its first count, one for each other; all but the notes are names of columns."""
    from rich.text import Text

    row = counted.row
    mark = f" [{notes.index(row.note) + 1}]" if row.note else ""
    cells = [row.name + mark, *(row.settings.get(name, "") for name in settings)]
    cells += [f"{row.published[name]:,}" if name in row.published else "-" for name in published]
    first, *others = counted.counts or (None,)
    style = "bold" if first else ""
    yield [*(Text(cell, style=style) for cell in cells), *_count_cells(first, figures)]
    for count in others:
        yield [*[""] * len(cells), *_count_cells(count, figures)]


def _columns(rows: Any) -> list[str]:
    """The names that any of the rows, dictionaries, has a value for, in order."""
    return list(dict.fromkeys(name for row in rows for name, value in row.items() if value != ""))


def _count_cells(count: Count | None, columns: Sequence[str]) -> "list[RenderableType]":
    from rich.text import Text

    if count is None:
        return [""] * (1 + len(columns))
    figures = [count.figures[name] for name in columns]
    return [
        Text(count.model.name.removeprefix("morphmlp_"), style="bold"),
        *(Text(str(figure), style="bold red" if figure.is_off else "bold") for figure in figures),
    ]
