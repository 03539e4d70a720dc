"""Pictures of masks: colours for classes, images with their classes laid over them, and legends.

A mask is uint8 `[H, W]`: class indices, and 255 (`IGNORED`) where there is none. matplotlib and Pillow are imported
where they are used: the command line must start fast.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from morphmlp.display.confusion import MOST_CLASSES_NUMBERED, draw_confusion
from morphmlp.display.style import INK, MUTED, drawable, font_families
from morphmlp.formatting import percent
from morphmlp.tasks.segmentation.annotations import IGNORED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

NO_CLASS_COLOUR = (24, 26, 30)
OPACITY = 0.55  # of the colours over an image
PAPER = "#ffffff"

LEAST_WIDTH, LARGEST_ENLARGED = 640, 2048  # px: small pictures are enlarged to the first, but not beyond the second
LONGEST_NAME = 36  # characters


@dataclass(frozen=True)
class LegendEntry:
    """A line of a legend: a colour, its meaning, and a figure after it."""

    colour: tuple[int, int, int]
    name: str
    note: str = ""


def draw_overlay(image: np.ndarray, mask: np.ndarray, labels: Sequence[str]) -> "Image":
    """An image uint8 `[H, W, 3]` under the colours of its mask, and below it the classes that it shows, largest first.

    Small images are enlarged, so that the legend can be read.
    """
    height, width = mask.shape
    factor = max(1, min(math.ceil(LEAST_WIDTH / width), LARGEST_ENLARGED // max(height, width)))
    size = (width * factor, height * factor)
    picture = blend(_resized(image, size), _resized(mask, size, mixed=False), num_classes=len(labels))
    return with_legend(picture, legend(labels, area_shares(mask, len(labels))))


def area_shares(mask: np.ndarray, num_classes: int) -> list[tuple[int, float]]:
    """The classes in a mask with their shares of its pixels, largest first; pixels without a class count as area."""
    counts = np.bincount(mask.ravel(), minlength=256)[:num_classes]
    order = np.argsort(-counts, kind="stable")
    return [(int(i), float(counts[i] / mask.size)) for i in order if counts[i]]


def colour_mask(mask: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Class indices, 255 for none, as colours: uint8 `[H, W]` and `[num_classes, 3]` -> uint8 `[H, W, 3]`."""
    return full_palette(colours)[mask]


def full_palette(colours: np.ndarray) -> np.ndarray:
    """256 colours, uint8 `[256, 3]`: those of the classes, and nearly black for every other value."""
    table = np.full((256, 3), NO_CLASS_COLOUR, dtype=np.uint8)
    table[: len(colours)] = colours
    return table


def blend(image: np.ndarray, mask: np.ndarray, *, num_classes: int, opacity: float = OPACITY) -> np.ndarray:
    """An image uint8 `[H, W, 3]` under the colours of its mask `[H, W]`, with white lines between the classes.

    Pixels without a class stay as they are.
    """
    from PIL import Image

    colours = np.where((mask == IGNORED)[..., None], image, colour_mask(mask, palette(num_classes)))
    blended = np.array(Image.blend(Image.fromarray(np.ascontiguousarray(image)), Image.fromarray(colours), opacity))
    blended[_borders(mask, thickness=max(1, round(math.sqrt(mask.size) / 500)))] = 255
    return blended


def _borders(mask: np.ndarray, *, thickness: int) -> np.ndarray:
    """Pixels `[H, W]`, bool, within `thickness` px after a change of class, from the left or from above."""
    borders = np.zeros(mask.shape, dtype=bool)
    borders[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    borders[1:] |= mask[1:] != mask[:-1]
    thick = borders.copy()
    for shift in range(1, thickness):
        thick[:, shift:] |= borders[:, :-shift]
        thick[shift:] |= borders[:-shift]
    return thick


def _resized(pixels: np.ndarray, size: tuple[int, int], *, mixed: bool = True) -> np.ndarray:
    """A picture `[H, W]` or `[H, W, 3]` at a width and height in px; those of a mask must not be mixed."""
    from PIL import Image

    how = Image.Resampling.LANCZOS if mixed else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, how))


def legend(labels: Sequence[str], shares: Sequence[tuple[int, float]]) -> list[LegendEntry]:
    """The entries of the classes in `shares`, in that order, each with its share of the area."""
    colours = palette(len(labels)).tolist()
    return [LegendEntry(tuple(colours[i]), labels[i], _as_percent(share)) for i, share in shares]


def _as_percent(share: float) -> str:
    return percent(share) if share >= 0.0005 else "<0.1%"


def with_legend(picture: np.ndarray, entries: Sequence[LegendEntry]) -> "Image":
    """A picture uint8 `[H, W, 3]` above its legend, on paper as wide as the picture, at least `LEAST_WIDTH`.

    Entries are in columns of equal width, filled row by row. The letters grow with the width, so that they can be read
    where the whole picture is seen.
    """
    from PIL import Image, ImageDraw

    width = max(LEAST_WIDTH, picture.shape[1])
    size = round(max(15, min(width / 50, 80)))  # of the letters, px
    columns, column_width = _columns(entries, width - 2 * size, size)
    num_rows = math.ceil(len(entries) / columns)
    line = round(1.7 * size)
    canvas = Image.new("RGB", (width, picture.shape[0] + num_rows * line + 2 * size), PAPER)
    canvas.paste(Image.fromarray(picture), ((width - picture.shape[1]) // 2, 0))
    draw = ImageDraw.Draw(canvas)
    for position, entry in enumerate(entries):
        row, column = divmod(position, columns)
        y = picture.shape[0] + size + (row + 0.5) * line
        _draw_entry(draw, entry, x=size + column * column_width, y=y, size=size)
    return canvas


def _columns(entries: Sequence[LegendEntry], width: float, size: int) -> tuple[int, float]:
    """How many columns of entries fit into `width` px, and the width of one."""
    widest = max((_text_width(_as_written(entry), size) for entry in entries), default=0) + 4 * size
    columns = max(1, min(int(width / widest), len(entries)))
    return columns, min(width / columns, 1.3 * widest)


def _as_written(entry: LegendEntry) -> str:
    return f"{_shortened(entry.name)}  {entry.note}".rstrip()


def _draw_entry(draw: "ImageDraw", entry: LegendEntry, *, x: float, y: float, size: int) -> None:
    """A swatch, the name, and the note; `x` is the left end, `y` the middle."""
    draw.rounded_rectangle((x, y - size / 2, x + size, y + size / 2), radius=size / 4, fill=entry.colour)
    name = _shortened(entry.name)
    _write(draw, x + 1.5 * size, y, name, size=size, colour=INK)
    _write(draw, x + 2.1 * size + _text_width(name, size), y, entry.note, size=size, colour=MUTED)


def _write(draw: "ImageDraw", x: float, y: float, text: str, *, size: int, colour: str) -> None:
    """A line of text; `x` is its left end, `y` the middle of its letters."""
    draw.text((x, y), text, font=_font(text, size), fill=colour, anchor="lm")


def _text_width(text: str, size: int) -> float:
    return _font(text, size).getlength(text)


def _shortened(name: str) -> str:
    return drawable(name, longest=LONGEST_NAME)


def _font(text: str, size: int) -> "FreeTypeFont":
    """Of the installed fonts of choice, the first that has most of the text's letters."""
    from matplotlib.font_manager import FontProperties, findfont, get_font
    from PIL import ImageFont

    paths = [findfont(FontProperties(family=family)) for family in font_families()]
    best = max(paths, key=lambda path: sum(get_font(path).get_char_index(ord(letter)) > 0 for letter in text))
    return ImageFont.truetype(best, size)


def plot_mask_confusion(confusion: np.ndarray, labels: Sequence[str], png_path: str | Path, *, title: str) -> None:
    """Draws pixels `[annotated, predicted]`, coloured by the share of the row, which few classes also print."""
    note = "numbers: percent of the pixels of each row" if len(labels) <= MOST_CLASSES_NUMBERED else "share of the row"
    draw_confusion(confusion, labels, png_path, title=title, note=note, write_cells=_draw_shares)


def _draw_shares(axes: "Axes", counts: np.ndarray, shares: np.ndarray) -> None:
    for row, column in np.argwhere(shares >= 0.005):
        colour = "white" if shares[row, column] > 0.45 else INK
        size = 10 if len(shares) <= 20 else 7
        axes.text(
            column, row, f"{100 * shares[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=size
        )


def mask_picture(mask: np.ndarray, num_classes: int) -> "Image":
    """A palette picture (mode P): its values are the class indices `[H, W]`, and it is seen in their colours."""
    from PIL import Image

    picture = Image.fromarray(mask)
    picture.putpalette(full_palette(palette(num_classes)).tobytes())
    return picture


@cache
def palette(num_classes: int) -> np.ndarray:
    """A colour for each class, uint8 `[num_classes, 3]`; a class has the same colour however many there are.

    Sixteen are chosen by hand. Each later one is, of a grid of colours neither dull nor glaring, the farthest from all
    before it to the eye: distances are Euclidean in OKLab.

    >>> palette(2).tolist()
    [[42, 132, 168], [244, 180, 50]]
    """
    candidates, candidates_lab = _candidate_colours()
    colours = list(_FIRST_COLOURS)
    distances = np.min([np.linalg.norm(candidates_lab - lab, axis=1) for lab in _oklab(_FIRST_COLOURS)], axis=0)
    while len(colours) < num_classes:
        farthest = distances.argmax()
        colours.append(candidates[farthest])
        distances = np.minimum(distances, np.linalg.norm(candidates_lab - candidates_lab[farthest], axis=1))
    return np.array(colours[:num_classes], dtype=np.uint8)


_FIRST_COLOURS = np.array(
    [
        *([42, 132, 168], [244, 180, 50], [197, 61, 86], [108, 176, 84]),
        *([122, 88, 176], [232, 125, 62], [70, 190, 180], [232, 140, 180]),
        *([140, 100, 66], [60, 86, 160], [172, 206, 70], [126, 182, 230]),
        *([30, 110, 80], [170, 70, 150], [235, 205, 160], [128, 134, 150]),
    ]
)
LIGHTNESS, CHROMA = (0.45, 0.88), (0.06, 0.18)  # of the candidates, in OKLab


def _candidate_colours() -> tuple[np.ndarray, np.ndarray]:
    """RGB `[N, 3]` of the colours to choose from, and their OKLab values."""
    levels = np.arange(0, 256, 17)
    rgb = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _oklab(rgb)
    lightness, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    good = (lightness >= LIGHTNESS[0]) & (lightness <= LIGHTNESS[1]) & (chroma >= CHROMA[0]) & (chroma <= CHROMA[1])
    return rgb[good], lab[good]


def _oklab(rgb: np.ndarray) -> np.ndarray:
    """sRGB 0 to 255 `[..., 3]` -> OKLab lightness 0 to 1 and two colour axes (Ottosson 2020)."""
    share = rgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _TO_CONES.T) @ _TO_LAB.T


_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
