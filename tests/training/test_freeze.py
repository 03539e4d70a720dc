"""A frozen part: its weights and statistics stay those of the start, whatever else the run does."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file
from training.test_processes import run_processes

from morphmlp.config import TrainConfig
from morphmlp.errors import ConfigError
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.zoo import create_model
from morphmlp.training import run as training
from morphmlp.training.freeze import freeze
from morphmlp.training.optim import make_optimizer
from morphmlp.training.run import resume, train
from morphmlp.training.stopping import Interrupted

BACKBONE = ("stem.", "downsamples.", "stages.")
TWO_STAGES = ("stem.", "downsamples.0.", "stages.0.", "stages.1.")


def changed(run: Path, start: Path) -> set[str]:
    """Names of the weights and statistics of `last` that are not those of the start."""
    before, after = (load_file(folder / "model.safetensors") for folder in (start, run / "last"))
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


@pytest.mark.parametrize(("part", "frozen"), [("backbone", BACKBONE), (4, BACKBONE), (2, TWO_STAGES), (0, ("stem.",))])
def test_the_first_stages_are_frozen_and_all_else_is_trained(part: Any, frozen: tuple[str, ...]):
    model = MorphMLP(tiny.model_config(3))
    freeze(model, part)
    model.train()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, _ in model.named_parameters() if not name.startswith(frozen)}
    for name, module in model.named_modules():
        inside = f"{name}.".startswith(frozen)
        assert module.training != inside or not name or name in ("stages", "downsamples"), name


def test_every_batch_norm_of_a_frozen_cnn_stays_in_evaluation_mode():
    model = create_model("morphmlp_image_nano", style="cnn", num_classes=3)
    freeze(model, "backbone")
    before = {name: value.clone() for name, value in model.named_buffers()}
    assert before
    model.train()(torch.rand(2, 3, 32, 32)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())


def test_frozen_weights_and_statistics_stay_to_the_last_bit_and_have_no_optimizer_state(
    data: Path, checkpoint: Path, tmp_path: Path
):
    config = tiny.run_config(data, init=checkpoint, freeze=2, ema=0.5, layer_decay=0.7, drop_path=0.3)
    train(config, tmp_path / "run")
    moved = changed(tmp_path / "run", checkpoint)
    assert "head.weight" in moved
    assert "stages.2.0.mlp.fc1.weight" in moved
    assert not {name for name in moved if name.startswith(TWO_STAGES)}
    state = torch.load(tmp_path / "run" / "last" / "state.pt", weights_only=True)
    assert not [name for name in state["optimizer"]["state"] if name.startswith(TWO_STAGES)]
    assert "head.weight" in state["optimizer"]["state"]


def test_a_frozen_run_that_was_stopped_goes_on_to_the_last_bit(
    data: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = tiny.run_config(data, init=checkpoint, freeze="backbone", ema=0.9)
    train(config, tmp_path / "whole")
    tiny.stop_after(3, monkeypatch)
    with pytest.raises(Interrupted):
        train(config, tmp_path / "stopped")
    resume(tmp_path / "stopped")
    whole, stopped = (load_file(tmp_path / run / "last" / "model.safetensors") for run in ("whole", "stopped"))
    assert all(torch.equal(value, stopped[name]) for name, value in whole.items())
    assert not {name for name in changed(tmp_path / "stopped", checkpoint) if name.startswith(BACKBONE)}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_the_frozen_part_stays_in_two_processes(data: Path, checkpoint: Path, tmp_path: Path, mode: str):
    settings: dict[str, Any] = {"init": str(checkpoint), "freeze": 2, "epochs": 1, "sync_batchnorm": True}
    settings |= {"fsdp": True} if mode == "fsdp" else {"ema": 0.5}
    ended = run_processes(2, "train", data, tmp_path / "run", **settings)
    assert not any(ended.codes), ended.err[-3000:]
    moved = changed(tmp_path / "run", checkpoint)
    assert "head.weight" in moved
    assert not {name for name in moved if name.startswith(TWO_STAGES)}


def test_a_frozen_part_without_weights_to_start_from_is_refused(data: Path):
    with pytest.raises(ConfigError, match=r"train\.freeze is 1, but there are no weights to start from.* --init"):
        tiny.run_config(data, freeze=1)
    with pytest.raises(ConfigError, match=r"train\.probe is True, but .* leave out --probe"):
        tiny.run_config(data, probe=True)


@pytest.mark.parametrize("part", [5, -1])
def test_a_stage_that_is_not_there_is_refused(part: int):
    with pytest.raises(ConfigError, match=rf"train\.freeze is {part}; allowed: 0 to 4 stages, or 'backbone'"):
        TrainConfig(freeze=part)


def test_another_word_than_backbone_is_refused_with_all_that_is_allowed():
    with pytest.raises(ConfigError, match=r"train\.freeze is 'all'; allowed: a value of type int or 'backbone'"):
        TrainConfig.from_dict({"freeze": "all"})


def test_layer_decay_gives_the_trained_blocks_the_rates_that_they_had():
    def scales(part: int | None) -> dict[str, float]:
        model = MorphMLP(tiny.model_config(3))
        freeze(model, part)
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        groups = make_optimizer(model, TrainConfig(layer_decay=0.5)).param_groups
        return {names[id(p)]: group["lr_scale"] for group in groups for p in group["params"]}

    everything = scales(None)
    assert scales(2) == {name: scale for name, scale in everything.items() if not name.startswith(TWO_STAGES)}


def test_the_first_lines_say_how_many_parameters_train(data: Path, checkpoint: Path, tmp_path: Path):
    ended = tiny.run_command(
        *("train", data, "--init", checkpoint, "--freeze", "backbone", "--epochs", "1", "--batch-size", "4"),
        *("--workers", "0", "--out", tmp_path / "run"),
    )
    assert ended.returncode == 0, ended.stderr
    assert "(202 of them trained, the others frozen), on cpu" in ended.stderr
    assert training.RunFolder(tmp_path / "run").read_config().train.freeze == "backbone"
