"""The published numbers, against a second reading of the paper, and the designs of Tables 6 to 10."""

import pytest
import torch

from morphmlp.analysis.paper.published import DESIGNS, TABLES, Model, PaperRow
from morphmlp.models.cost import count
from morphmlp.models.zoo import build_model, model_config


def named(number: int, name: str, **settings: str) -> PaperRow:
    """The only row of a table with the name and settings."""
    (row,) = (r for r in TABLES[number].rows if r.name == name and r.settings.items() >= settings.items())
    return row


def test_every_table_has_all_its_rows():
    rows = {number: len(table.rows) for number, table in TABLES.items()}
    assert rows == {1: 21, 2: 19, 3: 12, 4: 24 + 25, 5: 16, 6: 7, 7: 5, 8: 4, 9: 4, 10: 3, 11: 3}


@pytest.mark.parametrize(
    ("number", "name", "frames", "gflops", "top1", "top5"),
    [
        (1, "SlowFast R101", "(16+64)x3x10", 6390, 78.9, 93.5),
        (1, "ViViT-L", "16x3x4", 17357, 80.6, 94.7),
        (1, "VideoSwin-T", "32x3x4", 1056, 78.8, 93.6),
        (1, "MorphMLP-S", "16x1x4", 268, 78.7, 93.8),
        (1, "MorphMLP-S", "32x1x4", 532, 79.7, 94.2),
        (1, "MorphMLP-B", "16x1x4", 392, 79.5, 94.4),
        (1, "MorphMLP-B", "32x1x4", 788, 80.8, 94.9),
        (2, "SlowFast R50", "(8+32)x3x1", 197, 61.7, 46.6),
        (2, "MViT-B-24, 32x3", "32x3x1", 708, 68.7, 91.5),
        (2, "MorphMLP-S", "16x3x1", 201, 67.1, 90.9),
        (2, "MorphMLP-S", "32x3x1", 405, 68.3, 91.3),
        (2, "MorphMLP-B", "16x3x1", 294, 67.6, 91.3),
        (2, "MorphMLP-B", "32x3x1", 591, 70.1, 92.8),
        (3, "I3D", "32x3x2", 918, 41.6, 72.2),
        (3, "MorphMLP-S", "16x1x1", 67, 50.6, 78.0),
        (3, "MorphMLP-S", "16x3x1", 201, 53.9, 81.3),
        (3, "MorphMLP-B", "16x3x1", 294, 55.5, 82.4),
        (3, "MorphMLP-B", "32x3x1", 591, 57.4, 84.5),
    ],
)
def test_video_rows_are_as_printed(number: int, name: str, frames: str, gflops: float, top1: float, top5: float):
    row = named(number, name, **{"frames x crops x clips": frames})
    assert list(row.published.values()) == [gflops, top1, top5]
    assert list(row.published)[1:] == [f"{('K400', 'SSV2', 'SSV1')[number - 1]} {top}" for top in ("top-1", "top-5")]


def test_a_dash_is_no_number():
    assert named(1, "CorrNet-101").published == {"GFLOPs": 6720, "K400 top-1": 79.2}
    assert named(1, "CorrNet-101").settings["pretraining"] == ""


@pytest.mark.parametrize(
    ("number", "name", "settings", "printed"),
    [
        (4, "ViP-Small/7", {}, [25, 6.9, 81.5]),
        (4, "CycleMLP-B5", {}, [76, 12.3, 83.1]),
        (4, "MorphMLP-T", {"input": "224²"}, [23, 3.9, 81.6]),
        (4, "MorphMLP-S", {"input": "224²"}, [38, 6.9, 82.6]),
        (4, "MorphMLP-B", {}, [58, 10.2, 83.2]),
        (4, "MorphMLP-L", {"input": "224²"}, [76, 12.5, 83.4]),
        (4, "Swin-T", {"family": "Transformer"}, [29, 4.5, 81.3]),
        (4, "DeiT-B", {"input": "384²"}, [86, 55.4, 83.1]),
        (5, "Swin-T", {}, [31.9, 41.5]),
        (5, "MorphMLP-T", {}, [26.4, 43.0]),
        (5, "MorphMLP-S", {}, [41.0, 44.7]),
        (5, "MorphMLP-B", {}, [59.3, 45.9]),
        (11, "SlowFast", {"training": "30 epoch"}, [1.11, 71.0, 444]),
        (11, "Timesformer", {}, [0.59, 75.8, 416]),
        (11, "Morph-S", {}, [0.27, 77.0, 408]),
    ],
)
def test_image_and_training_rows_are_as_printed(number: int, name: str, settings: dict, printed: list[float]):
    assert list(named(number, name, **settings).published.values()) == printed


@pytest.mark.parametrize(
    ("number", "printed"),
    [
        (
            6,
            {
                "56-28-14-7": (48.6, 79.1, 41.6),
                "3-3-3-3": (48.0, 78.2, 41.0),
                "7-7-7-7": (48.4, 79.0, 41.9),
                "14-14-14-14": (48.7, 79.0, 42.0),
                "14-28-28-7": (49.2, 79.3, 42.0),
                "28-28-28-49": (49.1, 79.4, 42.3),
                "14-28-28-49": (50.6, 79.6, 42.6),
            },
        ),
        (
            7,
            {
                "parallel, standard residual": (49.2,),
                "T+S, standard residual": (49.8,),
                "S+T, standard residual": (50.2,),
                "T+S, skip residual": (50.6,),
                "S+T, skip residual": (31.7,),
            },
        ),
        (
            8,
            {
                "3x3 Conv": (34.5, 6.2, 676, 77.3),
                "7x7 Conv": (113, 20.6, 532, 77.7),
                "Group Conv": (23.4, 4.0, 620, 79.0),
                "MorphFC_s": (23.4, 4.0, 734, 79.6),
            },
        ),
        (
            9,
            {
                "H+W+C, Transformer, weighted sum": (50.6, 79.6),
                "H+W, Transformer, weighted sum": (49.4, 78.5),
                "H+W+C, CNN, weighted sum": (47.2, 77.2),
                "H+W+C, Transformer, plain sum": (50.2, 79.3),
            },
        ),
        (
            10,
            {
                "3x1x1 Conv": (46.0, 62.7, 47.9),
                "5x1x1 Conv": (52.5, 72.9, 48.6),
                "MorphFC_t": (47.0, 66.4, 50.6),
            },
        ),
    ],
)
def test_ablation_rows_are_as_printed(number: int, printed: dict[str, tuple[float, ...]]):
    assert {row.name: tuple(row.published.values()) for row in DESIGNS[number]} == printed


def test_rows_of_morphmlp_alone_are_our_models():
    for table in [TABLES[number] for number in (1, 2, 3, 4, 5, 11)]:
        assert all(bool(row.models) == row.name.startswith("Morph") for row in table.rows)


def test_a_video_row_names_its_model_and_its_views():
    row = named(1, "MorphMLP-B", **{"frames x crops x clips": "32x1x4"})
    assert row.models == (Model("morphmlp_video_b", {"frames": 32, "num_classes": 400}),)
    assert row.views == 4
    assert named(1, "SlowFast R101").views == 30
    assert named(2, "MorphMLP-S", **{"frames x crops x clips": "16x3x1"}).models[0].overrides["num_classes"] == 174


@pytest.mark.parametrize(
    ("number", "row"), [(number, row) for number in DESIGNS for row in TABLES[number].rows], ids=lambda x: str(x)[:40]
)
def test_every_design_of_tables_6_to_10_can_be_built(number: int, row: PaperRow):
    assert [model.name for model in row.models] == {
        6: ["morphmlp_image_t", "morphmlp_video_s"],
        7: ["morphmlp_video_s"],
        8: ["morphmlp_image_t"],
        9: ["morphmlp_image_t", "morphmlp_video_s"],
        10: ["morphmlp_video_s"],
    }[number]
    for model in row.models:
        with torch.device("meta"):
            build_model(model_config(model.name, **model.overrides))


def test_a_table_compares_different_designs_and_the_published_one_among_them():
    for number, rows in DESIGNS.items():
        for name in {model.name for row in TABLES[number].rows for model in row.models}:
            configs = [model_config(name, **row.overrides) for row in rows]
            assert len(set(configs)) == len(rows)
            assert model_config(name) in configs


@pytest.mark.parametrize(
    ("name", "mega", "giga"),
    [
        ("3x3 Conv", "34.5", "6.2"),
        ("7x7 Conv", "113", "20.6"),
        ("Group Conv", "23.4", "4.0"),
        ("MorphFC_s", "23.4", "4.0"),
    ],
)
def test_table_8_is_met_to_the_printed_digits(name: str, mega: str, giga: str):
    (row,) = (row for row in DESIGNS[8] if row.name == name)
    cost = count(model_config("morphmlp_image_t", **row.overrides))
    decimals = len(mega.partition(".")[2])
    assert f"{cost.parameters / 1e6:.{decimals}f}" == mega
    assert f"{cost.multiply_adds / 1e9:.1f}" == giga
