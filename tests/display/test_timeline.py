"""The picture and the page of what happens when, from values of any kind."""

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from morphmlp.display.timeline import (
    MOST_LISTED,
    Timeline,
    clock,
    draw_timeline,
    lanes,
    ticks,
    timeline_section,
    write_timeline_page,
)
from morphmlp.tasks.classification.timeline.segments import Segment

NASTY = "<script>alert('$x$ & \x1b[31m')</script>"
FRAMES = np.full((3, 20, 24, 3), 200, dtype=np.uint8)


def example(**fields) -> Timeline:
    rows = {"truth": [Segment(1, 4, "a"), Segment(3, 6, NASTY)], "prediction": [Segment(1.5, 4, "a", 0.82)]}
    scores = {"a": np.array([0.2, 0.9, 0.3]), NASTY: np.array([0.1, 0.0, np.nan])}
    options = {"rows": rows, "times_s": np.array([1.0, 3.0, 5.0]), "scores": scores, "threshold": 0.5, **fields}
    return Timeline(**{"title": "x.mp4", "duration_s": 8.0, "frames": FRAMES, **options})


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 6)), max_size=12))
def test_lanes_hold_every_bar_once_and_no_two_at_one_time(spans: list[tuple[int, int]]):
    bars = [Segment(start, start + length, str(number)) for number, (start, length) in enumerate(spans)]
    found = lanes(bars)
    assert sorted(bar.label for lane in found for bar in lane) == sorted(bar.label for bar in bars)
    for lane in found:
        assert all(one.end_s <= other.start_s for one, other in pairwise(lane))
    most = max((sum(bar.start_s <= time < bar.end_s for bar in bars) for time in range(27)), default=0)
    assert len(found) == most


@pytest.mark.parametrize(
    ("time_s", "text"), [(0, "0:00"), (12.5, "0:12.5"), (59.96, "1:00"), (3661, "1:01:01"), (360_000, "100:00:00")]
)
def test_times_are_read_as_on_a_clock(time_s: float, text: str):
    assert clock(time_s) == text


@given(st.floats(0.05, 1e6))
def test_ticks_are_few_and_within_the_time(duration_s: float):
    times = ticks(duration_s)
    assert times[0] == 0
    assert 1 <= len(times) <= 9
    assert times[-1] <= 0.95 * duration_s


def test_a_picture_shows_the_colours_of_its_labels(tmp_path: Path):
    timeline = example()
    draw_timeline(tmp_path / "a.png", timeline)
    with Image.open(tmp_path / "a.png") as file:
        picture = file.convert("RGB")
    assert picture.width == 1650
    colours = {colour for _, colour in picture.getcolors(2**20) or []}
    for colour in timeline.colours.values():
        assert tuple(bytes.fromhex(colour[1:])) in colours


def test_a_picture_can_be_drawn_of_next_to_nothing(tmp_path: Path):
    draw_timeline(tmp_path / "a.png", Timeline("", 0.01, {"prediction": []}))
    draw_timeline(tmp_path / "b.png", example(duration_s=36_000, scores={}, frames=None, threshold=None))
    draw_timeline(tmp_path / "c.png", example(times_s=np.array([1.0]), scores={"a": np.array([0.5])}))
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width == 1650


class Elements(HTMLParser):
    """Every tag with its attributes; a tag that is not closed, or closed twice, is an error."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_names_every_bar_for_the_keyboard_and_escapes_what_it_shows(tmp_path: Path):
    write_timeline_page(tmp_path / "a.html", [example(title=NASTY, note=NASTY)], title=NASTY, facts=[(NASTY, "61%")])
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    elements = Elements(text).found
    assert "script" not in {tag for tag, _ in elements}
    assert "\x1b" not in text
    bars = [attributes for tag, attributes in elements if tag == "li"]
    assert all(bar["tabindex"] == "0" for bar in bars)
    assert bars[-1]["aria-label"] == "a, 0:01.5 to 0:04, 82%"
    assert bars[-1]["style"] == "left:18.750%;width:31.250%;background:#c2410c"
    sources = [attributes["src"] or "" for tag, attributes in elements if tag == "img"]
    assert len(sources) == 1
    assert sources[0].startswith("data:image/jpeg")
    assert not re.search(r"(src|href)=.https?:", text)


def test_a_page_draws_the_scores_and_the_threshold_over_the_time():
    elements = Elements(timeline_section(example())).found
    lines = [attributes for tag, attributes in elements if tag == "polyline"]
    assert [line["points"] for line in lines] == ["125.0,80.0 375.0,10.0 625.0,70.0", "125.0,90.0 375.0,100.0"]
    assert [line["stroke"] for line in lines] == [*example().colours.values()][:2][::-1]
    assert [attributes["d"] for tag, attributes in elements if tag == "path"] == ["M0,50.0H1000"]
    alone = timeline_section(example(times_s=np.array([1.0]), scores={"a": np.array([0.5])}))
    assert "points='0.0,50.0 1000.0,50.0'" in alone
    assert "<svg" not in timeline_section(example(scores={}))


def test_a_long_row_is_listed_in_part_and_an_empty_one_is_named():
    many = [Segment(i, i + 1, "a") for i in range(MOST_LISTED + 3)]
    text = timeline_section(example(rows={"truth": many, "prediction": []}, frames=None))
    assert text.count("<tr><td>") == MOST_LISTED
    assert "and 3 more" in text
    assert "prediction: nothing" in text
    assert "<p class='empty'>nothing</p>" in text
    assert text.count("<li") == MOST_LISTED + 3
