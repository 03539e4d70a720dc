"""A confusion matrix as a picture."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from morphmlp.display.style import INK, MUTED, accent_colours, colour_bar, drawable, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CLASSES_NUMBERED = 30  # a larger matrix shows colours only


def draw_confusion(
    counts: np.ndarray,
    labels: Sequence[str],
    png_path: str | Path,
    *,
    title: str,
    note: str,
    write_cells: Callable[["Axes", np.ndarray, np.ndarray], None],
) -> None:
    """Draws counts `[label, predicted]`, coloured by their share of the row.

    Args:
        write_cells: writes into the cells of a small matrix, given its panel, the counts and their shares.
    """
    from matplotlib.colors import PowerNorm

    num_classes = len(labels)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    in_full = num_classes <= MOST_CLASSES_NUMBERED
    side = float(np.clip(0.45 * num_classes, 2.6, 9))  # inches
    with figure(png_path, (side, side), layout="none", crop=True) as canvas:
        axes = canvas.add_axes((0, 0, 1, 1))
        # With hundreds of classes a label's errors spread thinly: the root of the share keeps them visible.
        picture = axes.imshow(shares, cmap=accent_colours(), norm=PowerNorm(1 if in_full else 0.5, 0, 1))
        place = axes.inset_axes((1 + 0.15 / side, 0, 0.12 / side, 1))
        place.grid(visible=False)
        ticks = [0, 0.25, 0.5, 0.75, 1]
        colour_bar(canvas, picture, cax=place, ticks=ticks, format=lambda share, _: f"{share:.0%}")
        if in_full:
            write_cells(axes, counts, shares)
        _name_classes(axes, labels, size=9 if num_classes <= 20 else 7)
        axes.set_title(f"{title}\n", fontsize=12, color=INK)
        axes.text(0, 1 + 0.1 / side, note, transform=axes.transAxes, color=MUTED, fontsize=9)


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
