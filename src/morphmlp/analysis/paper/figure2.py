"""Figure 2 of the paper, drawn from its tables."""

from pathlib import Path
from typing import TYPE_CHECKING

from morphmlp.analysis.paper.published import GFLOPS, TABLES
from morphmlp.display.style import ACCENT, INK, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
from morphmlp.display.point_labels import Label, place_labels

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
    with figure(png_path, (12, 5), dpi=200, padding=0.1) as canvas:
        panels = canvas.subplots(1, 2)
        for number, axes in zip(PANELS, panels, strict=True):
            _draw_panel(axes, number)
        panels[0].legend(loc="lower right", frameon=False, labelcolor=INK, fontsize=9)
        canvas.draw_without_rendering()  # settles the layout: the labels are placed in it
        for number, axes in zip(PANELS, panels, strict=True):
            place_labels(axes, _labelled_points(number))


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
