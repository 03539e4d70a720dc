"""Designs at small scale: what they become there, that they are compared fairly, and that no result is lost."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from jsonargparse import Namespace

from morphmlp.analysis.paper import trained
from morphmlp.analysis.paper.published import DESIGNS
from morphmlp.analysis.paper.trained import ProxyResult, proxies, proxy_overrides, train_designs
from morphmlp.checkpoints.folder import save
from morphmlp.commands.ablate import configure
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


def run(config: RunConfig, out: Path, *, table: int = 7, steps: int = 3, seeds: int = 1) -> list[ProxyResult]:
    sets = read_training_sets(config.data)
    return train_designs(table, config, sets, out, steps=steps, seeds=seeds, say=lambda line: None)


# -------------------------------------------------------------------------------------------------- rows


def test_the_paper_s_own_size_takes_the_rows_literally():
    small = model_config("morphmlp_video_s")
    rows = {row.design.name: row for row in proxies(6, small)}
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
    (row,) = [row for row in proxies(9, NANO) if row.overrides][1:2]
    assert row.overrides == {"style": "cnn"}
    assert row.model.widths == NANO.widths


@pytest.mark.parametrize("table", [6, 7, 8, 9, 10])
def test_every_row_of_a_table_is_another_model(table: int):
    rows = proxies(table, NANO)
    assert [row.design for row in rows] == list(DESIGNS[table])
    assert len({row.model for row in rows}) == len(rows)


def test_a_table_without_designs_is_refused():
    with pytest.raises(ConfigError, match="table 5 compares no designs; allowed: 6, 7, 8, 9, 10"):
        proxies(5, NANO)


# -------------------------------------------------------------------------------------------------- running


def test_all_rows_see_the_same_batches_and_start_alike(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: dict[int, list[tuple[float, float]]] = {}
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
        patch.setitem(DESIGNS, 7, DESIGNS[7][3:4])
        (alone,) = run(config, tmp_path / "alone", steps=4)
    assert alone.name == together[3].name
    assert alone.top1 == together[3].top1


def test_an_interrupted_ablation_goes_on_after_the_last_seed(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    started = []
    train_rows = trained._train_rows

    def interrupted(rows, config, sets, **options):
        started.append(config.train.seed)
        if started == [0, 1]:
            raise KeyboardInterrupt
        return train_rows(rows, config, sets, **options)

    monkeypatch.setattr(trained, "_train_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "out", seeds=2)
    stopped = run(config, tmp_path / "out", seeds=2)
    assert started == [0, 1, 1]
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


# -------------------------------------------------------------------------------------------------- the command


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
                configure(options, tmp_path)
            continue
        config, sets = configure(options, tmp_path)
        assert (config.input.sampling, config.train.batch_size, len(sets[1].samples)) == (sampling, 3, 10)


def test_a_recipe_with_averaged_weights_trains_without_them(data: Path, tmp_path: Path):
    """Those of ImageNet keep averaged weights aside."""
    base = {"base": "imagenet", "arch": tiny.MODEL, "input": tiny.INPUT.to_dict(), "accumulate": 2, "workers": 0}
    (tmp_path / "mine.yaml").write_text(json.dumps(base | {"model": "morphmlp_video_nano"}, default=list))
    recipe = str(tmp_path / "mine.yaml")
    config, sets = configure(Namespace(data=str(data), recipe=recipe, batch_size=2, init=None), tmp_path)
    assert (config.train.ema, config.train.ema_aside) == (0.99996, True)
    results = train_designs(10, config, sets, tmp_path / "out", steps=1, seeds=1, say=lambda line: None)
    assert all(result.top1[0] is not None for result in results)


def test_several_processes_are_refused(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="in one process, and 2 were started"):
        train_designs(7, config, read_training_sets(config.data), tmp_path / "out", steps=1, seeds=1, say=print)
    assert not (tmp_path / "out").exists()


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
