"""A confusion matrix as a picture."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

from morphmlp.display.style import ACCENT, INK, MUTED, drawable, figure_style, save_figure

MOST_CLASSES_NUMBERED = 30  # beyond it, the confusion matrix hides its numbers


def draw_confusion(
    counts: np.ndarray,
    labels: Sequence[str],
    png_path: str | Path,
    *,
    title: str,
    note: str,
    write_cells: Callable[["Axes", np.ndarray, np.ndarray], None],
) -> None:
    """Draws counts `[label, predicted]` by their share of the row; few cells are written into by `write_cells`."""
    import matplotlib
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm
    from matplotlib.figure import Figure

    num_classes = len(labels)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    in_full = num_classes <= MOST_CLASSES_NUMBERED
    side = float(np.clip(0.45 * num_classes, 2.6, 9))  # inches
    with matplotlib.rc_context(figure_style()):
        figure = Figure(figsize=(side, side), dpi=150)
        axes = figure.add_axes((0, 0, 1, 1))
        colours = LinearSegmentedColormap.from_list("share", ["#f1f3f5", "#74b6c2", ACCENT, "#07424d"])
        # With hundreds of classes a label's errors spread thinly: the root of the share keeps them visible.
        picture = axes.imshow(shares, cmap=colours, norm=PowerNorm(1 if in_full else 0.5, 0, 1))
        place = axes.inset_axes((1 + 0.15 / side, 0, 0.12 / side, 1))
        bar = figure.colorbar(picture, cax=place, ticks=[0, 0.25, 0.5, 0.75, 1], format=lambda share, _: f"{share:.0%}")
        bar.outline.set_visible(False)  # type: ignore[operator]
        place.grid(visible=False)
        if in_full:
            write_cells(axes, counts, shares)
        _name_classes(axes, labels, size=9 if num_classes <= 20 else 7)
        axes.set_title(f"{title}\n", fontsize=12, color=INK)
        axes.text(0, 1 + 0.1 / side, note, transform=axes.transAxes, color=MUTED, fontsize=9)
        save_figure(figure, png_path, bbox_inches="tight", pad_inches=0.3)


def _name_classes(axes: "Axes", labels: Sequence[str], *, size: int) -> None:
    """Names at most 45 classes on each axis, evenly spaced."""
    step = math.ceil(len(labels) / 45)
    names, places = [drawable(name, longest=36) for name in labels[::step]], range(0, len(labels), step)
    note = "" if step == 1 else f" (1 in {step} named)"
    axes.set_xticks(places, names, fontsize=size, rotation=90 if step > 1 else 45, ha="right", rotation_mode="anchor")
    if step > 1:
        for text in axes.get_xticklabels():
            text.set(va="center")
    axes.set_yticks(places, names, fontsize=size)
    axes.set_xlabel(f"prediction{note}", fontsize=11, labelpad=10)
    axes.set_ylabel(f"label{note}", fontsize=11, labelpad=10)
    axes.grid(visible=False, which="major")
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
