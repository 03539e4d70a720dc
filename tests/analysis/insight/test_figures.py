"""The pictures of `morphmlp visualize`, the page that holds them, and the verb as a user meets it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from conftest import save_tiny
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

from morphmlp import cli
from morphmlp.analysis.insight.figures import (
    _film_cells,
    _film_grid,
    _limits,
    _lines_of_blocks,
    draw_branch_weights,
    draw_feature_map,
    draw_full_weights,
    draw_grad_cams,
    draw_token_matrices,
)
from morphmlp.analysis.insight.look_inside import BlockBranches, Insight, MixingFC
from morphmlp.analysis.insight.page import PAGE, PICTURES, branch_rows, branch_table, write_insight
from morphmlp.config import ModelConfig
from morphmlp.errors import DataError
from morphmlp.models.morphfc import ChunkFC

ODD_NAME = "<b>$x_1$</b> 日本 \udcff"


@pytest.fixture
def video(data: Path) -> Path:
    return data / "val" / "moving_up" / "moving_up_0001.mp4"


def make_config(frames: int) -> ModelConfig:
    fields = {"temporal": False} if frames == 1 else {}
    return tiny.model_config(3, frames=frames, **fields)


def make_insight(frames: int = 4, *, height: int = 32, width: int = 48, target: str = "up") -> Insight:
    """Random maps of a clip; no blocks."""
    generator = np.random.default_rng(0)
    config = make_config(frames)
    num_steps = config.num_steps
    return Insight(
        config=config,
        clip=generator.integers(0, 256, (frames, height, width, 3), np.uint8),
        target=target,
        target_share=0.75,
        predicted=True,
        stage=3,
        feature_map=generator.random((num_steps, 2, 3)),
        cams={3: generator.random((num_steps, 2, 3)), 4: np.zeros((num_steps, 1, 2))},
        branches=[],
        fcs=[],
    )


def make_fcs(*blocks: int) -> list[MixingFC]:
    """Vertical FCs of 3 tokens with as many blocks in each stage as given."""
    return [
        MixingFC(stage, block, "vertical", ChunkFC(6, 3))
        for stage, num_blocks in enumerate(blocks, start=1)
        for block in range(1, num_blocks + 1)
    ]


def read_png(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


# Pictures


@pytest.mark.parametrize(
    ("num_steps", "lines", "columns"), [(1, 1, 2), (2, 2, 2), (8, 2, 8), (9, 4, 8), (16, 4, 8), (17, 6, 8)]
)
def test_a_film_has_its_rows_below_each_other_and_an_image_beside(num_steps: int, lines: int, columns: int):
    assert _film_grid(2, num_steps)[:2] == (lines, columns)
    cells = _film_cells(Figure().subplots(lines, columns, squeeze=False), 2, num_steps)
    assert cells.shape == (2, num_steps)
    places = [[axes.get_subplotspec().rowspan.start for axes in line] for line in cells]
    if num_steps > 1:
        assert places == [
            [2 * (step // 8) for step in range(num_steps)],
            [2 * (step // 8) + 1 for step in range(num_steps)],
        ]


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 32, 32), (4, 32, 64), (20, 64, 32)])
def test_films_are_drawn_of_clips_of_any_length_and_shape(tmp_path: Path, frames: int, height: int, width: int):
    insight = make_insight(frames, height=height, width=width, target=ODD_NAME)
    draw_feature_map(insight, tmp_path / "map.png")
    draw_grad_cams(insight, tmp_path / "cam.png")
    for name in ("map.png", "cam.png"):
        assert 400 < read_png(tmp_path / name).shape[1] < 2000


def test_the_frames_of_a_film_are_those_in_the_middle_of_the_steps(tmp_path: Path):
    insight = make_insight(4)
    for number, colour in enumerate([(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)]):
        insight.clip[number] = colour
    draw_feature_map(insight, tmp_path / "map.png")
    picture = read_png(tmp_path / "map.png")
    shown = [bool((picture == colour).all(axis=-1).any()) for colour in insight.clip[:, 0, 0]]
    assert shown == [True, False, True, False]


def test_blocks_stand_in_lines_of_nine_and_stages_never_share_one():
    lines = _lines_of_blocks(make_fcs(2, 10, 9))
    assert [(line[0].stage, [fc.block for fc in line]) for line in lines] == [
        (1, [1, 2]),
        (2, list(range(1, 10))),
        (2, [10]),
        (3, list(range(1, 10))),
    ]


def test_a_colour_scale_spans_the_blocks_of_its_stage():
    fcs = make_fcs(2, 1)
    for fc, value in zip(fcs, [1.0, 3.0, 9.0], strict=True):
        torch.nn.init.constant_(fc.fc.fc.weight, value)
    assert (_limits(fcs, 1), _limits(fcs, 2)) == ((1.0, 3.0), (9.0, 9.0))


@pytest.mark.parametrize("value", [None, 0.0])
def test_weights_are_drawn_at_random_and_at_zero(tmp_path: Path, value: float | None):
    fcs = make_fcs(1, 2)
    if value is not None:
        for fc in fcs:
            torch.nn.init.constant_(fc.fc.fc.weight, value)
    draw_token_matrices(fcs, tmp_path / "matrices.png", title="Vertical FCs")
    draw_full_weights(fcs[:1], tmp_path / "full.png")
    for name in ("matrices.png", "full.png"):
        assert read_png(tmp_path / name).size


BLOCKS = [
    BlockBranches(1, 1, ["vertical", "horizontal", "channel"], np.array([[0.5, 0.7], [0.25, 0.15], [0.25, 0.15]])),
    BlockBranches(1, 2, ["vertical", "horizontal", "channel"], np.array([[0.6, 0.6], [0.2, 0.2], [0.2, 0.2]])),
    BlockBranches(4, 1, ["whole map", "channel"], np.array([[0.9, 0.9], [0.1, 0.1]])),
]


def test_branch_weights_are_drawn(tmp_path: Path):
    draw_branch_weights(BLOCKS, tmp_path / "branches.png")
    assert read_png(tmp_path / "branches.png").shape == (630, 1125, 3)


def test_printed_branch_weights_are_those_of_the_blocks():
    console = Console(width=100)
    with console.capture() as capture:
        console.print(branch_table(BLOCKS))
    cells = [line.split() for line in capture.get().splitlines()]
    assert ["1", "0.600", "±", "0.071", "0.200", "±", "0.035", "0.200", "±", "0.035"] in cells
    assert ["4", "0.900", "±", "0.000", "0.100", "±", "0.000"] in cells
    assert branch_rows(BLOCKS)[0] == {
        "stage": 1,
        "block": 1,
        "branches": {
            "vertical": {"mean": 0.6, "std": 0.1},
            "horizontal": {"mean": 0.2, "std": 0.05},
            "channel": {"mean": 0.2, "std": 0.05},
        },
    }


# The folder


def test_a_failed_drawing_leaves_the_former_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / PAGE).write_text("former")
    monkeypatch.setattr(
        "morphmlp.analysis.insight.figures.draw_grad_cams", lambda *_: (_ for _ in ()).throw(OSError("full"))
    )
    with pytest.raises(OSError, match="full"):
        write_insight(make_insight(), tmp_path / "out", checkpoint="best", path="a.mp4")
    assert [(path.name, path.read_text()) for path in (tmp_path / "out").iterdir()] == [(PAGE, "former")]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something else than a visualization; choose another --out"):
        write_insight(make_insight(), tmp_path, checkpoint="best", path="a.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


# The verb


def test_the_verb_leaves_pictures_and_a_page_that_needs_nothing_else(
    checkpoint: Path, video: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    arguments = ["visualize", str(checkpoint), str(video), "--out", str(out), "--device", "cpu"]
    assert cli.main(arguments) == 0
    printed = capfd.readouterr().out
    assert f"7 pictures; the page is {out / PAGE}" in printed
    assert {path.name for path in out.iterdir()} == {PAGE, *PICTURES}
    page = (out / PAGE).read_text(encoding="utf-8")
    assert not re.search(r"https?://|<script|<link|@import", page)
    assert page.count("src='data:image/png") == page.count("<img ") == page.count("<figcaption>") == 7
    assert cli.main([*arguments, "--json"]) == 0  # the folder of an earlier visualization may be replaced
    values = json.loads(capfd.readouterr().out)
    assert f"{values['class']}: {values['share']:.1%}" in printed
    assert values["predicted"]
    assert [Path(file).name for file in values["files"]] == [PAGE, *PICTURES]
    assert len(values["branch_weights"]) == 4


def test_what_a_design_lacks_is_said_on_its_page(video: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    design = {"spatial_op": "conv3", "temporal_op": "conv3"}
    folder = save_tiny(tmp_path / "conv", labels=["a", ODD_NAME.replace("\udcff", "")], **design)
    assert cli.main(["visualize", str(folder), str(video), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    assert "2 pictures" in capfd.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {PAGE, "feature_map.png", "grad_cam.png"}
    page = (tmp_path / "out" / PAGE).read_text(encoding="utf-8")
    assert page.count("The spatial layers have no FCs over tokens: spatial_op is &#x27;conv3&#x27;.") == 2
    assert page.count("they are convolutions over time.") == 1
    assert page.count("The spatial layers have no branches") == 1
    assert "<b>$x" not in page


def test_a_mistake_is_one_line_and_leaves_nothing(
    checkpoint: Path, video: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    for options, reason in [(["--stage", "5"], "stage 5"), (["--class", "moving_upp"], "did you mean 'moving_up'")]:
        assert cli.main(["visualize", str(checkpoint), str(video), "--out", str(tmp_path / "out"), *options]) == 1
        out, err = capfd.readouterr()
        assert (out, len(err.splitlines())) == ("", 1)
        assert reason in err
    assert not (tmp_path / "out").exists()
