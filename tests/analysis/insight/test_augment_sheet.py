"""The sheet of augmented clips: its rows, and the messages of the command."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morphmlp.analysis.insight.augment_sheet import SheetRow, draw_augmented, parse_changes, pick_media, sheet_rows
from morphmlp.commands import visualize
from morphmlp.errors import ConfigError, DataError, MediaError

NOTHING = {"crop_area": 1.0, "crop_ratio": 1.0, "flip": 0.0, "erase": 0.0, "rand_augment": None}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "cats" / "picture.png"
    path.parent.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (240, 240, 3), np.uint8)).save(path)
    return path


def video(data: Path, name: str = "moving_left_to_right") -> Path:
    return data / "val" / name / f"{name}_0001.mp4"


def test_a_video_has_a_plain_row_and_one_for_each_draw(data: Path):
    plain, *draws = sheet_rows([video(data)], classes=["moving_left_to_right"], draws=4)
    assert plain.frames.shape == (16, 256, 307, 3)  # the recipe decodes at a short side of 256
    assert plain.lines == ["moving_left_to_right_0001.mp4", "moving_left_to_right", "307 x 256 px, 16 frames"]
    assert [row.frames.shape for row in draws] == [(16, 224, 224, 3)] * 4
    assert len({row.frames.tobytes() for row in draws}) == 4
    assert [row.lines[0] for row in draws] == [f"draw {i + 1}" for i in range(4)]  # no other side: never flipped
    again = sheet_rows([video(data)], classes=["moving_left_to_right"], draws=4)
    other = sheet_rows([video(data)], classes=["moving_left_to_right"], draws=4, seed=1)
    assert [row.frames.tobytes() for row in again[1:]] == [row.frames.tobytes() for row in draws]
    assert again[1].frames.tobytes() != other[1].frames.tobytes()


def test_each_draw_is_of_frames_of_its_own(data: Path):
    changes = NOTHING | {"color": 0.0, "time_warp": 0.5}
    rows = sheet_rows([video(data)], classes=["moving_left_to_right"], changes=changes, draws=3)
    assert len({row.frames.tobytes() for row in rows[1:]}) == 3


def test_with_every_change_off_a_draw_is_the_picture_itself(picture: Path):
    changes = NOTHING | {"rand_augment": None}
    _, row = sheet_rows([picture], classes=["cats"], recipe="imagenet_t", changes=changes, draws=1)
    expected = Image.open(picture).resize((224, 224), Image.Resampling.BICUBIC)
    assert row.frames.shape == (1, 224, 224, 3)
    assert np.abs(row.frames[0].astype(int) - np.asarray(expected)).max() <= 2  # each axis is rounded to levels
    assert row.lines == ["draw 1", "cats"]


def test_a_flipped_clip_bears_the_class_of_the_other_side(data: Path):
    names = ["moving_left_to_right", "moving_right_to_left"]
    rows = sheet_rows([video(data, name) for name in names], classes=names, changes={"flip": 1.0}, draws=2)
    assert [row.lines[:2] for row in rows[1:3]] == [[f"draw {i}, flipped", names[1]] for i in (1, 2)]
    assert [row.lines[1] for row in rows[4:]] == [names[0]] * 2


def test_the_operations_that_were_drawn_are_named(data: Path):
    changes = {"rand_augment": "rand-m7-n1-p1-inc1"}
    rows = sheet_rows([video(data)], classes=["a"], changes=changes, draws=12)[1:]
    words = {row.lines[2].split()[0] for row in rows}
    assert len(words) > 4
    assert words <= {
        *("auto", "equalize", "invert", "rotate", "posterize", "solarize", "color", "contrast"),
        *("brightness", "sharpness", "shear", "translate"),
    }


def test_a_folder_gives_files_spread_over_it(data: Path):
    everything = pick_media(data, most=1000)
    assert len(everything) == 30
    assert pick_media(data, most=3) == [everything[0], everything[14], everything[29]]
    assert pick_media(video(data), most=3) == [video(data)]


def test_the_sheet_holds_the_frames_as_they_are(tmp_path: Path):
    colours = [(250, 10, 10), (10, 250, 10)]
    rows = [SheetRow(np.full((9, 112, 112, 3), colour, np.uint8), ["a $name", "動く"]) for colour in colours]
    draw_augmented(rows, tmp_path / "deep" / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "deep" / "sheet.png").convert("RGB"))
    for colour in colours:
        mask = (sheet == colour).all(-1)
        assert mask.sum() == 8 * 112 * 112  # eight of nine frames
    assert (sheet == colours[0]).all(-1).nonzero()[0].max() < (sheet == colours[1]).all(-1).nonzero()[0].min()
    assert (sheet[:, :400] < 128).all(-1).any()  # text


def test_changes_are_read_as_yaml_values():
    assert parse_changes(["erase=1", "rand_augment=null", "repeats=2"]) == {
        "erase": 1,
        "rand_augment": None,
        "repeats": 2,
    }
    assert parse_changes([]) == {}
    for text in ("erase", "=1", "flip=[", ""):
        with pytest.raises(ConfigError, match=r"allowed: NAME=VALUE, such as erase=1"):
            parse_changes([text])


def test_what_cannot_be_drawn_is_refused_by_name(tmp_path: Path, picture: Path):
    with pytest.raises(ConfigError, match="augment has no field 'eraze'; did you mean erase"):
        sheet_rows([picture], classes=["a"], changes={"eraze": 1})
    with pytest.raises(ConfigError, match="recipe ade20k_s changes images together with their masks"):
        sheet_rows([picture], classes=["a"], recipe="ade20k_s")
    with pytest.raises(MediaError, match=r"gone\.png"):
        sheet_rows([tmp_path / "gone.png"], classes=["a"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no videos or images"):
        pick_media(tmp_path / "empty", most=1)


def test_the_command_writes_the_sheet_and_says_where(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    folder = str(data / "val" / "moving_up")
    assert visualize.run(["--augment", folder, "--draws", "1", "--recipe", "k400_s16", "--change", "erase=1"]) == 0
    assert capsys.readouterr().out == "1 draw of 1 file; the sheet is augment.png\n"
    with Image.open(tmp_path / "augment.png") as sheet:
        assert sheet.height == 2 * 24 + 2 * 112 + 8
    with pytest.raises(ConfigError, match=r"--out sheet is no name of a sheet; allowed: a file that ends in \.png"):
        visualize.run(["--augment", folder, "--out", "sheet"])


@pytest.mark.parametrize("arguments", [[], ["checkpoint"], ["checkpoint", "--augment", "clip.mp4"]])
def test_the_command_takes_a_model_and_a_path_or_augment(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        visualize.run(arguments)
    assert stop.value.code == 2
    assert "--augment" in capsys.readouterr().err
