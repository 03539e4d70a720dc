"""The page with the results of the demo."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from morphmlp.demo.overview import Strip
from morphmlp.display import parts
from morphmlp.display.page import CSS, TEMPLATE, escape, inline
from morphmlp.display.timeline import TIMELINE_CSS, Timeline, timeline_section
from morphmlp.files import replaced_file


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
    shown_charts = "".join(parts.chart(caption, inline(Path(png).read_bytes())) for caption, png in charts.items())
    right, wrong = ([strip for strip in strips if strip.is_right is flag] for flag in (True, False))
    sections = [
        f"<header><h1>{escape(title)}</h1><p>{escape(intro)}</p></header>",
        parts.facts(facts),
        f"<section class='charts'>{shown_charts}</section>" if charts else "",
        _strips_html("Right predictions", right, "There are none: every video shown here is predicted wrong."),
        _strips_html("Wrong predictions", wrong, "There are none: every video shown here is predicted right."),
    ]
    sections = [*(sections if strips else sections[:3]), timeline_section(timeline) if timeline else ""]
    with replaced_file(path) as file:
        file.write(TEMPLATE.format(title=escape(title), css=CSS + TIMELINE_CSS, body="\n".join(sections)))


def _strips_html(heading: str, shown: Sequence[Strip], if_empty: str) -> str:
    cards = [parts.strip_card(strip.frames, label=strip.label, top=strip.top) for strip in shown]
    return f"<section><h2>{heading}</h2>{parts.strips(cards, if_empty=if_empty)}</section>"
