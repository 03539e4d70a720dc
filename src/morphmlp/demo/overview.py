"""The README's picture: film strips in pairs, and the confusion matrix."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from morphmlp.display.film_strip import film_strip
from morphmlp.display.style import drawable, figure
from morphmlp.formatting import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from morphmlp.tasks.classification.evaluation import Evaluation, SamplePrediction


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
    """Joins a clip, uint8 `[T, H, W, 3]`, with a model's prediction of it; `labels` are the class names."""
    top = [(labels[i], float(prediction.probabilities[i])) for i in prediction.top(num_top)]
    return Strip(frames, labels[prediction.label], top)


def draw_overview(png_path: str | Path, strips: Sequence[Strip], evaluation: "Evaluation | None" = None) -> None:
    """Draws film strips in two columns, each class above its reverse in time, 1600 pixels wide: the README's picture.

    Strips 0 and 1 are a pair, 2 and 3, and so on. Five pairs and an evaluation fill three rows, 1600 x 724 pixels. The
    dark card with round corners sits well on light and on dark pages.
    """
    from matplotlib.patches import FancyBboxPatch
    from matplotlib.transforms import IdentityTransform

    num_cells = math.ceil(len(strips) / 2) + (evaluation is not None)
    width, height = 1600, 2 * 30 + math.ceil(num_cells / 2) * _CELL_HEIGHT - _CELL_GAP
    corners = [(32 + 794 * (cell % 2), 30 + cell // 2 * _CELL_HEIGHT) for cell in range(num_cells)]
    size = width / 100, height / 100
    with figure(png_path, size, dpi=100, layout="none", facecolor="none") as canvas:
        card = FancyBboxPatch((20, 20), width - 40, height - 40, boxstyle="round,pad=20", color="#14171c", zorder=-1)
        card.set_transform(IdentityTransform())  # it is placed in pixels
        canvas.add_artist(card)
        for index, strip in enumerate(strips):
            x, y = corners[index // 2]
            _draw_strip(canvas, strip, x=x, y=y + (index % 2) * _STRIP_PITCH)
        if evaluation is not None:
            _draw_result(canvas, evaluation, x=corners[-1][0], y=corners[-1][1])


_STRIP_HEIGHT, _STRIP_PITCH, _CELL_GAP = 76, 104, 20  # pixels; a strip is 742 wide: 8 frames of 91, 7 gaps of 2
_CELL_HEIGHT = 2 * _STRIP_PITCH + _CELL_GAP


def _draw_strip(canvas: "Figure", strip: Strip, *, x: int, y: int) -> None:
    """A line of text and the frames below it; `x` and `y` are pixels of the upper left corner."""
    frame_width = round(_STRIP_HEIGHT * strip.frames.shape[2] / strip.frames.shape[1])
    picture = film_strip(strip.frames, count=max(1, 744 // (frame_width + 2)), height=_STRIP_HEIGHT)
    name, probability = strip.top[0]
    verdict = f"{'✓' if strip.is_right else '✗'} {_as_words(name)} {percent(probability, digits=0)}"
    _write(canvas, x, y + 12, _as_words(strip.label), color="#e6e8eb", fontsize=11)
    colour = "#69db7c" if strip.is_right else "#ff8787"
    _write(canvas, x + picture.width, y + 12, verdict, color=colour, fontsize=11, ha="right")
    _paste(canvas, picture, x=x, y=y + 24)


def _draw_result(canvas: "Figure", evaluation: "Evaluation", *, x: int, y: int) -> None:
    """Top-1 in large figures, and the confusion matrix as a small picture."""
    from PIL import Image

    counts = evaluation.confusion()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    low, high = np.array([36, 41, 48]), np.array([102, 217, 232])
    pixels = (low + (high - low) * shares[..., None]).astype(np.uint8)  # [classes, classes, 3]
    side = 2 * _STRIP_PITCH - 28
    _paste(canvas, Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST), x=x, y=y + 24)
    x += side + 40
    _write(canvas, x, y + 80, percent(evaluation.accuracy()), color="#66d9e8", fontsize=38)
    of_what = f"top-1 of {len(evaluation.predictions):,} {evaluation.unit}, {len(evaluation.labels)} classes"
    _write(canvas, x, y + 128, of_what, color="#e6e8eb", fontsize=12)
    _write(canvas, x, y + 154, "left: its confusion matrix, a row for each label", color="#9aa3ad", fontsize=11)


def _write(canvas: "Figure", x: float, y: float, text: str, **options: Any) -> None:
    options = {"ha": "left", "va": "center", **options}
    canvas.text(x / canvas.bbox.width, 1 - y / canvas.bbox.height, drawable(text, longest=60), **options)


def _paste(canvas: "Figure", picture: "Image", *, x: int, y: int) -> None:
    """Puts a picture's pixels unscaled at `x`, `y` of its upper left corner."""
    canvas.figimage(np.asarray(picture), xo=x, yo=round(canvas.bbox.height) - y - picture.height, origin="upper")


def _as_words(class_name: str) -> str:
    return class_name.replace("_", " ")
