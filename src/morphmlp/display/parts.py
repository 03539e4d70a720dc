"""Parts of pages, as HTML, from values that they are handed: figures, charts, film strips with an answer, tables."""

from collections.abc import Iterable, Sequence

import numpy as np

from morphmlp.display.film_strip import film_strip
from morphmlp.display.page import escape, inline
from morphmlp.formatting import clamp, percent

STRIP_BYTES = 32_000  # of a film strip on a page of many

PARTS_CSS = """
nav { display: flex; flex-wrap: wrap; gap: 8px 20px; margin-top: 24px; font-size: .9rem; }
a { color: var(--accent); } a:focus-visible, summary:focus-visible, [tabindex]:focus-visible {
  outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 2px; }
.facts small { display: block; font-size: .8rem; font-weight: 400; color: var(--muted); }
section > p { max-width: 48em; margin: 20px 0; } section { scroll-margin-top: 16px; }
h3 { font-size: 1rem; margin: 32px 0 12px; overflow-wrap: anywhere; }
p, li, h1, h2 { overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .9rem; }
caption { text-align: left; color: var(--muted); padding-bottom: 8px; }
th, td { padding: 8px 12px 8px 0; border-bottom: 1px solid var(--line); text-align: right; }
th { font-weight: 600; vertical-align: bottom; } tbody th { font-weight: 400; }
th:first-child { text-align: left; overflow-wrap: anywhere; min-width: 9em; }
td:last-child, th:last-child { padding-right: 0; }
.range { position: relative; display: block; width: 220px; height: 12px; border-radius: 6px; background: var(--line); }
.range b { position: absolute; top: 3px; height: 6px; border-radius: 3px; background: var(--muted); min-width: 2px; }
.range i { position: absolute; top: 0; width: 4px; height: 12px; margin-left: -2px; background: var(--ink); }
tr.own .range b { background: var(--accent); } tr.own th { font-weight: 600; }
details { margin: 16px 0; } summary { cursor: pointer; color: var(--accent); padding: 4px 0; }
details ul { list-style: none; padding: 8px 0; font-size: .875rem; } details li { display: block; padding: 4px 0; }
.verdict { border-left: 4px solid var(--accent); padding: 8px 16px; background: var(--card); margin: 16px 0; }
.verdict.bad { border-color: var(--wrong); }
article p { padding: 0 20px 16px; color: var(--muted); font-size: .8rem; overflow-wrap: anywhere; }
article img { min-height: 24px; }
.strips { grid-template-columns: repeat(auto-fill, minmax(min(320px, 100%), 1fr)); }
.charts img { max-height: 560px; } .charts { margin: 20px 0; }
.stills { grid-template-columns: repeat(auto-fill, minmax(min(220px, 100%), 1fr)); }
.stills article img { width: auto; max-width: 100%; margin: 16px auto 0; }
.pair { display: grid; gap: 2px; }
td { white-space: nowrap; }
@media (max-width: 560px) { .range { display: none; } th:first-child { min-width: 7em; } h2 { margin-top: 48px; }
  th, td { padding-right: 8px; } }
@media print { details { display: block; } article { break-inside: avoid; } }
"""


def facts(items: Iterable[tuple[str, str] | tuple[str, str, str]]) -> str:
    """Names and values of headline figures, the first highlighted; a third text is small, below the value."""
    shown = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}{_small(more)}</dd></div>" for name, value, *more in items
    )
    return f"<dl class='facts'>{shown}</dl>" if shown else ""


def _small(more: Sequence[str]) -> str:
    return f"<small>{escape(more[0])}</small>" if more and more[0] else ""


def chart(caption: str, url: str, *, alt: str | None = None) -> str:
    """A drawing on white, whose lightness is inverted in dark mode; `url` is that of `page.inline`."""
    alt = escape(caption if alt is None else alt)
    return f"<figure><img src='{url}' alt='{alt}'><figcaption>{escape(caption)}</figcaption></figure>"


def strips(cards: Sequence[str], *, if_empty: str, stills: bool = False) -> str:
    """Cards of `strip_card` side by side; `stills` are single pictures, and take less room."""
    if not cards:
        return f"<p class='none'>{escape(if_empty)}</p>"
    return f"<div class='strips{' stills' if stills else ''}'>{''.join(cards)}</div>"


def strip_card(
    frames: np.ndarray,
    *,
    label: str,
    top: Sequence[tuple[str, float]],
    note: str = "",
    what: str = "video",
    count: int = 8,
    height: int = 96,
    most_bytes: int | None = None,
) -> str:
    """A clip, uint8 `[T, H, W, 3]`, with its label and its most probable classes, best first.

    Args:
        note: below it, such as the name of the file.
        what: is shown, for those who do not see it.
        count, height: see `film_strip`.
        most_bytes: of the picture.
    """
    is_right = top[0][0] == label
    verdict, mark = ("right", "✓") if is_right else ("wrong", "✗")
    bars = "".join(_bar(name, probability) for name, probability in top)
    picture = inline(film_strip(frames, count=count, height=height), most_bytes=most_bytes)
    return (
        f"<article class='{verdict}'><img src='{picture}' alt='{_alt(what, label)}'>"
        f"<dl><dt>label</dt><dd>{escape(label)}</dd><dt>predicted</dt><dd class='predicted'>"
        f"<span role='img' aria-label='{verdict}'>{mark}</span> {escape(top[0][0])}</dd></dl>"
        f"<ol>{bars}</ol>{f'<p>{escape(note)}</p>' if note else ''}</article>"
    )


def pair_card(clips: Sequence[tuple[str, np.ndarray]], rows: Sequence[tuple[str, str]], *, what: str = "video") -> str:
    """Clips one above the other, each with words for those who do not see it, and names with values below them."""
    height = 180 if what == "image" else 84
    urls = [inline(film_strip(frames, count=5, height=height), most_bytes=STRIP_BYTES) for _, frames in clips]
    pictures = "".join(
        f"<img src='{url}' alt='{_alt(what, words)}'>" for url, (words, _) in zip(urls, clips, strict=True)
    )
    names = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    return f"<article><div class='pair'>{pictures}</div><dl>{names}</dl><p></p></article>"


def _alt(what: str, label: str) -> str:
    return escape(f"An image of {label}" if what == "image" else f"Frames of a {what} of {label}, in order")


def _bar(name: str, probability: float) -> str:
    bar = f"<i aria-hidden='true'><b style='width:{100 * clamp(probability):.1f}%'></b></i>"
    return f"<li><span>{escape(name)}</span>{bar}<em>{percent(probability)}</em></li>"


def figure_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str, own: int | None = None
) -> str:
    """A table whose first column names its rows; on narrow screens it moves sideways, also by the keyboard.

    Args:
        rows: cells as HTML: texts through `escape`, or such as `range_bar`.
        caption: what it shows.
        own: the number of the row to mark.
    """
    head = "".join(f"<th scope='col'>{escape(heading)}</th>" for heading in headings)
    body = "".join(
        f"<tr{' class=own' if number == own else ''}><th scope='row'>{row[0]}</th>"
        f"{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>\n"
        for number, row in enumerate(rows)
    )
    return (
        f"<div class='wide' tabindex='0' role='region' aria-label='{escape(caption)}'><table><caption>{escape(caption)}"
        f"</caption><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>"
    )


def range_bar(value: float, interval: tuple[float, float] | None) -> str:
    """A share as a mark on a line from 0 to 1, with its interval; the figures are to be beside it as text."""
    low, high = interval or (value, value)
    left, width = 100 * clamp(low), 100 * (clamp(high) - clamp(low))
    reach = f"<b style='left:{left:.1f}%;width:{width:.1f}%'></b>"
    return f"<span class='range' aria-hidden='true'>{reach}<i style='left:{100 * clamp(value):.1f}%'></i></span>"


def collapsed(summary: str, body: str) -> str:
    """What opens on a click or a key."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def listed(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>" if text else ""


def section(anchor: str, heading: str, *parts: str) -> str:
    """A part of a page that `contents` can link to."""
    return f"<section id='{anchor}'><h2>{escape(heading)}</h2>{''.join(parts)}</section>"


def contents(links: Iterable[tuple[str, str]]) -> str:
    """Links to sections, by anchor and heading."""
    shown = "".join(f"<a href='#{anchor}'>{escape(heading)}</a>" for anchor, heading in links)
    return f"<nav aria-label='On this page'>{shown}</nav>"
