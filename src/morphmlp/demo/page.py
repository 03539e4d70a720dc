"""The page with the results of the demo."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from morphmlp.demo.overview import Strip
from morphmlp.display.film_strip import film_strip
from morphmlp.display.page import CSS, TEMPLATE, escape, inline
from morphmlp.display.timeline import TIMELINE_CSS, Timeline, timeline_section
from morphmlp.files import replaced_file
from morphmlp.formatting import clamp, percent


def write_demo_page(
    path: str | Path,
    *,
    title: str,
    intro: str,
    facts: Sequence[tuple[str, str]],
    charts: Mapping[str, Path],
    strips: Sequence[Strip],
    timeline: Timeline | None = None,
) -> None:
    """Writes one HTML page that needs nothing but itself: no scripts, no requests, pictures inlined.

    Args:
        facts: names and values of the headline figures; the first one is highlighted.
        charts: captions and PNG files drawn on white (in dark mode their lightness is inverted).
        strips: the videos to show; right predictions come first, wrong ones after them.
        timeline: of a long recording, for the end of the page.
    """
    shown_charts = "".join(_chart_html(caption, Path(png)) for caption, png in charts.items())
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    right, wrong = ([strip for strip in strips if strip.is_right is flag] for flag in (True, False))
    sections = [
        f"<header><h1>{escape(title)}</h1><p>{escape(intro)}</p></header>",
        f"<dl class='facts'>{items}</dl>" if facts else "",
        f"<section class='charts'>{shown_charts}</section>" if charts else "",
        _strips_html("Right predictions", right, "There are none: every video shown here is predicted wrong."),
        _strips_html("Wrong predictions", wrong, "There are none: every video shown here is predicted right."),
    ]
    sections = [*(sections if strips else sections[:3]), timeline_section(timeline) if timeline else ""]
    with replaced_file(path) as file:
        file.write(TEMPLATE.format(title=escape(title), css=CSS + TIMELINE_CSS, body="\n".join(sections)))


def _chart_html(caption: str, png: Path) -> str:
    source = inline(png.read_bytes())
    return f"<figure><img src='{source}' alt='{escape(caption)}'><figcaption>{escape(caption)}</figcaption></figure>"


def _strips_html(heading: str, strips: list[Strip], if_empty: str) -> str:
    cards = "".join(_strip_html(strip) for strip in strips)
    body = f"<div class='strips'>{cards}</div>" if strips else f"<p class='none'>{if_empty}</p>"
    return f"<section><h2>{heading}</h2>{body}</section>"


def _strip_html(strip: Strip) -> str:
    verdict, mark = ("right", "✓") if strip.is_right else ("wrong", "✗")
    bars = "".join(_bar_html(name, probability) for name, probability in strip.top)
    label, predicted = escape(strip.label), escape(strip.top[0][0])
    return (
        f"<article class='{verdict}'><img src='{inline(film_strip(strip.frames))}' "
        f"alt='Frames of a video of {label}, in order'><dl><dt>label</dt><dd>{label}</dd><dt>predicted</dt>"
        f"<dd class='predicted'><span role='img' aria-label='{verdict}'>{mark}</span> {predicted}</dd></dl>"
        f"<ol>{bars}</ol></article>"
    )


def _bar_html(name: str, probability: float) -> str:
    bar = f"<i aria-hidden='true'><b style='width:{100 * clamp(probability):.1f}%'></b></i>"
    return f"<li><span>{escape(name)}</span>{bar}<em>{percent(probability)}</em></li>"
