"""Ablations: what the rows become on small models, that they are compared fairly, and that nothing done is lost."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from jsonargparse import Namespace

from morphmlp.analysis.paper import ablation as ablate
from morphmlp.analysis.paper.ablation import RowResult, proxy_overrides, run_ablation, table_rows
from morphmlp.analysis.paper.ablation_report import ablation_tables, compare_orders, mean, plot_ablation, report, spread
from morphmlp.analysis.paper.published import ABLATIONS
from morphmlp.checkpoints.folder import save
from morphmlp.commands.ablate import _configure
from morphmlp.config import RunConfig
from morphmlp.data.sets.read import read_training_sets
from morphmlp.errors import CheckpointError, ConfigError, DataError
from morphmlp.models.zoo import build_model, model_config
from morphmlp.tasks.classification.training import ClassificationTask
from tests import tiny

NANO = model_config("morphmlp_video_nano")


@pytest.fixture
def config(data: Path) -> RunConfig:
    return tiny.run_config(data, precision="fp32")


def run(config: RunConfig, out: Path, *, table: int = 7, steps: int = 3, seeds: int = 1) -> list[RowResult]:
    sets = read_training_sets(config.data)
    return run_ablation(table, config, sets, out, steps=steps, seeds=seeds, say=lambda line: None)


# -------------------------------------------------------------------------------------------------- rows


def test_the_paper_s_own_size_takes_the_rows_literally():
    small = model_config("morphmlp_video_s")
    rows = {row.published.name: row for row in table_rows(6, small)}
    assert rows["3-3-3-3"].model.chunk_lengths == (3, 3, 3, 3)
    assert rows["14-28-28-49"].model == small


@pytest.mark.parametrize(
    ("published", "at_64_px"),
    [
        ((14, 28, 28, 49), (4, 8, 8, 4)),  # the published design is the nano model itself
        ((56, 28, 14, 7), (16, 8, 4, 2)),  # a row of the map in each stage
        ((7, 7, 7, 7), (2, 2, 2, 2)),
        ((14, 14, 14, 14), (4, 4, 4, 4)),
        ((14, 28, 28, 7), (4, 8, 8, 2)),
        ((28, 28, 28, 49), (8, 8, 8, 4)),
        ((3, 3, 3, 3), (1, 1, 1, 1)),
    ],
)
def test_chunk_lengths_keep_their_proportion_to_the_map(published: tuple[int, ...], at_64_px: tuple[int, ...]):
    assert proxy_overrides({"chunk_lengths": published}, NANO) == {"chunk_lengths": at_64_px}


def test_the_resnet_row_takes_the_small_model_s_depths_and_widths():
    (row,) = [row for row in table_rows(9, NANO) if row.overrides][1:2]
    assert row.overrides == {"style": "cnn"}
    assert row.model.widths == NANO.widths


@pytest.mark.parametrize("table", [6, 7, 8, 9, 10])
def test_every_row_of_a_table_is_another_model(table: int):
    rows = table_rows(table, NANO)
    assert [row.published for row in rows] == list(ABLATIONS[table])
    assert len({row.model for row in rows}) == len(rows)


def test_a_table_without_designs_is_refused():
    with pytest.raises(ConfigError, match="table 5 compares no designs; allowed: 6, 7, 8, 9, 10"):
        table_rows(5, NANO)


# -------------------------------------------------------------------------------------------------- running


def test_all_rows_see_the_same_batches_and_start_alike(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: dict[int, list[float]] = {}
    loss = ClassificationTask.loss

    def spy(task, model, batch, device):
        value = loss(task, model, batch, device)
        seen.setdefault(id(model), []).append((batch.clips.sum().item(), value.item()))
        return value

    monkeypatch.setattr(ClassificationTask, "loss", spy)
    run(config, tmp_path / "out", steps=7)  # more than an epoch of 5 batches
    assert len(seen) == 5
    batches = [[clips for clips, _ in steps] for steps in seen.values()]
    assert all(row == batches[0] for row in batches)
    assert len(set(batches[0])) == 7
    losses = [[value for _, value in steps] for steps in seen.values()]
    # T+S with standard and with skip residual are the same function at the start, where MorphFC_t adds nothing.
    assert losses[1][0] == losses[3][0]
    assert losses[1][-1] != losses[3][-1]


def test_a_design_trained_alone_gives_what_it_gives_beside_the_others(config: RunConfig, tmp_path: Path):
    together = run(config, tmp_path / "together", steps=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ABLATIONS, 7, ABLATIONS[7][3:4])
        (alone,) = run(config, tmp_path / "alone", steps=4)
    assert alone.name == together[3].name
    assert alone.top1 == together[3].top1


def test_an_interrupted_ablation_goes_on_behind_the_last_seed(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    trained = []
    train_rows = ablate._train_rows

    def interrupted(rows, config, sets, **options):
        trained.append(config.train.seed)
        if trained == [0, 1]:
            raise KeyboardInterrupt
        return train_rows(rows, config, sets, **options)

    monkeypatch.setattr(ablate, "_train_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "out", seeds=2)
    stopped = run(config, tmp_path / "out", seeds=2)
    assert trained == [0, 1, 1]
    assert [row.top1 for row in stopped] == [row.top1 for row in run(config, tmp_path / "whole", seeds=2)]


def test_another_ablation_does_not_mix_with_the_one_in_the_folder(config: RunConfig, tmp_path: Path):
    run(config, tmp_path / "out")
    with pytest.raises(ConfigError, match="holds an ablation with other settings; choose another --out"):
        run(config, tmp_path / "out", steps=4)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    with pytest.raises(ConfigError, match="holds no ablation"):
        run(config, tmp_path / "other")


def test_a_design_that_diverges_stops_and_the_others_go_on(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    loss = ClassificationTask.loss
    calls = []

    def first_row_breaks(task, model, batch, device):
        calls.append(model.config.block)
        value = loss(task, model, batch, device)
        return value * math.nan if model.config.block == "parallel" else value

    monkeypatch.setattr(ClassificationTask, "loss", first_row_breaks)
    results = run(config, tmp_path / "out")
    assert results[0].top1 == [None]
    assert all(isinstance(row.top1[0], float) for row in results[1:])
    assert calls.count("parallel") == 1  # and then no more steps


def test_a_temporal_table_needs_videos(config: RunConfig, tmp_path: Path):
    image = replace(config, model=replace(config.model, temporal=False, frames=1))
    with pytest.raises(DataError, match="table 10 compares designs over time"):
        run(image, tmp_path / "out", table=10)


# -------------------------------------------------------------------------------------------------- what is shown


def result(name: str, published: float, *top1: float | None) -> RowResult:
    return RowResult(name, {}, {"SSV1 top-1": published}, 1_000_000, 2_000_000, list(top1), 1.0)


def test_pairs_are_compared_by_their_differences_seed_by_seed():
    # Seeds differ more than designs do, but b is 0.02 above a with every seed, and c is above a by chance.
    rows = [result("a", 50, 0.30, 0.50, 0.70), result("b", 51, 0.32, 0.52, 0.721), result("c", 49, 0.60, 0.50, 0.55)]
    verdicts = {tuple(pair["rows"]): pair["verdict"] for pair in compare_orders(rows, "SSV1 top-1")}
    assert verdicts == {("a", "b"): "agrees", ("a", "c"): "not told apart", ("b", "c"): "not told apart"}
    rows[1] = result("b", 49, 0.32, 0.52, 0.721)
    assert compare_orders(rows, "SSV1 top-1")[0]["verdict"] == "disagrees"


def test_a_difference_that_three_seeds_may_show_by_chance_is_not_told_apart():
    # Differences 0.01, 0.02, 0.03: the mean is 3.5 standard errors from zero, which t with 2 degrees needs 4.3 of.
    rows = [result("a", 51, 0.31, 0.42, 0.53), result("b", 50, 0.30, 0.40, 0.50)]
    assert compare_orders(rows, "SSV1 top-1")[0]["verdict"] == "not told apart"
    rows[0] = result("a", 51, 0.315, 0.42, 0.525)  # 0.015, 0.02, 0.025: 6.9 standard errors
    assert compare_orders(rows, "SSV1 top-1")[0]["verdict"] == "agrees"


def test_one_seed_tells_nothing_apart():
    (pair,) = compare_orders([result("a", 50, 0.1), result("b", 51, 0.9)], "SSV1 top-1")
    assert pair["verdict"] == "not told apart"


def test_mean_and_spread_are_those_of_the_seeds():
    assert mean(result("a", 50, 0.2, 0.4, 0.6)) == pytest.approx(0.4)
    assert spread(result("a", 50, 0.2, 0.4, 0.6)) == pytest.approx(0.2)
    assert math.isnan(spread(result("a", 50, 0.2)))
    assert math.isnan(mean(result("a", 50, 0.2, None)))


def test_a_report_is_valid_json_even_with_a_design_that_diverged():
    rows = [result("a", 50, 0.2, None), result("b", 51, 0.3, 0.4)]
    values = json.loads(json.dumps(report(7, rows, column="SSV1 top-1", facts={"steps": 3}), allow_nan=False))
    assert values["rows"][0]["mean"] is None
    assert values["rows"][1]["mean"] == pytest.approx(0.35)
    assert values["note"].startswith("a small-scale proxy")


def test_the_table_and_the_plot_name_every_design(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from morphmlp.display.tables import print_all

    rows = [result("left", 50.6, 0.2, 0.4), result("right", 49.8, 0.1, None)]
    print_all(ablation_tables(7, rows, "SSV1 top-1"))
    shown = capsys.readouterr().out
    for text in ("left", "50.6", "30.0 ± 14.1", "diverged", "1.00 M", "not told apart: 1 of 1: left / right"):
        assert text in shown
    plot_ablation(7, rows, "SSV1 top-1", tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_writes_table_and_plot(data: Path, tmp_path: Path):
    recipe = tmp_path / "recipe.yaml"
    arch = "{depths: [1, 1, 1, 1], widths: [8, 16, 16, 16], chunk_lengths: [2, 2, 2, 1], frames: 4, image_size: 32}"
    recipe.write_text(f"batch_size: 4\nworkers: 0\narch: {arch}\ninput: {{crop: [32, 32], resize: 32}}\n")
    options = ["--data", data, "--recipe", recipe, "--steps", 2, "--seeds", 2, "--out", tmp_path / "out"]
    process = tiny.run_process("ablate", 10, *options, "--json")
    assert process.returncode == 0, process.stderr
    values = json.loads(process.stdout)
    assert [row["name"] for row in values["rows"]] == ["3x1x1 Conv", "5x1x1 Conv", "MorphFC_t"]
    assert all(len(row["top1"]) == 2 for row in values["rows"])
    assert json.loads((tmp_path / "out" / "table.json").read_text()) == values
    assert (tmp_path / "out" / "plot.png").is_file()


def test_the_command_refuses_a_recipe_that_is_none(data: Path, tmp_path: Path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("- just\n- a list\n")
    process = tiny.run_command("ablate", 7, "--data", data, "--recipe", recipe, "--out", tmp_path / "out")
    assert process.returncode == 1
    assert "allowed: names with values" in process.stderr
    assert not (tmp_path / "out").exists()


def test_recipes_are_read_as_train_reads_them(data: Path, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("base: something\nmodel: morphmlp_video_nano\nlists: {labels: null}\n")
    for recipe, sampling in (("demo", "sparse"), (str(tmp_path / "mine.yaml"), "sparse"), ("k400_s16", "dense")):
        options = Namespace(data=str(data), recipe=recipe, batch_size=3, init=None)
        if recipe == "k400_s16":  # its list of 400 names does not have these classes
            with pytest.raises(DataError, match="k400"):
                _configure(options, tmp_path)
            continue
        config, sets = _configure(options, tmp_path)
        assert (config.input.sampling, config.train.batch_size, len(sets[1].samples)) == (sampling, 3, 10)


def test_designs_start_from_a_checkpoint_that_they_fit(config: RunConfig, tmp_path: Path):
    image = replace(config.model, temporal=False, frames=1, name="tiny_image")
    save(build_model(image), tmp_path / "image")
    started = replace(config, init=str(tmp_path / "image"))
    assert len(run(started, tmp_path / "out", table=10, steps=1)) == 3
    with pytest.raises(CheckpointError, match="chunk_lengths"):
        run(started, tmp_path / "six", table=6, steps=1)
    assert not (tmp_path / "six").exists()


def test_the_command_refuses_what_it_cannot_compare_before_any_work(data: Path, tmp_path: Path):
    for kind in ("images", "annotations"):
        (tmp_path / "masks" / kind).mkdir(parents=True)
    (tmp_path / "init.yaml").write_text(f"model: morphmlp_video_nano\ninit: {tmp_path}\n")
    for arguments, message in (
        (["3"], "table 3 compares no designs; allowed: 6, 7, 8, 9, 10"),
        (["7", "--data", tmp_path / "masks"], "holds masks, and `ablate` compares classifiers"),
        (["7", "--data", data, "--recipe", tmp_path / "init.yaml"], "is no checkpoint folder"),
        (["7", "--data", data, "--recipe", "demoo"], "did you mean demo"),
    ):
        process = tiny.run_command("ablate", *arguments, "--out", tmp_path / "out")
        assert process.returncode == 1
        assert message in process.stderr
        assert len(process.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_damaged_result_is_named(config: RunConfig, tmp_path: Path):
    run(config, tmp_path / "out")
    (tmp_path / "out" / "results.jsonl").write_text('{"seed": 0')
    with pytest.raises(ConfigError, match=r"results.jsonl is damaged .*; remove .*out, or choose another --out"):
        run(config, tmp_path / "out")
