"""A checkpoint and its card on a hub on the loopback address."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import hub_server
import pytest
import tiny
import yaml
from conftest import save_tiny
from hub_server import Hub

import morphmlp
from morphmlp.checkpoints.folder import load_config, rewrite_info
from morphmlp.checkpoints.hub import Repository
from morphmlp.sharing.card import model_card
from morphmlp.sharing.push import shared_values

LICENSE = ("--license", "mit")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_server.running_hub() as running:
        hub_server.use(running, tmp_path / "cache", monkeypatch)
        yield running


@pytest.fixture
def trained(checkpoint: Path, tmp_path: Path) -> Path:
    """The tiny checkpoint, with a summary as a training on this machine leaves it."""
    summary = {
        "data": "/home/someone/gestures/",
        "videos": 1_200,
        "epochs": 30.0,
        "init": "/home/someone/runs/k400/best",
        "lists": {"train": "/home/someone/lists/train.csv", "first_label": None},
        "calibration": {"data": "/home/someone/held_out", "videos": 20, "unknown": 0},
        "note": ["C:\\Users\\someone\\clips", "https://someone:secret@host/set/all.csv?token=someone"],
        "val_top1": 0.95,
        "val_videos": 20,
    }
    rewrite_info(checkpoint, lambda info: replace(info, training=summary, threshold=0.7), out=tmp_path / "trained")
    return tmp_path / "trained"


def files_of(hub: Hub, revision: str = "main") -> dict[str, bytes]:
    repo = hub.repos["me/model"]
    return repo.commits[repo.branches[revision]]


def failed(hub: Hub, *arguments: object) -> str:
    """The one line of a push that fails."""
    result = tiny.run_command("push", *arguments)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1), result.stderr
    assert hub_server.TOKEN not in result.stderr
    assert "request-7" not in result.stderr
    return result.stderr


def test_a_pushed_checkpoint_is_loaded_as_it_was(hub: Hub, checkpoint: Path):
    result = tiny.run_command("push", checkpoint, "me/model", *LICENSE, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    pushed = json.loads(result.stdout)
    assert pushed["name"] == f"hf://me/model@{hub.repos['me/model'].branches['main']}"
    assert pushed["url"] == f"{hub.address}/me/model"
    assert pushed["files"] == ["README.md", "config.json", "model.safetensors"]
    assert files_of(hub)["model.safetensors"] == (checkpoint / "model.safetensors").read_bytes()
    assert load_config("hf://me/model") == load_config(checkpoint)
    assert hub_server.TOKEN not in result.stdout


def test_all_is_one_commit(hub: Hub, checkpoint: Path):
    tiny.run_command("push", checkpoint, "hf://me/model", *LICENSE, "--message", "First one", "--private")
    repo = hub.repos["me/model"]
    assert (repo.messages, repo.private) == (["First one"], True)
    assert len(repo.commits) == 2  # the first is the hub's own, with .gitattributes


def test_a_branch_is_made_and_main_stays(hub: Hub, checkpoint: Path):
    tiny.run_command("push", checkpoint, "me/model", *LICENSE, "--revision", "v2")
    assert "config.json" in files_of(hub, "v2")
    assert "config.json" not in files_of(hub)
    assert morphmlp.load("hf://me/model@v2").config.name == "tiny"


def test_a_model_in_another_format_takes_the_place_of_the_one_before(hub: Hub, checkpoint: Path, tmp_path: Path):
    tiny.run_command("push", checkpoint, "me/model", *LICENSE)
    exported = tmp_path / "exported"
    exported.mkdir()
    config = json.loads((checkpoint / "config.json").read_bytes())
    config |= {"export": {"format": "onnx", "precision": "fp32"}}
    (exported / "config.json").write_text(json.dumps(config))
    (exported / "model.onnx").write_bytes(b"onnx")
    (exported / "notes.txt").write_text("mine")
    assert tiny.run_command("push", exported, "me/model", *LICENSE).returncode == 0
    assert sorted(files_of(hub)) == [".gitattributes", "README.md", "config.json", "model.onnx"]
    assert b"exported for onnx in fp32" in files_of(hub)["README.md"]


def test_the_card_that_is_there_can_be_kept(hub: Hub, checkpoint: Path):
    tiny.run_command("push", checkpoint, "me/model", *LICENSE)
    files_of(hub)["README.md"] = b"mine"
    assert tiny.run_command("push", checkpoint, "me/model", "--keep-card").returncode == 0
    assert files_of(hub)["README.md"] == b"mine"


def test_the_card_says_what_the_model_is(hub: Hub, trained: Path):
    assert tiny.run_command("push", trained, "me/model", *LICENSE).returncode == 0
    text = files_of(hub)["README.md"].decode()
    _, header, body = text.split("---\n", 2)
    values = yaml.safe_load(header)
    assert {name: values[name] for name in ("license", "library_name", "pipeline_tag", "tags")} == {
        "license": "mit",
        "library_name": "morphmlp",
        "pipeline_tag": "video-classification",
        "tags": ["morphmlp", "tiny"],
    }
    (result,) = values["model-index"][0]["results"]
    assert result["dataset"] == {"name": "gestures", "type": "gestures", "split": "validation"}
    assert result["metrics"] == [{"type": "accuracy", "value": 0.95}]
    for line in [
        "| Frames | 4, sampled sparse |",
        "| Size | shorter side 32 px, crop 32 x 32 px |",
        "| Views | 1 in time x 1 in space, joined by logits |",
        "| Threshold | 0.7 |",
        "| Data | gestures |",
        "| Training videos | 1,200 |",
        "| Started from | best |",
        'predict = morphmlp.Predictor("hf://me/model")',
        "On the validation part, 20 videos: top-1 95.0%, 95 % interval 76.4% to 99.1% (Wilson).",
        "moving_left_to_right\nmoving_right_to_left",
        "@inproceedings{zhang2022morphmlp,",
    ]:
        assert line in body, line


def test_no_path_of_this_machine_is_pushed(hub: Hub, trained: Path):
    tiny.run_command("push", trained, "me/model", *LICENSE)
    assert not [name for name, content in files_of(hub).items() if b"someone" in content]
    pushed = json.loads(files_of(hub)["config.json"])["training"]
    assert (pushed["data"], pushed["init"], pushed["lists"]["train"]) == ("gestures", "best", "train.csv")
    assert pushed["calibration"] == {"data": "held_out", "videos": 20, "unknown": 0}
    assert pushed["note"] == ["clips", "all.csv"]
    assert "someone" in (trained / "config.json").read_text(encoding="utf-8")


def test_a_name_on_the_hub_stays_in_what_is_pushed():
    training = {"init": "hf://me/first@main", "data": "s3://bucket/clips", "released": "K400_S16.pyth"}
    assert shared_values({"training": training})["training"] == training | {"data": "clips"}


@pytest.mark.parametrize(
    ("fields", "tag", "figure"),
    [
        ({"temporal": False, "frames": 1}, "image-classification", "None were recorded"),
        ({"temporal": False, "frames": 1, "task": "segmentation"}, "image-segmentation", "mIoU 50.0%. A mean over"),
    ],
)
def test_cards_of_images_and_masks(tmp_path: Path, fields: dict, tag: str, figure: str):
    config = tiny.model_config(10, **fields)
    info = morphmlp.CheckpointInfo(input=tiny.INPUT, training={"val_miou": 0.5, "val_images": 8})
    values = {"training": info.training}
    text = model_card(values, config, info, repository=Repository("me/model", None), license="mit")
    assert f"pipeline_tag: {tag}" in text
    assert figure in text
    assert "Their names are unknown; outputs are numbered from 0." in text


def test_names_of_classes_are_no_markup(tmp_path: Path):
    labels = ["<script>", "a```b", "| x", "line\nbreak", "\x1b[31mred", *(f"class {i}" for i in range(9_995))]
    info = morphmlp.CheckpointInfo(input=tiny.INPUT, labels=labels)
    config = tiny.model_config(len(labels))
    text = model_card({"training": {}}, config, info, repository=Repository("me/model", None), license="mit")
    block = text.split("````text\n")[1].split("\n````")[0]
    assert block.splitlines()[:5] == ["<script>", "a```b", "| x", "line break", "\\x1b[31mred"]
    assert "<summary>10,000 classes</summary>" in text


def test_a_licence_is_asked_for_before_anything_else(hub: Hub, checkpoint: Path):
    assert "--license is missing: say what others may do with the weights, such as apache-2.0, mit," in failed(
        hub, checkpoint, "me/model"
    )
    assert not hub.asked


def test_a_licence_that_the_hub_does_not_know_makes_no_repository(hub: Hub, checkpoint: Path):
    line = failed(hub, checkpoint, "me/model", "--license", "mitt")
    assert 'the hub does not take the card ("license" must be one of' in line
    assert "--license is 'mitt'" in line
    assert not hub.repos


def test_a_run_or_a_damaged_checkpoint_is_not_pushed(hub: Hub, checkpoint: Path, tmp_path: Path):
    damaged = shutil.copytree(checkpoint, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"cut")
    assert "the file is damaged" in failed(hub, damaged, "me/model", *LICENSE)
    assert "is no checkpoint folder" in failed(hub, tmp_path, "me/model", *LICENSE)
    assert not hub.asked


def test_an_exported_folder_that_lacks_its_model_is_not_pushed(hub: Hub, checkpoint: Path, tmp_path: Path):
    config = json.loads((checkpoint / "config.json").read_bytes()) | {"export": {"format": "onnx"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "model.onnx cannot be read (No such file or directory): export it again" in failed(
        hub, tmp_path, "me/model", *LICENSE
    )


@pytest.mark.parametrize("name", ["model", "a/b/c", "me/mo del", "me/"])
def test_a_wrong_name_is_refused(hub: Hub, checkpoint: Path, name: str):
    assert "names no repository; expected hf://owner/name" in failed(hub, checkpoint, name, *LICENSE)


def test_without_a_token(hub: Hub, checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HF_TOKEN")
    assert "hf://me/model: the hub asks for a token; log in with `hf auth login`, or set HF_TOKEN" in failed(
        hub, checkpoint, "me/model", *LICENSE
    )


@pytest.mark.parametrize(
    ("status", "wanted"),
    [(401, "the hub refuses the token"), (403, "the token may not do this there"), (500, "status 500; try again")],
)
def test_a_hub_that_refuses_gets_no_repository(
    hub: Hub, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, status: int, wanted: str
):
    monkeypatch.setattr("huggingface_hub.ModelCard.validate", lambda self: None)
    hub.refuse, hub.message = status, f"Invalid credentials in Authorization header {hub_server.TOKEN}"
    assert wanted in failed(hub, checkpoint, "me/model", *LICENSE)
    assert not hub.repos


def test_what_the_hub_says_is_shown_without_the_token(hub: Hub, checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.ModelCard.validate", lambda self: None)
    hub.refuse, hub.message = 422, f"no space for {hub_server.TOKEN}"
    assert "the hub refuses it: no space for ***" in failed(hub, checkpoint, "me/model", *LICENSE)


def test_no_network(hub: Hub, checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    line = failed(hub, checkpoint, "me/model", *LICENSE)
    assert line == "error: hf://me/model: the hub (127.0.0.1) cannot be reached; check the network\n"


def test_offline_mode_is_named(hub: Hub, checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub.errors import OfflineModeIsEnabled

    def offline(*_: object, **__: object) -> None:
        raise OfflineModeIsEnabled("Cannot reach it: offline mode is enabled.")

    monkeypatch.setattr("huggingface_hub.ModelCard.validate", offline)
    line = failed(hub, checkpoint, "me/model", *LICENSE)
    assert line == "error: hf://me/model: HF_HUB_OFFLINE is set; unset it\n"


def test_an_image_model_is_used_with_an_image(hub: Hub, tmp_path: Path):
    folder = save_tiny(tmp_path / "image", labels=["a", "b"], temporal=False, frames=1)
    tiny.run_command("push", folder, "me/model", *LICENSE)
    assert "morphmlp predict hf://me/model image.jpg" in files_of(hub)["README.md"].decode()
