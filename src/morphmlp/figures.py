"""Pictures: training curves, confusion matrix, film strips and the overview.

matplotlib and Pillow are imported where they are used: the command line must start fast. Class names are other people's
text and may hold anything: `$`, `<`, `[`, any script.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from morphmlp.files import replace_bytes
from morphmlp.formatting import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from morphmlp.tasks import Evaluation, SamplePrediction

ACCENT, INK, MUTED, FAINT = "#0b7285", "#1f2328", "#6b7280", "#e5e7eb"
TOP_1_AND_5 = (("top-1", "top1"), ("top-5", "top5"))  # names for people, and in the log
MOST_CLASSES_NUMBERED = 30  # beyond it, the confusion matrix hides its numbers


@dataclass(frozen=True)
class Strip:
    """A labelled clip, uint8 `[T, H, W, 3]`, with its most probable classes and their probabilities, best first."""

    frames: np.ndarray
    label: str
    top: list[tuple[str, float]]

    @property
    def is_right(self) -> bool:
        return self.top[0][0] == self.label


def make_strip(frames: np.ndarray, prediction: "SamplePrediction", *, labels: Sequence[str], num_top: int = 3) -> Strip:
    """Joins a clip, uint8 `[T, H, W, 3]`, with what a model said of it; `labels` are the class names."""
    top = [(labels[i], float(prediction.probabilities[i])) for i in prediction.top(num_top)]
    return Strip(frames, labels[prediction.label], top)


def film_strip(frames: np.ndarray, *, count: int = 8, height: int = 96) -> "Image":
    """Evenly spaced frames of a clip, uint8 `[T, H, W, 3]`, side by side; `height` in pixels.

    Of 24 frames, `count=4` shows 0, 8, 15 and 23. A clip with fewer than `count` frames shows each of them once.

    >>> film_strip(render_clip("moving_up", seed=0)).size
    (934, 96)

    Raises:
        ValueError: `frames` has another dtype or shape, or is empty.
    """
    from PIL import Image

    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size:
        raise ValueError(f"frames are {frames.dtype} {list(frames.shape)}; give uint8 [T, H, W, 3], none of them 0")
    gap = 2
    width = max(1, round(height * frames.shape[2] / frames.shape[1]))
    shown = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
    strip = Image.new("RGB", (len(shown) * (width + gap) - gap, height), (22, 24, 28))
    for position, index in enumerate(shown):
        frame = Image.fromarray(np.ascontiguousarray(frames[index]))
        strip.paste(frame.resize((width, height), Image.Resampling.LANCZOS), (position * (width + gap), 0))
    return strip


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a run's `log.jsonl`.

    Unreadable lines are left out: a killed run ends in half a line, and a resumed one may have appended to it.

    Raises:
        ValueError: no line is readable, so the file is something else.
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


def plot_curves(log_path: str | Path, png_path: str | Path, *, title: str | None = None) -> None:
    """Draws losses and learning rate on the left, validation accuracy on the right, over epochs; 1650 x 630 pixels."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import MaxNLocator

    rows = read_log(log_path)
    last_epoch = max((row["epoch"] for row in rows if "epoch" in row), default=0) or 1
    with matplotlib.rc_context(figure_style()):
        figure = Figure(figsize=(11, 4.2), dpi=150, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
        if title:
            figure.suptitle(drawable(title, longest=100), x=0.012, ha="left", fontsize=13, color=INK)
        panels = figure.subplots(1, 2)
        _draw_losses(panels[0], rows)
        _draw_accuracies(panels[1], rows)
        for axes in panels:
            axes.set_xlabel("epoch")
            axes.set_xlim(0, 1.02 * last_epoch)
            axes.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10], integer=last_epoch >= 4))
        save_figure(figure, png_path)


def _draw_losses(axes: "Axes", rows: list[dict[str, Any]]) -> None:
    axes.set_title("Loss")
    epochs, losses = _series(rows, "loss")
    marker = "o" if len(losses) == 1 else None
    _plot(axes, epochs, losses, color=ACCENT, alpha=0.25, linewidth=0.8)
    _plot(axes, epochs, _smooth(losses), color=ACCENT, linewidth=1.8, marker=marker, label="training")
    _plot(axes, *_series(rows, "val_loss"), color=INK, linewidth=1.4, marker="o", markersize=3, label="validation")
    epochs, rates = _series(rows, "lr")
    if (peak := np.nanmax(rates, initial=0)) > 0:
        behind = axes.twinx()
        behind.set_axis_off()
        behind.set_ylim(0, 6 * peak)  # the lowest sixth of the panel
        behind.fill_between(epochs, rates, color=MUTED, alpha=0.12, linewidth=0)
        axes.fill_between([], [], color=MUTED, alpha=0.2, linewidth=0, label=f"learning rate, up to {peak:.1e}")
    _add_legend(axes, loc="upper right", if_empty="no steps logged yet")


def _draw_accuracies(axes: "Axes", rows: list[dict[str, Any]]) -> None:
    axes.set_title("Validation accuracy")
    axes.set_ylim(0, 103)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0f}%")
    masks = any("val_miou" in row for row in rows)
    main, second = (("mIoU", "miou"), ("pixel accuracy", "pixel_accuracy")) if masks else TOP_1_AND_5
    epochs, values = _series(rows, f"val_{main[1]}")
    label = f"{main[0]}, best {percent(np.nanmax(values, initial=0))}"
    _plot(axes, epochs, 100 * values, color=ACCENT, linewidth=1.8, marker="o", markersize=3.5, label=label)
    epochs, values = _series(rows, f"val_{second[1]}")
    _plot(axes, epochs, 100 * values, color=MUTED, linewidth=1.2, marker="o", markersize=2.5, label=second[0])
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
    """Epochs and finite-or-NaN values of the rows with `key`; of a step logged twice, after a resume, the later one."""
    by_step = {row["step"]: (row["epoch"], row[key]) for row in rows if key in row and "step" in row and "epoch" in row}
    values = np.array([by_step[step] for step in sorted(by_step)], dtype=float).reshape(-1, 2)  # None becomes NaN
    return values[:, 0], np.where(np.isfinite(values[:, 1]), values[:, 1], np.nan)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Centred running mean over a twentieth of the values, without the NaN; shorter at the ends.

    Of 100 values the window is 2 * 2 + 1 = 5; value 0 becomes the mean of values 0, 1 and 2.
    """
    reach = len(values) // 40
    smoothed = np.full_like(values, np.nan)  # a NaN stays one, so that the curve of a run that diverged ends there
    for i in np.flatnonzero(np.isfinite(values)):
        smoothed[i] = np.nanmean(values[max(0, i - reach) : i + reach + 1])
    return smoothed


def plot_confusion(evaluation: "Evaluation", png_path: str | Path) -> None:
    """Draws the counts, a row for each label and a column for each prediction, coloured by the share of the row."""
    top1, num_samples = percent(evaluation.accuracy()), len(evaluation.predictions)
    draw_confusion(
        evaluation.confusion(),
        evaluation.labels,
        png_path,
        title=f"Top-1 {top1} of {num_samples:,} {evaluation.unit}",
        note="colour: share of the row",
        write_cells=_draw_counts,
    )


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


def _draw_counts(axes: "Axes", counts: np.ndarray, shares: np.ndarray) -> None:
    edges = np.arange(1, len(counts)) - 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > 0.45 else INK
        size = 10 if len(counts) <= 20 else 7
        axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=colour, fontsize=size)


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


def draw_overview(png_path: str | Path, strips: Sequence[Strip], evaluation: "Evaluation | None" = None) -> None:
    """Draws film strips in two columns, each class above its reverse in time, 1600 pixels wide: the README's picture.

    Strips 0 and 1 are a pair, 2 and 3, and so on. Five pairs and an evaluation fill three rows, 1600 x 724 pixels. The
    dark card with round corners sits well on light and on dark pages.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch

    num_cells = math.ceil(len(strips) / 2) + (evaluation is not None)
    width, height = 1600, 2 * 30 + math.ceil(num_cells / 2) * _CELL_HEIGHT - _CELL_GAP
    corners = [(32 + 794 * (cell % 2), 30 + cell // 2 * _CELL_HEIGHT) for cell in range(num_cells)]
    with matplotlib.rc_context(figure_style()):
        figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="none")
        card = FancyBboxPatch((20, 20), width - 40, height - 40, boxstyle="round,pad=20", color="#14171c", zorder=-1)
        figure.add_artist(card).set_transform(None)  # type: ignore[arg-type]
        for index, strip in enumerate(strips):
            x, y = corners[index // 2]
            _draw_strip(figure, strip, x=x, y=y + (index % 2) * _STRIP_PITCH)
        if evaluation is not None:
            _draw_result(figure, evaluation, x=corners[-1][0], y=corners[-1][1])
        save_figure(figure, png_path, facecolor="none")


_STRIP_HEIGHT, _STRIP_PITCH, _CELL_GAP = 76, 104, 20  # pixels; a strip is 742 wide: 8 frames of 91, 7 gaps of 2
_CELL_HEIGHT = 2 * _STRIP_PITCH + _CELL_GAP


def _draw_strip(figure: "Figure", strip: Strip, *, x: int, y: int) -> None:
    """A line of text and the frames below it; `x` and `y` are pixels of the upper left corner."""
    frame_width = round(_STRIP_HEIGHT * strip.frames.shape[2] / strip.frames.shape[1])
    picture = film_strip(strip.frames, count=max(1, 744 // (frame_width + 2)), height=_STRIP_HEIGHT)
    name, probability = strip.top[0]
    verdict = f"{'✓' if strip.is_right else '✗'} {_as_words(name)} {percent(probability, digits=0)}"
    _write(figure, x, y + 12, _as_words(strip.label), color="#e6e8eb", fontsize=11)
    colour = "#69db7c" if strip.is_right else "#ff8787"
    _write(figure, x + picture.width, y + 12, verdict, color=colour, fontsize=11, ha="right")
    _paste(figure, picture, x=x, y=y + 24)


def _draw_result(figure: "Figure", evaluation: "Evaluation", *, x: int, y: int) -> None:
    """Top-1 in large figures, and the confusion matrix as a small picture."""
    from PIL import Image

    counts = evaluation.confusion()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    low, high = np.array([36, 41, 48]), np.array([102, 217, 232])
    pixels = (low + (high - low) * shares[..., None]).astype(np.uint8)  # [classes, classes, 3]
    side = 2 * _STRIP_PITCH - 28
    _paste(figure, Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST), x=x, y=y + 24)
    x += side + 40
    _write(figure, x, y + 80, percent(evaluation.accuracy()), color="#66d9e8", fontsize=38)
    of_what = f"top-1 of {len(evaluation.predictions):,} {evaluation.unit}, {len(evaluation.labels)} classes"
    _write(figure, x, y + 128, of_what, color="#e6e8eb", fontsize=12)
    _write(figure, x, y + 154, "left: its confusion matrix, a row for each label", color="#9aa3ad", fontsize=11)


def _write(figure: "Figure", x: float, y: float, text: str, **options: Any) -> None:
    options = {"ha": "left", "va": "center", **options}
    figure.text(x / figure.bbox.width, 1 - y / figure.bbox.height, drawable(text, longest=60), **options)


def _paste(figure: "Figure", picture: "Image", *, x: int, y: int) -> None:
    """Puts a picture's pixels unscaled at `x`, `y` of its upper left corner."""
    figure.figimage(np.asarray(picture), xo=x, yo=round(figure.bbox.height) - y - picture.height, origin="upper")


def _as_words(class_name: str) -> str:
    return class_name.replace("_", " ")


def drawable(text: str, *, longest: int) -> str:
    """One line of at most `longest` characters, those that no font has replaced; matplotlib warns of each otherwise."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    fonts = [get_font(findfont(FontProperties(family=family))) for family in font_families()]
    text = " ".join(text.split())
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join(
        c if any(font.get_char_index(ord(c)) for font in fonts) else "\N{REPLACEMENT CHARACTER}" for c in text
    )


@cache
def font_families() -> list[str]:
    """The fonts of choice that are installed; DejaVu Sans comes with matplotlib. Later ones fill in missing letters."""
    from matplotlib.font_manager import fontManager

    latin = ["Inter", "Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"]
    others = [
        "Noto Sans CJK SC",
        "Noto Sans CJK JP",
        "PingFang SC",
        "Hiragino Sans",
        "Microsoft YaHei",
        "Malgun Gothic",
    ]
    installed = set(fontManager.get_font_names())
    return [family for family in latin + others if family in installed]


def figure_style() -> Any:
    return {
        **dict.fromkeys(("axes.labelcolor", "xtick.color", "ytick.color"), MUTED),
        **dict.fromkeys(("axes.edgecolor", "grid.color"), FAINT),
        **dict.fromkeys(("axes.spines.right", "axes.spines.top", "text.usetex"), False),
        **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 0),
        "axes.grid": True,
        "axes.titlecolor": INK,
        "axes.titlelocation": "left",
        "font.family": font_families(),
        "font.size": 10,
        "grid.linewidth": 0.6,
        "text.parse_math": False,  # class names may hold dollar signs
        "xtick.major.pad": 7,
    }


def save_figure(figure: "Figure", path: str | Path, **options: Any) -> None:
    """Writes a PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", **options)
    replace_bytes(path, buffer.getvalue())
