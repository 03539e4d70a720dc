"""Every figure has one style and is written whole; a table shows texts as they are."""

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from morphmlp.display.style import colour_bar, figure
from morphmlp.display.tables import model_table, number_columns, table, text_columns


def printed(shown: object) -> list[str]:
    console = Console(file=StringIO(), width=80, color_system=None)
    console.print(shown)
    return console.file.getvalue().splitlines()


def test_a_figure_is_written_at_the_end_in_the_size_asked_for(tmp_path: Path):
    with figure(tmp_path / "deep" / "a.png", (3, 2), title="$a < 日本") as canvas:
        canvas.subplots().plot([1, 2])
        assert not (tmp_path / "deep").exists()
    with Image.open(tmp_path / "deep" / "a.png") as picture:
        assert picture.size == (450, 300)


def test_a_figure_whose_drawing_fails_is_not_written(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), figure(tmp_path / "a.png", (3, 2)):
        _ = 1 / 0
    assert not list(tmp_path.iterdir())


def test_a_colour_bar_has_no_frame(tmp_path: Path):
    with figure(tmp_path / "a.png", (3, 2)) as canvas:
        axes = canvas.subplots()
        colour_bar(canvas, axes.imshow(np.eye(3)), ax=axes, label="share")
    assert canvas.axes[1].get_ylabel() == "share"
    assert not canvas.axes[1].spines["outline"].get_visible()


def test_a_table_takes_no_text_for_markup_and_parts_its_sections():
    columns = [*text_columns("name"), *number_columns("[videos]")]
    lines = printed(table("Odd [b]names[/b]", columns, [("[red]x[/red]", "5")], [("bytes \udcff", "1,200")]))
    assert lines[0].strip() == "Odd [b]names[/b]"
    assert [line.split() for line in lines[2:3] + lines[4:7]] == [
        ["name", "[videos]"],
        ["[red]x[/red]", "5"],
        [],
        ["bytes", "?", "1,200"],
    ]


def test_numbers_are_on_the_right():
    lines = printed(table("", number_columns("files"), [("5",), ("1,200",)]))
    assert [line.rstrip() for line in lines if line.strip(" ─")] == ["  files", "      5", "  1,200"]


def test_models_are_printed_with_their_input_and_cost():
    cost = {"classes": 400, "parameters": 47_039_154, "multiply_adds": 66_020_000_000}
    rows = [{"model": "video", "frames": 16, "size": 224, **cost}, {"model": "image", "frames": 1, "size": 32, **cost}]
    cells = [line.split() for line in printed(model_table(rows)) if line.strip(" ─")]
    assert cells[2] == ["video", *["16", "x", "224", "x", "224"], "400", "47.04", "M", "66.02", "G"]
    assert cells[3][:4] == ["image", "32", "x", "32"]
