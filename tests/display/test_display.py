"""What people look at: files are complete, figures are those of the evaluation, names of classes may hold anything."""

import json
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from morphmlp.demo.overview import Strip, draw_overview, make_strip
from morphmlp.demo.page import write_demo_page
from morphmlp.display.curves import _smooth, plot_curves, read_log
from morphmlp.display.film_strip import film_strip
from morphmlp.tasks.classification.evaluation import Evaluation, SamplePrediction
from morphmlp.tasks.classification.report import evaluation_tables, plot_confusion, prediction_table

ODD_NAMES = ["<b>bold</b> & co", "$5 or $6_x^2", "日本語 😀 ﷽", "[red]it's[/red] :smile:", "bytes \udcff\n\ttabs", "$"]

METRICS = {"top1": "top-1", "top5": "top-5"}


def make_evaluation(labels: list[str], hits: list[bool], broken: list[tuple[Path, str]] | None = None) -> Evaluation:
    """Video i has label i modulo the classes, and is predicted as that class or as the next one."""
    predictions = []
    for i, hit in enumerate(hits):
        label = i % len(labels)
        probabilities = np.full(len(labels), 0.1 / max(1, len(labels) - 1))
        probabilities[label if hit else (label + 1) % len(labels)] = 0.9
        predictions.append(SamplePrediction(Path(f"{i}.mp4"), label, probabilities))
    return Evaluation(labels, predictions, broken or [])


def make_clip(num_frames: int = 24, height: int = 80, width: int = 96) -> np.ndarray:
    """Frame i is of the grey value 10 * i."""
    values = np.arange(num_frames, dtype=np.uint8) * 10
    return np.broadcast_to(values[:, None, None, None], (num_frames, height, width, 3))


def make_strips(wrong: int, right: int) -> list[Strip]:
    strips = [Strip(make_clip(), "up", [("down", 0.75), ("up", 0.2), ("left", 0.05)]) for _ in range(wrong)]
    return strips + [Strip(make_clip(), "up", [("up", 0.75), ("down", 0.25)]) for _ in range(right)]


def write_log(path: Path, rows: list[dict], tail: str = "") -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + tail)
    return path


def step_line(step: int, loss: float = 2.0) -> dict:
    return {"step": step, "epoch": step / 10, "loss": loss, "lr": 4e-4, "grad_norm": 3.2, "clips_per_s": 61.0}


def evaluation_line(step: int, top1: float = 0.5) -> dict:
    return {"step": step, "epoch": step / 10, "val_top1": top1, "val_top5": 0.8, "val_loss": 1.9, "train_loss": 2.0}


def read_png(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        picture.load()
        return np.asarray(picture.convert("RGB"))


def print_to_text(*renderables: object) -> str:
    console = Console(file=StringIO(), width=120, color_system=None)
    for renderable in renderables:
        console.print(renderable)
    return console.file.getvalue()


def test_importing_loads_neither_torch_nor_drawing_libraries():
    code = (
        "import sys, morphmlp; before = set(sys.modules); import morphmlp.display.page; "
        "print([m for m in ('torch', 'matplotlib', 'PIL', 'rich') if m in set(sys.modules) - before])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_film_strip_shows_evenly_spaced_frames_in_order():
    picture = film_strip(make_clip(24), count=4, height=40)
    assert picture.size == (4 * 48 + 3 * 2, 40)
    assert [picture.getpixel((24 + 50 * i, 20))[0] // 10 for i in range(4)] == [0, 8, 15, 23]


@pytest.mark.parametrize(("num_frames", "shown"), [(1, 1), (3, 3), (8, 8), (9, 8)])
def test_film_strip_of_a_short_clip_repeats_no_frame(num_frames, shown):
    assert film_strip(make_clip(num_frames, 96, 96)).width == shown * 98 - 2


@pytest.mark.parametrize(
    "frames", [np.zeros((0, 8, 8, 3), np.uint8), np.zeros((4, 8, 8, 3)), np.zeros((4, 3, 8, 8), np.uint8)]
)
def test_film_strip_names_the_array_it_refuses(frames):
    with pytest.raises(ValueError, match=re.escape(f"{frames.dtype} {list(frames.shape)}; give uint8")):
        film_strip(frames)


def test_make_strip_takes_names_and_probabilities_of_the_prediction():
    prediction = SamplePrediction(Path("a.mp4"), 2, np.array([0.1, 0.5, 0.4]))
    strip = make_strip(make_clip(), prediction, labels=["a", "b", "c"], num_top=2)
    assert (strip.label, strip.top, strip.is_right) == ("c", [("b", 0.5), ("c", 0.4)], False)


@pytest.mark.parametrize("tail", ["", '{"step": 3, "epo', "\n", "17\n"])
def test_a_log_is_read_without_its_half_written_last_line(tmp_path, tail):
    rows = [step_line(1), evaluation_line(1)]
    assert read_log(write_log(tmp_path / "log.jsonl", rows, tail)) == rows


def test_a_resumed_run_may_have_appended_to_half_a_line(tmp_path):
    log = write_log(tmp_path / "log.jsonl", [step_line(1)], '{"step": 2, "ep' + json.dumps(step_line(2)) + "\n")
    write_log(tmp_path / "more.jsonl", [step_line(3)])
    log.write_text(log.read_text() + (tmp_path / "more.jsonl").read_text())
    assert [row["step"] for row in read_log(log)] == [1, 3]


def test_a_file_that_is_no_log_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("step,loss\n1;2\n")
    with pytest.raises(ValueError, match=r"a\.csv has no line of JSON"):
        read_log(tmp_path / "a.csv")


NAN = float("nan")
LOGS = {
    "empty": [],
    "one step": [step_line(1)],
    "only an evaluation": [evaluation_line(10)],
    "no evaluation": [step_line(step) for step in range(1, 30)],
    "whole": [line(step) for step in range(1, 90) for line in (step_line, evaluation_line)],
    "diverged": [step_line(1), step_line(2, NAN), step_line(3, float("inf")), evaluation_line(3, NAN)],
    "nothing finite": [{**step_line(1, NAN), "lr": None}, evaluation_line(1, NAN)],
    "step zero": [step_line(0)],
    "lines without an epoch": [{"message": "resumed"}, {"step": 1, "loss": 2.0}, step_line(2)],
}


@pytest.mark.parametrize("rows", LOGS.values(), ids=LOGS)
def test_curves_are_drawn_from_any_log(tmp_path, rows):
    plot_curves(
        write_log(tmp_path / "log.jsonl", rows), tmp_path / "new" / "curves.png", metrics=METRICS, title="$a_b < 日本"
    )
    assert read_png(tmp_path / "new" / "curves.png").shape == (630, 1650, 3)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["curves.png"]


def test_steps_repeated_after_a_resume_are_drawn_once(tmp_path):
    first = [step_line(step, 9.0) for step in range(1, 8)]
    again = [step_line(step, 1.0) for step in range(1, 8)]
    plot_curves(write_log(tmp_path / "a.jsonl", first + again), tmp_path / "a.png", metrics=METRICS)
    plot_curves(write_log(tmp_path / "b.jsonl", again), tmp_path / "b.png", metrics=METRICS)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_smoothing_is_a_centred_mean_that_ends_where_the_loss_does():
    values = np.arange(100.0) ** 2
    values[[50, 98, 99]] = NAN
    smoothed = _smooth(values)
    assert smoothed[0] == (0 + 1 + 4) / 3
    assert smoothed[40] == np.mean(np.arange(38.0, 43.0) ** 2)
    assert smoothed[51] == np.mean(np.array([49.0, 51.0, 52.0, 53.0]) ** 2)
    assert np.flatnonzero(np.isnan(smoothed)).tolist() == [50, 98, 99]


@pytest.mark.parametrize("num_classes", [1, 2, 10, 30, 31, 174, 400])
def test_confusion_is_a_picture_of_bounded_size(tmp_path, num_classes):
    labels = [f"Pretending to put something number {i} behind something" for i in range(num_classes)]
    plot_confusion(make_evaluation(labels, [i % 3 > 0 for i in range(2 * num_classes)]), tmp_path / "c.png")
    height, width = read_png(tmp_path / "c.png").shape[:2]
    assert 450 < height < 2000
    assert 450 < width < 2000


def test_confusion_with_perfect_predictions_is_dark_on_the_diagonal_only(tmp_path):
    evaluation = make_evaluation([f"{i}" for i in range(400)], [True] * 400)
    plot_confusion(evaluation, tmp_path / "c.png")
    dark_rows, dark_columns = np.nonzero((read_png(tmp_path / "c.png") == (7, 66, 77)).all(axis=-1))
    in_matrix = dark_columns < dark_columns.max() - 60  # the colour bar is on the right
    offset = (dark_rows - dark_columns)[in_matrix]
    assert in_matrix.sum() > 400
    assert np.ptp(offset) <= 8  # pixels


def test_confusion_of_nothing_and_of_odd_names_is_drawn(tmp_path):
    for hits in ([], [True, False] * 6):
        plot_confusion(make_evaluation(ODD_NAMES, hits), tmp_path / "c.png")
        assert read_png(tmp_path / "c.png").size


def test_a_failed_drawing_leaves_the_former_picture_alone(tmp_path, monkeypatch):
    (tmp_path / "c.png").write_bytes(b"former")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        plot_confusion(make_evaluation(["a", "b"], [True]), tmp_path / "c.png")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("c.png", b"former")]


def test_overview_of_five_pairs_and_an_evaluation_has_the_size_for_the_readme(tmp_path):
    draw_overview(tmp_path / "o.png", make_strips(3, 7), make_evaluation(["up", "down", "left"], [True, False]))
    with Image.open(tmp_path / "o.png") as picture:
        assert picture.size == (1600, 724)
        assert picture.getpixel((0, 0))[3] == 0  # round corners on any page
        assert picture.getpixel((800, 362))[3] == 255
        frames = [picture.getpixel((32 + 93 * i + 45, 30 + 24 + 38))[0] for i in range(8)]
    assert frames == [0, 30, 70, 100, 130, 160, 200, 230]


def test_overview_takes_odd_names_odd_counts_and_other_shapes(tmp_path):
    strips = [Strip(make_clip(9, 90, 160), name, [(name, NAN)]) for name in ODD_NAMES[:3]]
    draw_overview(tmp_path / "o.png", strips)
    assert read_png(tmp_path / "o.png").shape == (268, 1600, 3)


def write_page(path: Path, strips: list[Strip], charts: dict[str, Path] | None = None) -> str:
    facts = [("top-1 <accuracy>", "96.3%"), ("chance", "10.0%")]
    write_demo_page(path, title="Ten & <more>", intro="It's <i>", facts=facts, charts=charts or {}, strips=strips)
    return path.read_text(encoding="utf-8")


def test_page_needs_nothing_but_itself(tmp_path):
    plot_curves(write_log(tmp_path / "log.jsonl", LOGS["whole"]), tmp_path / "curves.png", metrics=METRICS)
    page = write_page(tmp_path / "page.html", make_strips(2, 3), {"Curves & more": tmp_path / "curves.png"})
    assert not re.search(r"https?://|<script|<link|url\(|@import", page)
    sources = re.findall(r"src='([^']*)'", page)
    assert [source.partition(";")[0] for source in sources] == ["data:image/png"] + 5 * ["data:image/jpeg"]
    assert len(re.findall(r"<img [^>]*alt='[^']+'", page)) == 6
    assert "alt='Curves &amp; more'" in page


def test_page_tells_right_from_wrong_and_prints_the_probabilities(tmp_path):
    page = write_page(tmp_path / "page.html", make_strips(2, 3))
    right, wrong = page.split("<h2>Right predictions</h2>")[1].split("<h2>Wrong predictions</h2>")
    assert (right.count("<article class='right'>"), right.count("<article")) == (3, 3)
    assert (wrong.count("<article class='wrong'>"), wrong.count("<article")) == (2, 2)
    assert "<dt>label</dt><dd>up</dd>" in wrong
    assert re.findall(r"<li><span>(\w+)</span>.*?width:([\d.]+)%.*?<em>(.*?)</em>", wrong)[:3] == [
        ("down", "75.0", "75.0%"),
        ("up", "20.0", "20.0%"),
        ("left", "5.0", "5.0%"),
    ]
    assert "There are none" not in page


@pytest.mark.parametrize(
    ("wrong", "right", "said"), [(0, 2, "predicted right."), (2, 0, "predicted wrong."), (0, 0, None)]
)
def test_page_says_so_where_there_are_no_predictions_of_a_kind(tmp_path, wrong, right, said):
    page = write_page(tmp_path / "page.html", make_strips(wrong, right))
    assert page.count("There are none") == (said is not None)
    assert said is None or f"every video shown here is {said}" in page
    assert page.count("<h2>") == (2 if said else 0)


def test_page_escapes_every_text(tmp_path):
    strips = [Strip(make_clip(), name, [(ODD_NAMES[0], NAN), (name, 0.4)]) for name in ODD_NAMES]
    page = write_page(tmp_path / "page.html", strips)
    assert "<b>bold" not in page
    assert "<i>" not in page.split("<section>")[0]
    assert "<title>Ten &amp; &lt;more&gt;</title>" in page
    assert "<dt>top-1 &lt;accuracy&gt;</dt><dd>96.3%</dd>" in page
    assert "<dd>&lt;b&gt;bold&lt;/b&gt; &amp; co</dd>" in page
    assert "[red]it&#x27;s[/red] :smile:" in page
    assert "日本語" in page
    assert "nan%" not in page


def test_printed_numbers_are_those_of_the_evaluation():
    broken = [
        (Path("b.mp4"), "no video stream"),
        (Path("c.mp4"), "cannot be opened"),
        (Path("d.mp4"), "no video stream"),
    ]
    evaluation = make_evaluation(["up", "down", "left"], [True, True, False, False], broken)
    text = print_to_text(*evaluation_tables(evaluation))
    lines = [line.split() for line in text.splitlines()]
    assert text.startswith(
        "4 of 7 videos evaluated\n"
        "  2 not evaluated: no video stream (b.mp4 and 1 more)\n"
        "  1 not evaluated: cannot be opened (c.mp4)\n"
    )
    assert f"top-1 (video) 50.0%   loss {evaluation.loss():.3f}" in text
    assert ["up", "2", "50.0%", "50.0%"] in lines
    assert ["down", "1", "100.0%", "50.0%"] in lines
    assert ["left", "1", "0.0%", "n/a"] in lines


def test_of_many_classes_the_extremes_are_shown():
    labels = [f"class{i:03d}" for i in range(174)]
    evaluation = make_evaluation(labels, [i < 40 for i in range(100)])  # 74 classes have no video
    text = print_to_text(*evaluation_tables(evaluation))
    assert "74 of 174 classes have no videos here\nThe 10 best of 100 classes " in text
    assert "The 10 worst of 100 classes " in text
    shown = re.findall(r"class(\d{3}) +1 +([\d.]+)%", text)
    assert [recall for _, recall in shown] == ["100.0"] * 10 + ["0.0"] * 10
    assert len(set(shown)) == 20


def test_of_many_classes_with_few_videos_each_is_shown_once():
    text = print_to_text(*evaluation_tables(make_evaluation([f"class{i:03d}" for i in range(174)], [True] * 12)))
    assert "162 of 174 classes have no videos here\nThe 12 classes with videos " in text
    assert len(re.findall(r"class\d{3} ", text)) == 12


def test_tables_of_nothing_evaluated_print():
    text = print_to_text(*evaluation_tables(make_evaluation(["up"], [], [(Path("a.mp4"), "empty")])))
    assert "0 of 1 videos evaluated" in text
    assert "top-1 (video) n/a   loss nan" in text


def test_names_in_tables_are_not_markup():
    text = print_to_text(*evaluation_tables(make_evaluation(ODD_NAMES[3:4], [True])))
    assert "[red]it's[/red] :smile:" in text


def test_predictions_are_printed_as_a_block_for_each_video():
    rows = [("a[1].mp4", ["up"], [("up", 0.91), ("down", 0.05)]), ("b.mp4", ["[b]"], [("[b]", 1.0), ("up", NAN)])]
    lines = [line.split() for line in print_to_text(prediction_table(rows)).splitlines() if line.strip()]
    assert lines[0] == ["file", "class", "probability"]
    assert [line[:3] for line in lines[2:]] == [
        ["a[1].mp4", "up", "91.0%"],
        ["down", "5.0%", "━"],
        ["b.mp4", "[b]", "100.0%"],
        ["up", "n/a"],
    ]
    assert lines[4][3] == "━" * 20


def test_an_answer_that_is_no_class_is_printed_above_the_classes():
    rows = [("a.mp4", [], [("up", 0.5), ("down", 0.4)])]
    lines = [line.split() for line in print_to_text(prediction_table(rows)).splitlines() if line.strip()]
    assert [line[:4] for line in lines[2:]] == [
        ["a.mp4", "none", "of", "these"],
        ["up", "50.0%", "━━━━━━━━━━"],
        ["down", "40.0%", "━━━━━━━━"],
    ]
