"""Published beside counted: the counts against fvcore, the rule of the marks, what is printed, and Fig. 2."""

import io
import itertools
import json
import warnings
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure as Canvas
from PIL import Image
from rich.console import Console

from morphmlp.analysis.paper.counted import CountedFigure, CountedRow, as_json, counted_table, table_for_people
from morphmlp.analysis.paper.figure2 import PANELS, plot_accuracy
from morphmlp.analysis.paper.published import GFLOPS, PARAMETERS, TABLES, TFLOPS, PaperRow
from morphmlp.cli import main
from morphmlp.display.point_labels import Label, place_labels
from morphmlp.display.style import save_figure
from morphmlp.errors import ConfigError
from morphmlp.models.cost import count
from morphmlp.models.zoo import build_model, model_config


def counted(number: int, name: str, *, frames: str = "") -> CountedRow:
    rows = [row for row in counted_table(number) if row.row.name == name]
    return next(row for row in rows if row.row.settings.get("frames x crops x clips", "").startswith(frames))


def printed(number: int) -> str:
    console = Console(width=200, file=io.StringIO(), record=True)
    for renderable in table_for_people(number, counted_table(number)):
        console.print(renderable)
    return console.export_text()


@pytest.fixture
def _instant_counts(monkeypatch: pytest.MonkeyPatch):
    """For tests of all tables, which have fifty models: every one has 1 M parameters and 1 G multiply-adds."""
    monkeypatch.setattr("morphmlp.analysis.paper.counted._cost", lambda name, overrides, size: (10**6, 10**9))


# ------------------------------------------------------------------------------------------------------------ counts


@pytest.mark.parametrize("name", ["morphmlp_video_nano", "morphmlp_image_t"])
def test_fvcore_counts_the_same_layers(name: str):
    config = model_config(name)
    shape = (1, 3, config.frames, 64, 64) if config.temporal else (1, 3, 64, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore traces with torch.jit, which torch has deprecated
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(build_model(config).eval(), (torch.zeros(shape),))
        by_operator = analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).by_operator()
    products = ("linear", "conv", "matmul")  # matmul: the means of the branches
    assert sum(by_operator[name] for name in products) == count(config, size=64).multiply_adds


def test_a_video_row_counts_all_views():
    figure = counted(1, "MorphMLP-S", frames="16").counts[0].figures[GFLOPS]
    assert figure.counted == 4 * count(model_config("morphmlp_video_s")).multiply_adds / 1e9
    assert figure.published == 268


def test_training_cost_is_counted_in_teraflops():
    (count_,) = counted(11, "Morph-S").counts
    assert round(count_.figures[TFLOPS].counted, 3) == 0.264
    assert GFLOPS not in count_.figures


@pytest.mark.parametrize(("name", "excess"), [("MorphMLP-T", 0.7), ("MorphMLP-S", 3.1), ("MorphMLP-B", 2.3)])
def test_table_5_prints_fewer_parameters_than_backbone_and_semantic_fpn_have(name: str, excess: float):
    figure = counted(5, name).counts[0].figures[PARAMETERS]
    assert figure.published is not None
    assert figure.counted - figure.published == pytest.approx(excess, abs=0.06)


def test_other_methods_are_not_counted():
    assert counted(1, "SlowFast R101").counts == ()


def test_an_unknown_table_is_an_error():
    with pytest.raises(ConfigError, match="table is 12; allowed: 1 to 11"):
        counted_table(12)


# -------------------------------------------------------------------------------------------------------------- marks


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (CountedFigure(112.938, 113), "112.9"),  # rounds to what is printed
        (CountedFigure(3.9577, 4.0), "3.96"),
        (CountedFigure(3.9577, 3.9), "3.96 +1.5%!"),
        (CountedFigure(12.44, 12.5), "12.44 -0.5%"),  # within 1 %
        (CountedFigure(40.5, 38), "40.5 +6.6%!"),
        (CountedFigure(0.2641, 0.27), "0.264 -2.2%!"),
        (CountedFigure(1234.5, None), "1,234.50"),
    ],
)
def test_a_difference_is_shown_beyond_rounding_and_marked_beyond_one_percent(figure: CountedFigure, text: str):
    assert str(figure) == text


def test_image_s_is_marked_in_table_4_and_image_b_is_not():
    assert counted(4, "MorphMLP-S").counts[0].figures[PARAMETERS].is_off
    assert counted(4, "MorphMLP-B").counts[0].figures[PARAMETERS].difference == 0


# ----------------------------------------------------------------------------------------------- JSON and terminal


@pytest.mark.usefixtures("_instant_counts")
@pytest.mark.parametrize("number", TABLES)
def test_every_table_is_printed_with_all_its_rows_and_numbers(number: int):
    text = printed(number)
    assert text.startswith(f"Table {number}. ")
    for row in TABLES[number].rows:
        assert any(
            row.name in line and all(f"{value:,}" in line for value in row.published.values())
            for line in text.splitlines()
        )
        assert not row.note or row.note in text


def test_a_row_shows_its_model_and_counts():
    (line,) = (line for line in printed(8).splitlines() if "7x7 Conv" in line)
    assert line.split() == ["7x7", "Conv", "113", "20.6", "532", "77.7", "image_t", "112.9", "20.59"]


@pytest.mark.usefixtures("_instant_counts")
def test_two_models_of_a_row_stand_on_two_lines():
    lines = printed(6).splitlines()
    (first,) = (index for index, line in enumerate(lines) if "3-3-3-3" in line)
    assert lines[first].split()[-3:] == ["image_t", "1.00", "1.00"]
    assert lines[first + 1].split() == ["video_s", "1.00", "1.00"]


def test_json_has_exact_counts_and_differences():
    row = next(row for row in as_json(10, counted_table(10))["rows"] if row["name"] == "MorphFC_t")
    assert row["published"] == {"params (M)": 47.0, "GFLOPs": 66.4, "SSV1 top-1": 50.6}
    (ours,) = row["counted"]
    assert ours["model"] == "morphmlp_video_s"
    assert ours["overrides"] == {"num_classes": 174, "temporal_op": "morphfc"}
    assert ours["params (M)"] == 46.861744
    assert ours["differences"]["params (M)"] == pytest.approx(46.861744 / 47 - 1)


@pytest.mark.usefixtures("_instant_counts")
def test_json_leaves_out_what_is_not_printed_in_the_paper():
    for row in as_json(6, counted_table(6))["rows"]:
        assert [ours["differences"] for ours in row["counted"]] == [{}, {}]


@pytest.mark.usefixtures("_instant_counts")
@pytest.mark.parametrize("number", TABLES)
def test_command_prints_json(number: int, capfd: pytest.CaptureFixture[str]):
    assert main(["table", str(number), "--json"]) == 0
    values = json.loads(capfd.readouterr().out)
    assert values["table"] == number
    assert len(values["rows"]) == len(TABLES[number].rows)


def test_command_prints_a_table(capfd: pytest.CaptureFixture[str]):
    assert main(["table", "8"]) == 0
    assert "Table 8. Spatial design of MorphMLP" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["0"], "error: table is 0; allowed: 1 to 11, the tables of the paper\n"),
        (["4", "--plot", "fig.png"], "error: --plot draws Fig. 2, from tables 1 and 2; not table 4\n"),
    ],
)
def test_command_refuses(arguments: list[str], reason: str, capfd: pytest.CaptureFixture[str]):
    assert main(["table", *arguments]) == 1
    assert capfd.readouterr() == ("", reason)


# ------------------------------------------------------------------------------------------------------------- Fig. 2


@pytest.fixture(scope="module")
def fig_2(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Canvas]:
    """The picture, and matplotlib's figure that it was saved from."""
    path, figures = tmp_path_factory.mktemp("figures") / "fig2.png", []

    def save(figure: Canvas, path: Path) -> None:
        figures.append(figure)
        save_figure(figure, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("morphmlp.display.style.save_figure", save)
        plot_accuracy(path)
    return path, figures[0]


def test_fig_2_is_drawn(fig_2: tuple[Path, Canvas]):
    with Image.open(fig_2[0]) as picture:
        assert picture.size == (2400, 1000)


def test_fig_2_names_every_method(fig_2: tuple[Path, Canvas]):
    for number, axes in zip(PANELS, fig_2[1].axes, strict=True):
        names = [name for text in axes.texts for name in text.get_text().split(" / ")]
        assert sorted(names) == sorted(_name_in_fig_2(row) for row in TABLES[number].rows)


def test_no_label_of_fig_2_lies_on_another_or_outside(fig_2: tuple[Path, Canvas]):
    for axes in fig_2[1].axes:
        boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
        assert not [pair for pair in itertools.combinations(boxes, 2) if boxes[pair[0]].overlaps(boxes[pair[1]])]
        assert all(axes.bbox.containsx(x) for box in boxes.values() for x in (box.x0, box.x1))
        assert all(axes.bbox.containsy(y) for box in boxes.values() for y in (box.y0, box.y1))


def _name_in_fig_2(row: PaperRow) -> str:
    if not row.models:
        return row.name
    return f"{row.name.removeprefix('MorphMLP-')}, {row.models[0].overrides['frames']} frames"


def test_a_label_keeps_clear_of_the_next_point():
    axes = Canvas(figsize=(6, 3), dpi=100).subplots()
    axes.set(xlim=(0, 10), ylim=(0, 10))
    axes.plot([2, 2.6], [5, 5], "o")
    place_labels(axes, [Label(2, 5, "left"), Label(2.6, 5, "right")])
    left, right = (text.get_window_extent() for text in axes.texts)
    first, second = axes.transData.transform([(2, 5), (2.6, 5)])
    assert left.x1 < first[0]
    assert right.x0 > second[0]
