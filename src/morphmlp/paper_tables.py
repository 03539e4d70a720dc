"""The paper's tables beside what is counted here, and Fig. 2 redrawn from them.

torch, matplotlib and rich are imported where they are used.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphmlp.errors import ConfigError
from morphmlp.figures import ACCENT, INK, MUTED, figure_style, save_figure
from morphmlp.paper import GFLOPS, PARAMETERS, TABLES, TFLOPS, Model, Row

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox
    from rich.console import RenderableType
    from rich.table import Table

TOLERANCE = 0.01  # a count further off than this is marked
UNITS = {PARAMETERS: 1e6, GFLOPS: 1e9, TFLOPS: 1e12}


@dataclass(frozen=True)
class Figure:
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
    figures: dict[str, Figure]


@dataclass(frozen=True)
class CountedRow:
    """A row of the paper with its counts, none for other people's methods."""

    row: Row
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


def _count(row: Row, model: Model) -> Count:
    parameters, multiply_adds = _cost(model.name, tuple(model.overrides.items()), model.size)
    amounts = {PARAMETERS: parameters, TFLOPS if TFLOPS in row.published else GFLOPS: row.views * multiply_adds}
    return Count(model, {name: Figure(n / UNITS[name], row.published.get(name)) for name, n in amounts.items()})


@cache
def _cost(name: str, overrides: tuple[tuple[str, Any], ...], size: int) -> tuple[int, int]:
    """Parameters and multiply-adds of one view."""
    from morphmlp.efficiency import count
    from morphmlp.zoo import model_config

    cost = count(model_config(name, **dict(overrides)), size=size)
    return cost.parameters, cost.multiply_adds


# -------------------------------------------------------------------------------------------------- JSON and terminal


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
    "paper's video figures hold 0.5 % of norms), of all views. A count that rounds to the printed figure stands alone, "
    f"any other with its difference, and with ! beyond {TOLERANCE:.0%}."
)


def table_for_people(number: int, rows: Sequence[CountedRow]) -> "list[RenderableType]":
    """For the terminal: a line for each row and model, what disagrees in the paper as numbered notes, and the rule."""
    from rich.text import Text

    notes = list(dict.fromkeys(counted.row.note for counted in rows if counted.row.note))
    lines = [f"[{index}] {note}" for index, note in enumerate(notes, start=1)]
    return [_table(number, rows, notes), Text("\n".join([*lines, RULE]), style="dim")]


def _table(number: int, rows: Sequence[CountedRow], notes: list[str]) -> "Table":
    from rich import box
    from rich.table import Table

    settings = _columns(counted.row.settings for counted in rows)
    published = _columns(counted.row.published for counted in rows)
    figures = _columns(count.figures for counted in rows for count in counted.counts)
    narrow: dict[str, Any] = {"box": box.SIMPLE_HEAD, "collapse_padding": True, "pad_edge": False}
    table = Table(title=f"Table {number}. {TABLES[number].caption}", title_justify="left", **narrow)
    for name in ("method", *settings):
        table.add_column(_header(name), overflow="fold", min_width=8)
    for name in published:
        table.add_column(_header(name), justify="right", no_wrap=True)
    table.add_column("here", no_wrap=True)
    for name in figures:
        table.add_column(_header(f"{name} here"), justify="right", min_width=7)
    for group, members in groupby(rows, key=lambda counted: counted.row.group):
        if group:
            table.add_section()
            table.add_row(group, style=MUTED)
        for counted in members:
            _add_rows(table, counted, settings=settings, published=published, figures=figures, notes=notes)
    return table


def _header(name: str) -> str:
    """In lines of a word or two: "frames x", "crops x", "clips"."""
    return textwrap.fill(name, width=9, break_long_words=False)


def _add_rows(
    table: "Table",
    counted: CountedRow,
    *,
    settings: Sequence[str],
    published: Sequence[str],
    figures: Sequence[str],
    notes: Sequence[str],
) -> None:
    """A line for the row with its first count, one for each other; the first three sequences are column names."""
    from rich.text import Text

    row = counted.row
    mark = f" [{notes.index(row.note) + 1}]" if row.note else ""
    cells = [row.name + mark, *(row.settings.get(name, "") for name in settings)]
    cells += [f"{row.published[name]:,}" if name in row.published else "-" for name in published]
    first, *others = counted.counts or (None,)
    table.add_row(*map(Text, cells), *_count_cells(first, figures), style="bold" if first else "")
    for count in others:
        table.add_row(*[""] * len(cells), *_count_cells(count, figures), style="bold")


def _columns(rows: Any) -> list[str]:
    """The names that any of the rows, dictionaries, has a value for, in order."""
    return list(dict.fromkeys(name for row in rows for name, value in row.items() if value != ""))


def _count_cells(count: Count | None, columns: Sequence[str]) -> "list[RenderableType]":
    from rich.text import Text

    if count is None:
        return [""] * (1 + len(columns))
    figures = [count.figures[name] for name in columns]
    return [
        count.model.name.removeprefix("morphmlp_"),
        *(Text(str(figure), style="red" if figure.is_off else "") for figure in figures),
    ]


# ------------------------------------------------------------------------------------------------------------- Fig. 2

PANELS = {1: ("Kinetics-400", "K400 top-1"), 2: ("Something-Something V2", "SSV2 top-1")}
_FAMILIES = {  # colour and marker; told apart without colour too
    "CNN": ("#e8590c", "s"),
    "Transformer": ("#5f3dc4", "^"),
    "MLP-like": (ACCENT, "o"),
}


def plot_accuracy(png_path: str | Path) -> None:
    """Draws Fig. 2: top-1 over the GFLOPs of all views, Kinetics-400 left and Something-Something V2 right.

    2400 x 1000 pixels; the points are the rows of Tables 1 and 2.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with matplotlib.rc_context(figure_style()):
        figure = Figure(figsize=(12, 5), dpi=200, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1, wspace=0.04))
        panels = figure.subplots(1, 2)
        for number, axes in zip(PANELS, panels, strict=True):
            _draw_panel(axes, number)
        panels[0].legend(loc="lower right", frameon=False, labelcolor=INK, fontsize=9)
        figure.draw_without_rendering()  # settles the layout, which the labels are fitted into
        for number, axes in zip(PANELS, panels, strict=True):
            place_labels(axes, _labelled_points(number))
        save_figure(figure, png_path)


def _draw_panel(axes: "Axes", number: int) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    title, column = PANELS[number]
    rows = TABLES[number].rows
    for family, (colour, marker) in _FAMILIES.items():
        points = sorted((row.published[GFLOPS], row.published[column]) for row in rows if row.group == family)
        is_ours = family == "MLP-like"
        axes.plot(
            *zip(*points, strict=True),
            color=colour,
            marker=marker,
            markersize=6,
            linestyle="-" if is_ours else "none",
            label="MorphMLP" if is_ours else family,
        )
    axes.set_title(title, pad=12)
    axes.set_xlabel("GFLOPs of all views (log scale)")
    axes.set_ylabel("top-1 (%)")
    axes.set_xscale("log")
    axes.margins(x=0.16, y=0.1)
    axes.xaxis.set_major_locator(FixedLocator([200, 500, 1000, 2000, 5000, 10000, 20000, 50000]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.set_minor_locator(NullLocator())


@dataclass(frozen=True)
class Label:
    """A point of a panel, in data coordinates, and what stands beside it."""

    x: float
    y: float
    text: str
    is_ours: bool = False


def _labelled_points(number: int) -> list[Label]:
    """One for each point of the panel; methods that share a point share its label."""
    names: dict[tuple[float, float], str] = {}
    ours = set()
    for row in TABLES[number].rows:
        point = row.published[GFLOPS], row.published[PANELS[number][1]]
        name = row.name
        if row.models:
            ours.add(point)
            name = f"{name.removeprefix('MorphMLP-')}, {row.models[0].overrides['frames']} frames"
        names[point] = f"{names[point]} / {name}" if point in names else name
    return [Label(*point, name, is_ours=point in ours) for point, name in names.items()]


_PLACES = [  # where a label may stand, in points from its marker, the best place first
    (7, 0, "left", "center"),
    (-7, 0, "right", "center"),
    (0, 7, "center", "bottom"),
    (0, -7, "center", "top"),
    (5, 5, "left", "bottom"),
    (-5, 5, "right", "bottom"),
    (5, -5, "left", "top"),
    (-5, -5, "right", "top"),
]


def place_labels(axes: "Axes", labels: Sequence[Label]) -> None:
    """Writes each label at the place around its point that covers least of other points, lines, labels and legend.

    The figure's layout must be settled.
    """
    taken = [_box_around(point, axes) for line in axes.lines for point in _pixels_along(line)]
    if legend := axes.get_legend():
        taken.append(legend.get_window_extent())
    for label in sorted(labels, key=lambda label: not label.is_ours):  # our own choose first
        texts = [_write(axes, label, place) for place in _PLACES]
        boxes = [text.get_window_extent() for text in texts]
        best = min(range(len(texts)), key=lambda index: _covered(boxes[index], taken, axes.bbox))
        taken.append(boxes[best])
        for text in texts[:best] + texts[best + 1 :]:
            text.remove()


def _write(axes: "Axes", label: Label, place: tuple[int, int, Any, Any]) -> "Annotation":
    right, up, ha, va = place
    text = axes.annotate(
        label.text,
        (label.x, label.y),
        (right, up),
        textcoords="offset points",
        ha=ha,
        va=va,
        color=ACCENT if label.is_ours else MUTED,
        weight="bold" if label.is_ours else "normal",
        fontsize=8.5,
    )
    text.set_in_layout(False)
    return text


def _pixels_along(line: "Line2D") -> "np.ndarray":
    """The line's markers `[N, 2]` in pixels; where it joins them, 20 points of each stretch between two."""
    import numpy as np

    markers = line.get_transform().transform(line.get_xydata())
    if line.get_linestyle() == "None":
        return markers
    steps = np.linspace(0, 1, 20)[:, None]
    return np.concatenate([a + steps * (b - a) for a, b in pairwise(markers)])


def _box_around(pixel: "np.ndarray", axes: "Axes") -> "Bbox":
    """The square of a marker."""
    from matplotlib.transforms import Bbox

    reach = 5.5 / 72 * axes.figure.dpi  # 5.5 points: a marker of 6, and some air
    return Bbox([pixel - reach, pixel + reach])


def _covered(box: "Bbox", taken: "Sequence[Bbox]", inside: "Bbox") -> float:
    """Pixels of the box that lie on others; those outside count a hundredfold."""
    return sum(_shared(box, other) for other in taken) + 100 * (box.width * box.height - _shared(box, inside))


def _shared(box: "Bbox", other: "Bbox") -> float:
    """Area that two boxes share."""
    from matplotlib.transforms import Bbox

    both = Bbox.intersection(box, other)
    return both.width * both.height if both else 0.0
