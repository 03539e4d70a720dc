"""A reliability diagram: how often the answers of a probability are right (Guo et al. 2017, Fig. 1)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from morphmlp.display.style import ACCENT, FAINT, INK, MUTED, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BinRow = tuple[float, float, int, float, float]  # low, high, samples, mean probability, accuracy


def draw_reliability(
    png_path: str | Path,
    panels: Mapping[str, Sequence[BinRow]],
    *,
    title: str,
    threshold: float | None = None,
) -> None:
    """Draws a panel for each heading: accuracy over the probability of the winning class, and below it the samples.

    Args:
        panels: bins by heading; a bin's mean probability and accuracy are NaN where it has no samples.
        threshold: a line in the last panel; none for None.
    """
    with figure(png_path, (4.6 * len(panels) + 0.4, 5.4), title=title, padding=0.1) as canvas:
        grid = canvas.subplots(2, len(panels), sharex=True, squeeze=False, height_ratios=[4, 1])
        for column, (heading, bins) in enumerate(panels.items()):
            _draw_accuracy(grid[0, column], bins)
            _draw_samples(grid[1, column], bins)
            grid[0, column].set_title(heading, fontsize=11)
        for axes in grid[:, -1] if threshold is not None else ():
            axes.axvline(threshold, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
        handles, names = grid[0, 0].get_legend_handles_labels()
        canvas.legend(
            handles,
            names,
            loc="outside lower center",
            ncols=min(3, 1 + len(panels)),
            frameon=False,
            labelcolor=INK,
            fontsize=9,
        )
        if threshold is not None:
            _name_threshold(grid[0, -1], threshold)


def _draw_accuracy(axes: "Axes", bins: Sequence[BinRow]) -> None:
    low, high, samples, probability, accuracy = np.array(bins, dtype=float).T
    filled = samples > 0
    middle, width = (low + high)[filled] / 2, 0.92 * (high - low)[filled]
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, zorder=3, label="right as often as they say")
    axes.bar(middle, accuracy[filled], width=width, color=ACCENT, alpha=0.85, label="accuracy", zorder=2)
    dots = {"marker": "o", "markersize": 4, "linestyle": "none", "color": INK, "zorder": 4}
    axes.plot(probability[filled], accuracy[filled], label="at the mean probability", **dots)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.03)  # room for a dot at 100 %
    axes.set_ylabel("accuracy")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def _draw_samples(axes: "Axes", bins: Sequence[BinRow]) -> None:
    filled = np.array([row for row in bins if row[2]], dtype=float).reshape(-1, 5)
    low, high, samples, *_ = filled.T
    shares = samples / max(samples.sum(), 1)
    axes.bar((low + high) / 2, shares, width=0.92 * (high - low), color=FAINT, edgecolor=MUTED)
    axes.set_ylim(0, 1)
    axes.set_ylabel("samples")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("probability of the winning class")


def _name_threshold(axes: "Axes", threshold: float) -> None:
    on_left = threshold > 0.5
    place = (threshold + (-0.015 if on_left else 0.015), 0.04)
    words = {"color": INK, "fontsize": 9, "ha": "right" if on_left else "left", "zorder": 5}
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
    axes.text(*place, f"refused below {threshold:.0%}", bbox=box, **words)
