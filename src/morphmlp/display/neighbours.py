"""A sheet of what is most alike: in each row a film strip and the strips nearest to it, as PNG and as one HTML file."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from morphmlp.display.film_strip import film_strip
from morphmlp.display.page import CSS, TEMPLATE, escape, inline
from morphmlp.display.style import INK, MUTED, drawable, figure, hide_frame
from morphmlp.files import replaced_file
from morphmlp.formatting import encodable

STRIP_HEIGHT = 72  # px
_CSS = """
table { border-collapse: collapse; width: 100%; }
td { padding: 8px; vertical-align: top; border-top: 1px solid var(--line); }
td img { display: block; max-width: 100%; border-radius: 4px; } td:first-child { border-right: 1px solid var(--line); }
td p { font-size: .8rem; overflow-wrap: anywhere; } td em { color: var(--muted); font-style: normal; }
main { max-width: none; } .sheet { overflow-x: auto; }
"""


class SheetStrip(NamedTuple):
    """Frames uint8 `[T, H, W, 3]` of a file or window, its name, its label or "", and how alike it is or ""."""

    frames: np.ndarray
    name: str
    label: str
    figure: str


class SheetRow(NamedTuple):
    """A file or window, and those that are most alike, best first."""

    query: SheetStrip
    nearest: list[SheetStrip]


def write_sheet(folder: Path, rows: list[SheetRow], *, title: str) -> None:
    """Writes `nearest.png` and `nearest.html`."""
    _draw(folder / "nearest.png", rows, title=title)
    body = "\n".join(f"<tr>{''.join(map(_cell, (row.query, *row.nearest)))}</tr>" for row in rows)
    page = f'<header><h1>{escape(title)}</h1></header>\n<div class="sheet"><table>\n{body}\n</table></div>'
    with replaced_file(folder / "nearest.html") as file:
        file.write(encodable(TEMPLATE.format(title=escape(title), css=CSS + _CSS, body=page)))


def _cell(strip: SheetStrip) -> str:
    picture = inline(film_strip(strip.frames, count=len(strip.frames), height=STRIP_HEIGHT))
    beside = " ".join(escape(text) for text in (strip.label, strip.figure) if text)
    return f'<td><img src="{picture}" alt=""><p>{escape(strip.name)} <em>{beside}</em></p></td>'


def _draw(path: Path, rows: list[SheetRow], *, title: str) -> None:
    columns = 1 + max(len(row.nearest) for row in rows)
    with figure(path, (3.2 * columns, 0.95 * len(rows) + 0.5), title=title, dpi=100) as canvas:
        grid = canvas.subplots(len(rows), columns, squeeze=False)
        for panels, row in zip(grid, rows, strict=True):
            for axes in panels:
                hide_frame(axes)
            for axes, strip in zip(panels, (row.query, *row.nearest), strict=False):
                axes.imshow(film_strip(strip.frames, count=len(strip.frames), height=STRIP_HEIGHT))
                texts = " · ".join(text for text in (strip.figure, strip.label, strip.name) if text)
                colour = MUTED if strip.figure else INK
                axes.set_title(drawable(encodable(texts), longest=48), fontsize=7, color=colour, pad=2)
