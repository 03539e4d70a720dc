"""The weights that come with the package: a name for a checkpoint, verified, carried to other frames and classes."""

import json
import os
from pathlib import Path

import pytest
import tiny
import torch
from safetensors import safe_open

import morphmlp
from morphmlp.checkpoints import starts
from morphmlp.checkpoints.folder import CheckpointInfo, load, load_with_info, rewrite_info, save
from morphmlp.checkpoints.frame_counts import resize_frames
from morphmlp.checkpoints.hub import folder_name, local_checkpoint, pinned
from morphmlp.checkpoints.starts import STARTS, start_of
from morphmlp.config import InputConfig
from morphmlp.demo.motions.render import MOTIONS
from morphmlp.demo.start import write_start
from morphmlp.errors import CheckpointError, ConfigError
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.training.initial_weights import initial_model
from morphmlp.training.settings import run_config

NANO = "morphmlp_video_nano"
LABELS = ["up", "down", "left"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of nano with random weights, which also its temporal layers have, as a run leaves one."""
    torch.manual_seed(0)
    model = morphmlp.create_model(NANO, num_classes=3, frames=8, drop_path=0.1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    folder = tmp_path_factory.mktemp("run") / "best"
    info = CheckpointInfo(InputConfig(crop=(64, 64), resize=72), LABELS, {"data": str(folder), "epochs": 16.0})
    save(model, folder, info)
    return folder


@pytest.fixture
def packed(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same as the start "rendered" of the package, seen from an empty working folder."""
    folder = tmp_path / "weights" / "rendered"
    monkeypatch.setattr(starts, "FOLDER", folder.parent)
    monkeypatch.setitem(STARTS, "rendered", write_start(trained, folder))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


def same_weights(left: MorphMLP, right: MorphMLP, *, but: tuple[str, ...] = ()) -> bool:
    others = right.state_dict()
    return all(torch.equal(value, others[name]) for name, value in left.state_dict().items() if name not in but)


# ------------------------------------------------------------------------------------------------ the packed folder


@pytest.mark.parametrize("name", STARTS)
def test_the_files_of_the_package_are_those_that_were_measured(name: str):
    folder = local_checkpoint(name)  # verifies their digests
    model, info = load_with_info(name)
    assert model.config.name == STARTS[name].model
    assert info.labels == sorted(MOTIONS)
    assert info.training["data"] == name
    assert sum(path.stat().st_size for path in folder.iterdir()) < 8e6
    assert not any(line.lstrip().startswith('"/') or '": "/' in line for line in config_text(folder).splitlines())


def config_text(folder: Path) -> str:
    return (folder / "config.json").read_text(encoding="utf-8")


def test_a_start_is_in_half_precision_and_names_no_folder(packed: Path, trained: Path):
    with safe_open(packed / "model.safetensors", "pt") as file:
        types = {str(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118
    assert types <= {"F16", "I64"}
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (packed, trained)]
    assert sizes[0] < 0.51 * sizes[1]
    assert json.loads(config_text(packed))["training"] == {"data": "rendered", "epochs": 16.0}
    assert str(trained.parent) not in config_text(packed)


def test_weights_that_half_precision_cannot_hold_are_refused(tmp_path: Path):
    model = morphmlp.create_model(NANO, num_classes=2, frames=2)
    torch.nn.init.constant_(model.head.bias, 1e6)
    save(model, tmp_path / "best")
    with pytest.raises(CheckpointError, match=r"above 65,504"):
        write_start(tmp_path / "best", tmp_path / "start")
    assert not (tmp_path / "start").exists()


# ------------------------------------------------------------------------------------------------------- its name


def test_a_start_is_loaded_by_its_name_in_single_precision(packed: Path, trained: Path):
    assert local_checkpoint("rendered") == packed
    model, info = load_with_info("rendered")
    assert same_weights(model, load(trained).half().float())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert info.labels == LABELS
    assert pinned("rendered") == folder_name("rendered") == "rendered"


def test_a_checkpoint_of_that_name_in_the_working_folder_comes_first(packed: Path, checkpoint: Path):
    os.makedirs("rendered/up")  # such as a set of rendered videos, which is no checkpoint
    assert local_checkpoint("rendered") == packed
    os.removedirs("rendered/up")
    os.symlink(checkpoint, "rendered")
    assert local_checkpoint("rendered") == Path("rendered")
    assert load("rendered").config.name == "tiny"
    assert pinned("rendered") == os.path.abspath("rendered")


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_damaged_file_is_named_in_one_line(packed: Path, file: str):
    content = bytearray((packed / file).read_bytes())
    content[len(content) // 2] ^= 1
    (packed / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"'rendered' of the package is damaged: .*{file} is .*install morphmlp"):
        load("rendered")
    (packed / file).unlink()
    with pytest.raises(CheckpointError, match=rf"cannot be read: .*{file}: No such file"):
        morphmlp.create_model(NANO, pretrained="rendered")


def test_a_start_is_never_rewritten(packed: Path):
    with pytest.raises(CheckpointError, match="is of the package, and stays as it is: give --out FOLDER"):
        rewrite_info("rendered", lambda info: info)
    rewrite_info("rendered", lambda info: info, out="copy")
    assert same_weights(load("copy"), load("rendered"))


def test_a_near_name_is_suggested(packed: Path):
    with pytest.raises(CheckpointError, match="did you mean rendered, the start of the package"):
        load("renderd")


# --------------------------------------------------------------------------------------------------- create_model


def test_a_named_model_starts_with_the_weights_classes_and_frames_of_its_start(packed: Path):
    start = load("rendered")
    for pretrained in ("rendered", True):
        model = morphmlp.create_model(NANO, pretrained=pretrained)
        assert same_weights(model, start)
        assert (model.config.num_classes, model.config.frames, model.config.drop_path) == (3, 8, 0.0)
        assert model.training
        assert all(parameter.requires_grad for parameter in model.parameters())


def test_its_temporal_layers_are_carried_to_other_frame_counts(packed: Path):
    model = morphmlp.create_model(NANO, pretrained="rendered", frames=16, drop_path=0.3)
    assert same_weights(model, resize_frames(load("rendered"), 16))
    assert (model.config.frames, model.config.drop_path) == (16, 0.3)
    assert model(torch.zeros(1, 3, 16, 64, 64)).shape == (1, 3)


def test_the_head_is_fresh_where_the_classes_differ(packed: Path):
    torch.manual_seed(3)
    model = morphmlp.create_model(NANO, pretrained="rendered", num_classes=10)
    torch.manual_seed(3)
    fresh = morphmlp.create_model(NANO, num_classes=10, frames=8)
    assert torch.equal(model.head.weight, fresh.head.weight)
    assert same_weights(load("rendered"), model, but=("head.weight", "head.bias"))
    save(model, "mine")
    info = load_with_info("mine")[1]
    assert (info.labels, info.input.resize) == ([], 72)  # the labels are not its own, and the input is


@pytest.mark.parametrize("name", ["morphmlp_video_s", "morphmlp_image_nano"])
@pytest.mark.parametrize("pretrained", ["rendered", True])
def test_a_model_without_a_start_is_refused_with_those_that_have_one(packed: Path, name: str, pretrained: str | bool):
    with pytest.raises(ConfigError) as caught:
        morphmlp.create_model(name, pretrained=pretrained)
    assert str(caught.value) == (
        f"pretrained is {pretrained!r}, and the package has no such weights of {name}; it has: 'rendered' of {NANO} "
        "(morphmlp.load takes other checkpoints)"
    )


def test_other_names_and_layers_are_refused(packed: Path):
    with pytest.raises(ConfigError, match=r"pretrained is 'runs/mine', .*morphmlp.load"):
        morphmlp.create_model(NANO, pretrained="runs/mine")
    with pytest.raises(ConfigError, match=r"has temporal_op 'morphfc'; leave temporal_op out, or pretrained"):
        morphmlp.create_model(NANO, pretrained="rendered", temporal_op="conv3")
    with pytest.raises(ConfigError, match=r"'morphmlp_video_nan' is unknown; did you mean"):
        morphmlp.create_model("morphmlp_video_nan", pretrained="rendered")
    assert morphmlp.create_model(NANO, pretrained=False, frames=2).checkpoint_info is None


# ------------------------------------------------------------------------------------------------ the command line


def test_a_training_starts_from_it_by_name(packed: Path, data: Path):
    config = run_config(data, num_classes=10, recipe={"init": "rendered", "arch": {"frames": 4}})
    assert (config.init, config.model.name, config.model.frames, config.input.resize) == ("rendered", NANO, 4, 72)
    model, notes = initial_model(config, [str(number) for number in range(10)])
    assert same_weights(resize_frames(load("rendered"), 4), model, but=("head.weight", "head.bias"))
    assert "starts from rendered (morphmlp_video_nano); its temporal layers are carried from 8 to 4 frames" in notes[0]


def test_another_model_is_refused_in_one_line(packed: Path, data: Path):
    refused = tiny.run_command("train", data, "--init", "rendered", "--model", "morphmlp_video_s", "--out", "run")
    assert refused.returncode == 1
    assert "rendered does not fit the model to train; depths: (2, 2, 4, 2), (3, 4, 9, 3)" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_models_names_the_start_of_each(packed: Path, monkeypatch: pytest.MonkeyPatch):
    row = {"frames": 16, "size": 64, "classes": 400, "parameters": 1, "multiply_adds": 1}
    listed = [row | {"model": NANO}, row | {"model": "morphmlp_video_s"}]
    monkeypatch.setattr("morphmlp.models.cost.model_rows", lambda: listed)
    rows = json.loads(tiny.run_command("models", "--json").stdout)
    assert [row["start"] for row in rows] == ["rendered", None] == [start_of(row["model"]) for row in listed]
    lines = [line for line in tiny.run_command("models").stdout.splitlines() if "morphmlp_" in line]
    assert [line.split()[-1] for line in lines] == ["rendered", "G"]
