"""The curves of a training, from its log."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from morphmlp.display.style import ACCENT, INK, MUTED, figure
from morphmlp.formatting import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a run's `log.jsonl`.

    Unreadable lines are left out: a killed run ends in half a line, and a resumed run may append to that half.

    Raises:
        ValueError: no line is readable, so the file is not a log.
    """
    lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    if len(lines) > 1 and not rows:
        raise ValueError(f"{path} has no line of JSON: give the log.jsonl of a training run")
    return rows


def plot_curves(
    log_path: str | Path,
    png_path: str | Path,
    *,
    metrics: Mapping[str, str],
    part: Literal["val", "select"] = "val",
    title: str | None = None,
) -> None:
    """Draws losses and learning rate on the left, metrics of a part on the right, over epochs; 1650 x 630 pixels.

    Args:
        metrics: name in the log, without the part, and name for people. Those that the log lacks are left out; the
            first one that it has is the main one, such as {"top1": "top-1", "top5": "top-5"}.
        part: that the epochs are evaluated on: the validation part, or one held out of training to choose by.
    """
    from matplotlib.ticker import MaxNLocator

    rows = read_log(log_path)
    last_epoch = max((row["epoch"] for row in rows if "epoch" in row), default=0) or 1
    with figure(png_path, (11, 4.2), title=title or "", padding=0.12) as canvas:
        panels = canvas.subplots(1, 2)
        _draw_losses(panels[0], rows, part)
        _draw_metrics(panels[1], rows, metrics, part)
        for axes in panels:
            axes.set_xlabel("epoch")
            axes.set_xlim(0, 1.02 * last_epoch)
            axes.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10], integer=last_epoch >= 4))


_PARTS = {"val": "validation", "select": "part to choose by"}


def _draw_losses(axes: "Axes", rows: list[dict[str, Any]], part: str) -> None:
    axes.set_title("Loss")
    epochs, losses = _series(rows, "loss")
    marker = "o" if len(losses) == 1 else None
    _plot(axes, epochs, losses, color=ACCENT, alpha=0.25, linewidth=0.8)
    _plot(axes, epochs, _smooth(losses), color=ACCENT, linewidth=1.8, marker=marker, label="training")
    of_part = _series(rows, f"{part}_loss")
    _plot(axes, *of_part, color=INK, linewidth=1.4, marker="o", markersize=3, label=_PARTS[part])
    epochs, rates = _series(rows, "lr")
    if (peak := np.nanmax(rates, initial=0)) > 0:
        background = axes.twinx()
        background.set_axis_off()
        background.set_ylim(0, 6 * peak)  # the lowest sixth of the panel
        background.fill_between(epochs, rates, color=MUTED, alpha=0.12, linewidth=0)
        axes.fill_between([], [], color=MUTED, alpha=0.2, linewidth=0, label=f"learning rate, up to {peak:.1e}")
    _add_legend(axes, loc="upper right", if_empty="no steps logged yet")


def _draw_metrics(axes: "Axes", rows: list[dict[str, Any]], metrics: Mapping[str, str], part: str) -> None:
    axes.set_title("Validation accuracy" if part == "val" else "Accuracy on the part to choose by")
    axes.set_ylim(0, 103)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0f}%")
    logged = [name for name in metrics if any(f"{part}_{name}" in row for row in rows)]
    for name in logged:
        epochs, values = _series(rows, f"{part}_{name}")
        if name == logged[0]:
            label = f"{metrics[name]}, best {percent(np.nanmax(values, initial=0))}"
            _plot(axes, epochs, 100 * values, color=ACCENT, linewidth=1.8, marker="o", markersize=3.5, label=label)
        else:
            style = {"color": MUTED, "linewidth": 1.2, "marker": "o", "markersize": 2.5}
            _plot(axes, epochs, 100 * values, label=metrics[name], **style)
    _add_legend(axes, loc="lower right", if_empty="no evaluation yet")


def _plot(axes: "Axes", epochs: np.ndarray, values: np.ndarray, **style: Any) -> None:
    if np.isfinite(values).any():  # or the legend would name a line that is not there
        axes.plot(epochs, values, **style)


def _add_legend(axes: "Axes", *, loc: Literal["upper right", "lower right"], if_empty: str) -> None:
    if axes.lines:
        axes.legend(frameon=False, labelcolor=INK, loc=loc)
    else:
        axes.text(0.5, 0.5, if_empty, transform=axes.transAxes, ha="center", va="center", color=MUTED)


def _series(rows: list[dict[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs and values of the rows with `key`, NaN where they are not finite.

    After a resume a step may be logged twice: the later row counts.
    """
    by_step = {row["step"]: (row["epoch"], row[key]) for row in rows if key in row and "step" in row and "epoch" in row}
    values = np.array([by_step[step] for step in sorted(by_step)], dtype=float).reshape(-1, 2)  # None becomes NaN
    return values[:, 0], np.where(np.isfinite(values[:, 1]), values[:, 1], np.nan)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Centred running mean over a twentieth of the values; it leaves out NaN, and is shorter at the ends.

    Of 100 values the window is 2 * 2 + 1 = 5; value 0 becomes the mean of values 0, 1 and 2.
    """
    reach = len(values) // 40
    smoothed = np.full_like(values, np.nan)  # a NaN stays: the curve of a run that diverged ends there
    for i in np.flatnonzero(np.isfinite(values)):
        smoothed[i] = np.nanmean(values[max(0, i - reach) : i + reach + 1])
    return smoothed
