"""What happens when, as a picture and as a part of a page: rows of coloured bars over one axis of time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from morphmlp.display.film_strip import film_strip
from morphmlp.display.page import CSS, TEMPLATE, escape, inline
from morphmlp.display.style import INK, MUTED, drawable, figure
from morphmlp.files import replaced_file
from morphmlp.formatting import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Dark enough for white text on them, and apart from one another for most eyes; the label is written on the bar too.
PALETTE = ("#0b7285", "#c2410c", "#5f3dc4", "#2b8a3e", "#a61e4d", "#1864ab", "#7c5e10", "#495057", "#862e9c", "#087f5b")
MOST_CURVES = len(PALETTE)
MOST_LISTED = 500  # bars of a row in the table below it
_NARROW_SHARE = 0.0015  # of the width: what a bar takes at least, to be seen


class Bar(Protocol):
    """A label from `start_s` on and before `end_s`, with its score from 0 to 1."""

    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...
    @property
    def label(self) -> str: ...
    @property
    def score(self) -> float: ...


@dataclass(frozen=True)
class Timeline:
    """A recording and what is said of it.

    Attributes:
        rows: name and bars of each, from top to bottom, such as "truth" and "prediction"; bars may overlap.
        times_s: `[points]`, of the values in `scores`.
        scores: a curve for each label, `[points]` from 0 to 1; the first ten are drawn.
        threshold: of the scores, drawn as a line; None for none.
        frames: uint8 `[T, H, W, 3]`, the first in the middle of the first T-th of the time, and so on; None for none.
        note: a line below the title.
    """

    title: str
    duration_s: float
    rows: Mapping[str, Sequence[Bar]]
    times_s: np.ndarray = field(default_factory=lambda: np.empty(0))
    scores: Mapping[str, np.ndarray] = field(default_factory=dict)
    threshold: float | None = None
    frames: np.ndarray | None = None
    note: str = ""

    @property
    def labels(self) -> list[str]:
        """Those of the bars, then those of the curves; the place of a label is that of its colour."""
        bars = (bar.label for row in self.rows.values() for bar in row)
        return list(dict.fromkeys([*sorted(set(bars)), *self.scores]))

    @property
    def colours(self) -> dict[str, str]:
        return {label: PALETTE[number % len(PALETTE)] for number, label in enumerate(self.labels)}


def lanes(bars: Iterable[Bar]) -> list[list[Bar]]:
    """Bars in as few lanes as there are bars at one time, so that none lies on another.

    >>> from morphmlp.tasks.classification.timeline.segments import Segment
    >>> [[bar.label for bar in lane] for lane in lanes([Segment(0, 4, "a"), Segment(3, 6, "b"), Segment(4, 5, "c")])]
    [['a', 'c'], ['b']]
    """
    found: list[list[Bar]] = []
    for bar in sorted(bars, key=lambda bar: (bar.start_s, bar.end_s)):
        free = next((lane for lane in found if lane[-1].end_s <= bar.start_s), None)
        if free is None:
            found.append(free := [])
        free.append(bar)
    return found


def clock(time_s: float) -> str:
    """12.5 s as "0:12.5", an hour as "1:00:00"; tenths only where there are any.

    >>> clock(12.5), clock(60), clock(3599.97)
    ('0:12.5', '1:00', '1:00:00')
    """
    tenths = round(10 * time_s)
    seconds, tenth = divmod(tenths, 10)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    text = f"{hours}:{minutes:02d}:{seconds % 60:02d}" if hours else f"{minutes}:{seconds % 60:02d}"
    return f"{text}.{tenth}" if tenth else text


def draw_timeline(png_path: str | Path, timeline: Timeline) -> None:
    """Draws the frames, a panel for each row and the scores over one axis of time, 1650 pixels wide."""
    names, num_lanes = list(timeline.rows), [max(len(lanes(row)), 1) for row in timeline.rows.values()]
    heights = [0.42 * min(number, 6) for number in num_lanes]
    with_strip, with_scores = timeline.frames is not None, bool(timeline.scores)
    heights = [0.8] * with_strip + heights + [1.5] * with_scores
    with figure(png_path, (11, sum(heights) + 1.1 + 0.2 * len(heights)), title=timeline.title) as canvas:
        panels = canvas.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        if with_strip:
            _draw_strip(panels[0], timeline)
        for axes, name in zip(panels[with_strip:], names, strict=False):
            _draw_row(axes, name, timeline)
        if with_scores:
            _draw_scores(panels[-1], timeline)
        if timeline.note:
            panels[0].set_title(drawable(timeline.note, longest=150), fontsize=9, color=MUTED)
        panels[-1].set_xlim(0, timeline.duration_s)
        panels[-1].set_xticks(times := ticks(timeline.duration_s, most=12), [clock(time_s) for time_s in times])


def _draw_strip(axes: "Axes", timeline: Timeline) -> None:
    """The frames side by side, each above the middle of its part of the time."""
    assert timeline.frames is not None
    strip = film_strip(timeline.frames, count=len(timeline.frames), height=120)
    axes.imshow(np.asarray(strip), aspect="auto", extent=(0, timeline.duration_s, 0, 1))
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _draw_row(axes: "Axes", name: str, timeline: Timeline) -> None:
    found = lanes(timeline.rows[name])
    colours = timeline.colours
    least = _NARROW_SHARE * timeline.duration_s
    for number, lane in enumerate(found):
        spans = [(bar.start_s, max(bar.end_s - bar.start_s, least)) for bar in lane]
        axes.broken_barh(spans, (number + 0.08, 0.84), facecolors=[colours[bar.label] for bar in lane])
        for bar in lane:
            _write_label(axes, bar, number + 0.5, timeline.duration_s)
    axes.set_ylim(max(len(found), 1), 0)
    axes.set_yticks([max(len(found), 1) / 2], [drawable(name, longest=20)], color=INK)
    if not found:
        axes.text(0.5, 0.5, "nothing", transform=axes.transAxes, ha="center", va="center", color=MUTED)
    axes.set_axisbelow(True)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def _write_label(axes: "Axes", bar: Bar, y: float, duration_s: float) -> None:
    """The label on its bar, as much as fits; a row is about 125 characters wide."""
    fitting = int(125 * (bar.end_s - bar.start_s) / duration_s) - 1
    if fitting >= 3:
        middle = (bar.start_s + bar.end_s) / 2
        text = drawable(bar.label.replace("_", " "), longest=fitting)
        axes.text(middle, y, text, ha="center", va="center", color="white", fontsize=8, clip_on=True)


def _draw_scores(axes: "Axes", timeline: Timeline) -> None:
    colours = timeline.colours
    marker = "o" if len(timeline.times_s) == 1 else None
    for label, values in list(timeline.scores.items())[:MOST_CURVES]:
        name = drawable(label.replace("_", " "), longest=40)
        axes.plot(timeline.times_s, values, color=colours[label], linewidth=1.4, marker=marker, label=name)
    if timeline.threshold is not None:
        axes.axhline(timeline.threshold, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    columns = min(len(timeline.scores), 4)
    axes.legend(frameon=False, labelcolor=INK, fontsize=8, ncols=columns, loc="upper left", bbox_to_anchor=(0, -0.16))


def write_timeline_page(
    path: str | Path, timelines: Sequence[Timeline], *, title: str, facts: Sequence[tuple[str, str]] = ()
) -> None:
    """Writes one HTML page that needs nothing but itself; `facts` are names and values, the first one in colour."""
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    body = [f"<header><h1>{escape(title)}</h1></header>", f"<dl class='facts'>{items}</dl>" if facts else ""]
    body += [timeline_section(timeline) for timeline in timelines]
    with replaced_file(path) as file:
        file.write(TEMPLATE.format(title=escape(title), css=CSS + TIMELINE_CSS, body="\n".join(body)))


def timeline_section(timeline: Timeline) -> str:
    """A timeline as a part of a page whose style has `TIMELINE_CSS` in it.

    Every bar can be reached by the keyboard and says its label, times and score; a table holds them as text. On a
    narrow screen the rows scroll.
    """
    strip = ""
    if timeline.frames is not None:
        picture = film_strip(timeline.frames, count=len(timeline.frames), height=96)
        strip = f"<img src='{inline(picture)}' alt='Frames of the recording, evenly spaced over its time'>"
    rows = "".join(_row_html(name, row, timeline) for name, row in timeline.rows.items())
    tables = "".join(_table_html(name, row) for name, row in timeline.rows.items())
    note = f"<p class='none'>{escape(timeline.note)}</p>" if timeline.note else ""
    return (
        f"<section class='timeline'><h2>{escape(timeline.title)}</h2>{note}"
        f"<div class='scroll' tabindex='0' role='group' aria-label='Timeline of {escape(timeline.title)}'>"
        f"<div class='wide'>{strip}{rows}{_curves_html(timeline)}{_axis_html(timeline.duration_s)}</div></div>"
        f"{_names_html(timeline)}"
        f"<details><summary>As a table</summary><div class='tables'>{tables}</div></details></section>"
    )


def _row_html(name: str, row: Sequence[Bar], timeline: Timeline) -> str:
    if not row:
        return f"<h3>{escape(name)}</h3><p class='empty'>nothing</p>"
    lists = "".join(
        f"<ol>{''.join(_bar_html(bar, timeline.colours[bar.label], timeline.duration_s) for bar in lane)}</ol>"
        for lane in lanes(row)
    )
    return f"<h3>{escape(name)}</h3>{lists}"


def _bar_html(bar: Bar, colour: str, duration_s: float) -> str:
    left, width = (100 * min(time_s / duration_s, 1) for time_s in (bar.start_s, bar.end_s - bar.start_s))
    text = f"{bar.label}, {clock(bar.start_s)} to {clock(bar.end_s)}, {percent(bar.score, digits=0)}"
    side = " class='late'" if left > 60 else ""  # what it says opens to the left, or it would leave the page
    return (
        f"<li{side} tabindex='0' aria-label='{escape(text)}' style='left:{left:.3f}%;width:{width:.3f}%;"
        f"background:{colour}'><span>{escape(bar.label)}</span><em aria-hidden='true'>{escape(text)}</em></li>"
    )


def _curves_html(timeline: Timeline) -> str:
    """The scores as curves, 100 at the bottom and 0 at the top of a drawing that is stretched to the row."""
    if not timeline.scores:
        return ""
    curves = ""
    for label, values in list(timeline.scores.items())[:MOST_CURVES]:
        points, colour = _points(timeline.times_s / timeline.duration_s, values), timeline.colours[label]
        curves += f"<polyline points='{points}' stroke='{colour}'/>"
    if timeline.threshold is not None:
        y = 100 - 100 * timeline.threshold
        curves += f"<path class='threshold' d='M0,{y:.1f}H1000'/>"
    return (
        "<h3>probability, 0 to 100%</h3><div class='curves'>"
        "<svg viewBox='0 0 1000 100' preserveAspectRatio='none' role='img' "
        f"aria-label='Probability over time, 0 to 100%'>{curves}</svg></div>"
    )


def _names_html(timeline: Timeline) -> str:
    """Whose curves these are; outside of what scrolls."""
    names = "".join(
        f"<span><i style='background:{timeline.colours[label]}'></i>{escape(label)}</span>"
        for label in list(timeline.scores)[:MOST_CURVES]
    )
    return f"<p class='names'>{names}</p>" if names else ""


def _points(times: np.ndarray, values: np.ndarray) -> str:
    """Of a polyline over 1000 x 100, from times and values of 0 to 1; a single value is a line over all of the time."""
    known = [(1000 * time, 100 - 100 * value) for time, value in zip(times, values, strict=True) if value == value]
    if len(known) == 1:
        known = [(0, known[0][1]), (1000, known[0][1])]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in known)


def _axis_html(duration_s: float) -> str:
    marks = "".join(
        f"<span style='left:{100 * time_s / duration_s:.3f}%'>{clock(time_s)}</span>" for time_s in ticks(duration_s)
    )
    return f"<div class='axis' aria-hidden='true'>{marks}</div>"


def ticks(duration_s: float, *, most: int = 8) -> list[float]:
    """Round times from 0 on, at most so many, and none in the last twentieth, where its text would leave the row.

    >>> ticks(20), ticks(3600)
    ([0, 5, 10, 15], [0, 600, 1200, 1800, 2400, 3000])
    """
    steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200]
    step = next((step for step in steps if duration_s / step <= most), duration_s / most)
    return [step * number for number in range(most + 1) if step * number <= 0.95 * duration_s]


def _table_html(name: str, row: Sequence[Bar]) -> str:
    if not row:
        return f"<p class='none'>{escape(name)}: nothing</p>"
    cells = "".join(
        f"<tr><td>{clock(bar.start_s)}</td><td>{clock(bar.end_s)}</td><td>{escape(bar.label)}</td>"
        f"<td>{percent(bar.score, digits=0)}</td></tr>"
        for bar in row[:MOST_LISTED]
    )
    more = f"<p class='none'>and {len(row) - MOST_LISTED:,} more</p>" if len(row) > MOST_LISTED else ""
    return (
        f"<div><table><caption>{escape(name)}</caption><tr><th>start</th><th>end</th><th>label</th><th>score</th></tr>"
        f"{cells}</table>{more}</div>"
    )


TIMELINE_CSS = """
.timeline h3 { font-size: .8rem; font-weight: 600; color: var(--muted); margin: 14px 0 4px; }
.timeline p { max-width: 44em; margin-bottom: 8px; }
.timeline h2 { overflow-wrap: anywhere; margin-bottom: 8px; }
.timeline .scroll { overflow-x: auto; padding: 4px 4px 44px; margin: 0 -4px; }
.timeline .wide { min-width: 640px; position: relative; }
.timeline img { display: block; width: 100%; height: 72px; object-fit: fill; border-radius: 6px; }
.timeline ol { position: relative; height: 28px; padding: 0; margin-bottom: 3px; background: var(--card);
  border-radius: 5px; }
.timeline li { position: absolute; display: block; top: 0; height: 100%; min-width: 2px; border-radius: 4px;
  color: #fff; font-size: .78rem; line-height: 28px; }
.timeline li span { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; padding: 0 6px; }
.timeline li em { display: none; position: absolute; z-index: 2; top: 31px; left: 0; padding: 2px 10px;
  border-radius: 4px; background: var(--ink); color: var(--page); font-style: normal; white-space: nowrap; }
.timeline li.late em { left: auto; right: 0; }
.timeline li:hover em, .timeline li:focus em { display: block; }
.timeline li:focus-visible, .timeline .scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--accent);
  outline-offset: 2px; }
.timeline .axis { position: relative; height: 20px; margin-top: 6px; font-size: .75rem; color: var(--muted);
  font-variant-numeric: tabular-nums; }
.timeline .axis span { position: absolute; border-left: 1px solid var(--line); padding-left: 4px; }
.timeline p.empty { height: 28px; padding: 0 6px; margin-bottom: 3px; max-width: none; background: var(--card);
  border-radius: 5px; color: var(--muted); font-size: .78rem; line-height: 28px; }
.timeline .curves { background: var(--card); border-radius: 5px; padding: 4px 0; }
.timeline .scroll:has(.curves) { padding-bottom: 8px; }
.timeline .curves svg { display: block; width: 100%; height: 96px; }
.timeline polyline, .timeline .threshold { fill: none; stroke-width: 1.6px; vector-effect: non-scaling-stroke; }
.timeline .threshold { stroke: var(--muted); stroke-dasharray: 4 3; stroke-width: 1px; }
.timeline .names { display: flex; flex-wrap: wrap; gap: 2px 16px; max-width: none; margin: 0 0 20px;
  font-size: .78rem; }
.timeline .names i { display: inline-block; width: 14px; height: 3px; margin-right: 6px; vertical-align: middle; }
.timeline summary { cursor: pointer; font-size: .875rem; color: var(--muted); }
.tables { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(320px, 100%), 1fr)); gap: 24px; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 12px 0 4px; }
th, td { text-align: left; padding: 3px 12px 3px 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { color: var(--muted); font-weight: 400; }
"""
