"""The command line as a user meets it: exit status, one line for a mistake, nothing half-written, clean output."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import fresh
import pytest
import tiny
import torch
import yaml
from conftest import save_tiny
from encoding import copy_video
from recorded_values import draw_tensor

from morphmlp import cli
from morphmlp.checkpoints.folder import CheckpointInfo, load_config
from morphmlp.checkpoints.released import _released_name
from morphmlp.config import PUBLISHED_INPUTS
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.zoo import model_config
from morphmlp.recipes import load_recipe

VERBS = ["demo", "check-data", "train", "evaluate", "calibrate", "predict", "watch", "serve", "features", "segment"]
VERBS += ["convert", "export", "push", "visualize", "bench", "ablate", "models", "table"]


@pytest.fixture
def video(data: Path) -> Path:
    return data / "val" / "moving_up" / "moving_up_0001.mp4"


@pytest.fixture(scope="module")
def released_image_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the released layout: image T with random values."""
    with torch.device("meta"):
        shapes = {
            name: tensor.shape for name, tensor in MorphMLP(model_config("morphmlp_image_t")).state_dict().items()
        }
    state = {_released_name(name): draw_tensor(name, tuple(shape)) for name, shape in shapes.items()}
    path = tmp_path_factory.mktemp("released") / "morphmlp_t.pth"
    torch.save({"model_state": state}, path)
    return path


def run_main(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of the command line, in this process."""
    capfd.readouterr()
    try:
        status = cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        status = int(stop.code or 0)
    return status, *capfd.readouterr()


def assert_one_error(result: tuple[int, str, str], *parts: str) -> None:
    """Exit status 1 and one line on standard error; it holds all the parts."""
    status, out, err = result
    lines = err.strip().splitlines()
    assert (status, out, len(lines)) == (1, "", 1), err
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0]


# Help and usage


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_an_example(verb: str, capfd: pytest.CaptureFixture[str]):
    status, out, err = run_main(capfd, verb, "--help")
    assert (status, err) == (0, "")
    assert f"usage: morphmlp {verb}" in out
    assert f"example:\n  morphmlp {verb}" in out
    assert max(map(len, out.splitlines())) <= 120


def test_help_of_train_is_one_screen_and_help_all_has_every_option(capfd: pytest.CaptureFixture[str]):
    status, short, _ = run_main(capfd, "train", "--help")
    assert status == 0
    assert len(short.splitlines()) <= 50
    for name in ("data", "out", "model", "init", "epochs", "batch_size", "lr", "precision", "workers", "resume"):
        assert f"--{name} " in short
    assert "--help-all" in short
    assert "--min_lr" not in short
    assert "masks" not in short.partition("options:")[2]
    status, full, _ = run_main(capfd, "train", "--help-all")
    assert status == 0
    assert len(full.splitlines()) > 150
    for name in ("min_lr", "augment.flip", "masks.labels", "lists.prefix"):
        assert f"--{name} " in full


def test_help_of_every_verb_needs_neither_torch_nor_av():
    script = (
        "import sys\n"
        "from morphmlp import cli\n"
        "for arguments in [['--help'], ['--version'], *([verb, '--help'] for verb in cli.VERBS)]:\n"
        "    try:\n"
        "        assert cli.main(arguments) == 0\n"
        "    except SystemExit as stop:\n"
        "        assert not stop.code\n"
        "heavy = {'torch', 'torchvision', 'av', 'matplotlib', 'accelerate', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    process = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def test_every_verb_is_listed(capfd: pytest.CaptureFixture[str]):
    assert list(cli.VERBS) == VERBS
    status, out, _ = run_main(capfd, "--help")
    assert status == 0
    assert all(f"\n  {verb} " in out for verb in VERBS)
    assert run_main(capfd)[:2] == (2, out)


def test_version_is_that_of_the_package():
    process = tiny.run_process("--version")
    assert (process.returncode, process.stdout, process.stderr) == (0, f"{CheckpointInfo().version}\n", "")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["dance"], "no verb 'dance'; verbs: demo, check-data, train, "),
        (["evalute"], "no verb 'evalute'; did you mean evaluate? verbs: demo, "),
        (["check_dat"], "no verb 'check_dat'; did you mean check-data? verbs: demo, "),
        (["train", "x"], "the following arguments are required: out"),
        (["train", "x", "--out", "y", "--lrr", "1"], "no option --lrr; did you mean --lr?"),
        (["train", "x", "--out", "y", "--augment.flp", "0.5"], "no option --augment.flp; did you mean --augment.flip?"),
        (["train", "x", "--out", "y", "--augment.flp=0.5"], "did you mean --augment.flip?"),
        (["train", "x", "--out", "y", "--imput.crop", "[64,64]"], "did you mean --input.crop?"),
        (["train", "x", "--out", "y", "--mixup", "0.5"], "did you mean --augment.mixup?"),
        (["train", "x", "--out", "y", "--epoch", "3"], "no option --epoch; did you mean --epochs?"),
        (["train", "x", "--out", "y", "--recipe"], "--recipe: expected one argument"),
        (["evaluate", "x", "y", "--lists.prefx", "z"], "no option --lists.prefx; did you mean --lists.prefix?"),
        (["train", "x", "--out", "y", "--epochs", "many"], "--epochs: expected a whole number; got many"),
        (["train", "x", "--out", "y", "--input.crop", "[3]"], "--input.crop: "),
        (
            ["train", "x", "--out", "y", "--freeze", "backbon"],
            "--freeze: expected a whole number, 'backbone' or null; got backbon",
        ),
        (["train", "x", "--out", "y", "--lists.multi_label", "maybe"], "expected true, false or null; got maybe"),
        (["train", "x", "--out", "y", "--class_weights", "equal"], "expected one of 'none', 'balanced', 'effective'; "),
        (["train", "x", "--out", "y", "--folds", "1"], "--folds: got 1; expected a number >=2 and <=1000"),
        (["train", "x", "--out", "y", "--tune", "soon"], "--tune: got soon; expected a number ("),
        (["evaluate", "x", "y", "--precision", "half"], "--precision: "),
        (["evaluate", "x", "y", "--aggregation", "max"], "'logits', 'probabilities'"),
        (["evaluate", "x", "y", "--clips", "two"], "--clips: expected a whole number or null; got two"),
        (["evaluate", "x", "y", "--workers", "-1"], "--workers: got -1; expected a number >=0"),
        (["predict", "x"], "paths"),
        (["predict", "x", "y", "--top", "0"], "--top: got 0; expected a number >0"),
        (["convert", "x"], "folder"),
        (["models", "--jsn"], "--jsn"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(arguments: list[str], part: str, capfd: pytest.CaptureFixture[str]):
    status, out, err = run_main(capfd, *arguments)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("morphmlp")
    assert part in err
    assert "--help)" in err


# Training


def test_training_prints_the_result_and_where_the_checkpoint_is(data: Path, tmp_path: Path):
    process = tiny.run_process("train", data, "--out", tmp_path / "run", *tiny.OPTIONS)
    assert process.returncode == 0, process.stderr
    result, selection, checkpoint, compared, *_ = process.stdout.splitlines()
    assert result.startswith("best top-1 0.")
    assert "on 10 validation videos, at epoch " in result
    assert result.endswith(" clips/s")
    assert selection == "the epoch was chosen on these videos, so the figure is a little too good"
    assert checkpoint == f"checkpoint: {tmp_path / 'run' / 'best'}"
    assert compared == "on the same 10 videos, with 95 % intervals:"
    assert "20 training and 10 validation videos of 10 classes; 2 epochs of 5 steps" in process.stderr
    assert "epoch 2/2  top-1 0." in process.stderr


@pytest.mark.parametrize("spelling", ["--batch-size=3", "--batch_size=3", "--batch-size 3", "--batch_size 3"])
def test_both_spellings_of_an_option_are_taken(spelling: str, capfd: pytest.CaptureFixture[str]):
    status, out, _ = run_main(capfd, "train", "x", "--out", "y", *spelling.split(), "--print_config")
    assert status == 0
    assert "\nbatch_size: 3\n" in out


def test_recipe_file_is_taken_and_options_behind_it_win(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    recipe = tmp_path / "recipe.yaml"
    arch = "arch: {depths: [1, 1, 1, 1], widths: [8, 16, 16, 16], chunk_lengths: [2, 2, 2, 1], frames: 4}\n"
    recipe.write_text(f"{arch}input: {{crop: [32, 32], resize: 32}}\nepochs: 7\nseed: 5\nworkers: 0\nbatch_size: 10\n")
    run = tmp_path / "run"
    status, _, err = run_main(
        capfd, "train", data, "--out", run, "--config", recipe, "--epochs", "1", "--augment.mixup", "0"
    )
    assert status == 0, err
    config = json.loads((run / "config.json").read_text())
    assert (config["train"]["epochs"], config["train"]["seed"]) == (1, 5)
    assert config["train"]["augment"]["mixup"] == 0
    assert (config["model"]["frames"], config["model"]["widths"]) == (4, [8, 16, 16, 16])
    assert (config["input"]["crop"], config["input"]["resize"]) == ([32, 32], 32)


def test_printed_configuration_can_be_given_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    _, printed, _ = run_main(capfd, "train", "x", "--out", "y", "--lr", "0.5", "--print_config")
    (tmp_path / "config.yaml").write_text(printed)
    _, again, _ = run_main(capfd, "train", "--config", tmp_path / "config.yaml", "--print_config")
    assert again == printed
    assert "\nlr: 0.5\n" in again


def test_unknown_field_in_a_recipe_is_refused(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    (tmp_path / "recipe.yaml").write_text("epoch: 3\n")
    status, _, err = run_main(capfd, "train", data, "--out", tmp_path / "run", "--config", tmp_path / "recipe.yaml")
    assert status == 2
    assert "epoch" in err
    assert not (tmp_path / "run").exists()


def printed_config(capfd: pytest.CaptureFixture[str], *arguments: object) -> dict:
    status, out, err = run_main(capfd, "train", "x", "--out", "y", *arguments, "--print_config")
    assert status == 0, err
    return yaml.safe_load(out)


def test_recipe_of_the_package_is_taken_field_by_field(capfd: pytest.CaptureFixture[str]):
    printed = printed_config(capfd, "--recipe", "k400_b32")
    for name, value in load_recipe("k400_b32").items():
        if isinstance(value, dict):
            assert printed[name].items() >= value.items()
        else:
            assert printed[name] == value


@pytest.mark.parametrize("order", ["recipe first", "recipe last"])
def test_command_line_wins_over_the_configuration_file_and_that_over_the_recipe(
    order: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    config = tmp_path / "config.yaml"
    config.write_text("epochs: 7\nlr: 0.5\naugment: {mixup: 0.3, flip: 0.1}\narch: {drop_path: 0.25}\n")
    files = ["--recipe=ssv2_s16", f"--config={config}"]
    own = ["--epochs", "2", "--augment.flip", "0.2", "--arch.frames", "24", "--clip_grad", "null"]
    printed = printed_config(capfd, *(files + own if order == "recipe first" else own + files[::-1]))
    assert (printed["epochs"], printed["lr"], printed["weight_decay"], printed["clip_grad"]) == (2, 0.5, 0.05, None)
    assert printed["augment"] | {"mixup": 0.3, "flip": 0.2, "cutmix": 1.0, "repeats": 2} == printed["augment"]
    assert printed["arch"] == {"frames": 24, "drop_path": 0.25}
    assert printed["model"] == "morphmlp_video_s"
    assert printed["lists"]["labels"] == "ssv2"


def test_printed_recipe_can_be_given_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    printed = printed_config(capfd, "--recipe", "imagenet_b")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(printed))
    assert printed_config(capfd, "--config", tmp_path / "config.yaml") == printed


def test_recipe_with_a_start_trains_on_data_given_as_an_option(
    data: Path, image_checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """The recipe of a published model, made tiny: what is not overridden is the recipe's, also beside --init."""
    run = tmp_path / "run"
    small = [*tiny.OPTIONS, "--arch.image_size", "32", "--epochs", "1", "--precision", "fp32", "--lists.labels", "null"]
    arguments = ["train", "--recipe", "ssv1_s16", "--data", data, "--init", image_checkpoint, "--out", run, *small]
    status, _, err = run_main(capfd, *arguments)
    assert status == 0, err
    assert "inflated to 4 frames" in err
    config = json.loads((run / "config.json").read_text())
    recipe = load_recipe("ssv1_s16")
    assert config["data"] == str(data)
    assert (config["model"]["name"], config["model"]["drop_path"]) == ("morphmlp_video_s", 0.3)
    assert config["input"] == PUBLISHED_INPUTS["ssv1"].to_dict() | {"crop": [32, 32], "resize": 32}
    assert config["train"]["lr"] == recipe["lr"]
    assert config["train"]["augment"].items() >= recipe["augment"].items()


def test_recipe_that_cannot_be_used_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    (tmp_path / "mine.yaml").write_text("augment: {flp: 0.5}\n")
    (tmp_path / "config.yaml").write_text("recipe: demo\n")
    train = ["train", tmp_path, "--out", tmp_path / "run"]
    unknown = run_main(capfd, *train, "--recipe", "k400_s61")
    assert_one_error(unknown, "recipe 'k400_s61' is neither", "did you mean k400_s16")
    assert_one_error(run_main(capfd, *train, "--recipe", tmp_path / "mine.yaml"), "mine.yaml", "did you mean flip?")
    assert_one_error(run_main(capfd, *train, "--config", tmp_path / "config.yaml"), "'demo'", "give it as --recipe")
    assert_one_error(run_main(capfd, "train", "--out", tmp_path, "--resume", "--recipe", "demo"), "leave out recipe")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["--recipe", "--config"])
def test_file_of_options_that_cannot_be_read_is_named_in_one_line(
    option: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    file = tmp_path / "mine.yaml"
    train = ["train", tmp_path, "--out", tmp_path / "run", option, file]
    contents = (b"\xff\xfe\x00", "is no YAML"), (b"[" * 100_000, "nested too deeply"), (b"- 3", "names with values")
    for content, reason in contents:
        file.write_bytes(content)
        assert_one_error(run_main(capfd, *train), f"{file} ", reason)
    file.write_text("epochs: many\n")
    status, out, err = run_main(capfd, *train)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert f"{file}: --epochs: expected a whole number; got many" in err
    file.write_text("epochs: 1\n")
    status, _, err = run_main(capfd, *train, "--lr", "much")
    assert (status, err.split(" (")[0]) == (2, "morphmlp train: --lr: expected a number; got much\n".strip())


def test_recipe_too_deep_to_hand_on_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """Some depths can be read, but not written again."""
    for depth in range(150, 400, 10):
        (tmp_path / "mine.yaml").write_text("arch: {frames: " + "[" * depth + "]" * depth + "}\n")
        assert_one_error(
            run_main(capfd, "train", tmp_path, "--out", tmp_path / "run", "--recipe", tmp_path / "mine.yaml")
        )


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_second_folder_of_data_is_refused(order: slice, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    (tmp_path / "config.yaml").write_text("data: third\n")
    both = [part for parts in [["one"], ["--data", "two"]][order] for part in parts]
    rest = ["--out", tmp_path / "run", "--config", tmp_path / "config.yaml"]
    assert_one_error(run_main(capfd, "train", *both, *rest), "the data is one and also --data two; give one of them")
    assert_one_error(run_main(capfd, "train", "one", "--data", "one", *rest), "one: no such file or folder")
    assert_one_error(run_main(capfd, "train", "--data", "two", *rest), "two: no such file or folder")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({}, "is no checkpoint, but holds best: give {}"),
        ({"data": "", "model": {}, "train": {"report": "last"}}, "is a run that has no checkpoint 'last' yet; give {}"),
    ],
)
@pytest.mark.parametrize("verb", ["evaluate", "predict", "train"])
def test_a_run_that_does_not_say_its_checkpoint_points_to_those_that_it_has(
    verb: str,
    config: dict,
    reason: str,
    checkpoint: Path,
    data: Path,
    video: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
):
    run = tmp_path / "run"
    shutil.copytree(checkpoint, run / "best")
    (run / "config.json").write_text(json.dumps(config))
    arguments = {
        "evaluate": ["evaluate", run, data],
        "predict": ["predict", run, video],
        "train": ["train", data, "--out", tmp_path / "new", "--init", run],
    }[verb]
    assert_one_error(run_main(capfd, *arguments), f"{run} {reason.format(run / 'best')}")


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--arch.num_classes", "5"], ["arch.num_classes is 5", "has 10 classes; leave it out"]),
        (["--epochs", "0"], ["train.epochs is 0; allowed: 1 or more"]),
        (["--model", "morphmlp_video_x"], ["morphmlp_video_x", "did you mean morphmlp_video_"]),
        (["--arch.depth", "[1,1,1,1]"], ["depth", "did you mean depths"]),
        (["--arch.frames", "0"], ["model.frames is 0"]),
        (["--input.crop", "[16,16]"], ["input.crop is (16, 16); allowed: 32 px or more"]),
        (["--split.val_fraction", "1"], ["split.val_fraction is 1.0; allowed: between 0 and 1"]),
    ],
)
def test_value_that_is_not_allowed_is_one_line(
    options: list[str], parts: list[str], data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    assert_one_error(run_main(capfd, "train", data, "--out", tmp_path / "run", *options), *parts)
    assert not (tmp_path / "run").exists()


def test_init_beside_a_model_gives_the_weights_alone(
    data: Path, image_checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """An image checkpoint is inflated for the named model, which is seen as the options say, not as the checkpoint."""
    options = [*tiny.OPTIONS, "--arch.image_size", "32", "--epochs", "1", "--input.mean", "[0.1,0.2,0.3]"]
    run = tmp_path / "run"
    arguments = ["train", data, "--out", run, "--init", image_checkpoint, "--model", "morphmlp_video_nano", *options]
    status, _, err = run_main(capfd, *arguments)
    assert status == 0, err
    assert f"starts from {image_checkpoint} (tiny); inflated to 4 frames" in err
    model, info = load_config(run / "best")
    assert (model.name, model.temporal, model.num_classes) == ("morphmlp_video_nano", True, 10)
    assert (info.input.mean, info.input.std) == ((0.1, 0.2, 0.3), (0.225, 0.225, 0.225))


def test_init_takes_model_and_input_from_the_checkpoint(
    data: Path, checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    videos = tiny.copy_data(data, tmp_path / "videos", classes=2)
    run = tmp_path / "run"
    status, _, err = run_main(
        capfd, "train", videos, "--out", run, "--init", checkpoint, "--epochs", "1", "--workers", "0"
    )
    assert status == 0, err
    assert f"starts from {checkpoint} (tiny)" in err
    assert "its head of 10 classes is replaced by a fresh one of these 2" in err
    model, info = load_config(run / "best")
    assert (model, info.input) == (tiny.model_config(2), tiny.INPUT)


# Bad input


def test_empty_folder(tmp_path: Path, checkpoint: Path, capfd: pytest.CaptureFixture[str]):
    empty = tmp_path / "empty"
    empty.mkdir()
    train = run_main(capfd, "train", empty, "--out", tmp_path / "run", *tiny.OPTIONS)
    assert_one_error(train, "holds no class folders; expected")
    assert_one_error(run_main(capfd, "evaluate", checkpoint, empty), "holds no class folders; expected")
    assert_one_error(run_main(capfd, "predict", checkpoint, empty), "no videos found")
    assert tiny.files_below(tmp_path) == ["empty"]


def test_missing_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    train = run_main(capfd, "train", tmp_path / "nowhere", "--out", tmp_path / "run", *tiny.OPTIONS)
    assert_one_error(train, "nowhere: no such file or folder")
    assert_one_error(run_main(capfd, "train", "--out", tmp_path / "run"), "no data: give the folder of videos")
    assert tiny.files_below(tmp_path) == []


def test_one_class(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    videos = tmp_path / "videos"
    shutil.copytree(data / "train" / "moving_up", videos / "moving_up")
    train = run_main(capfd, "train", videos, "--out", tmp_path / "run", *tiny.OPTIONS)
    assert_one_error(train, "holds one class (moving_up)")
    assert not (tmp_path / "run").exists()


def test_class_with_one_clip(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    videos = tmp_path / "videos"
    for name in ("moving_up", "moving_down"):
        shutil.copytree(data / "train" / name, videos / name)
    (videos / "moving_up" / "moving_up_0001.mp4").unlink()
    train = run_main(capfd, "train", videos, "--out", tmp_path / "run", *tiny.OPTIONS)
    assert_one_error(train, "one video only in moving_up")
    assert not (tmp_path / "run").exists()


def test_text_file_named_mp4(data: Path, checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    videos = tiny.copy_data(data, tmp_path / "videos", classes=2)
    text = videos / "train" / "approaching_the_camera" / "notes.mp4"
    text.write_text("these are my notes\n" * 20)
    assert_one_error(run_main(capfd, "predict", checkpoint, text, "--workers", "0"), f"{text}: ")
    status, _, err = run_main(capfd, "train", videos, "--out", tmp_path / "run", *tiny.OPTIONS)
    assert status == 0
    assert err.count(f"left out, cannot be read: {text}: ") == 1


@pytest.mark.parametrize("verb", ["evaluate", "predict", "init"])
def test_missing_checkpoint_and_released_file_instead_of_one(
    verb: str, data: Path, video: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "released.pth").write_bytes(b"weights")
    before = tiny.files_below(tmp_path)
    for name in ("nowhere", "released.pth"):
        arguments = {
            "evaluate": ["evaluate", tmp_path / name, data],
            "predict": ["predict", tmp_path / name, video],
            "init": ["train", data, "--out", tmp_path / "run", "--init", tmp_path / name],
        }[verb]
        assert_one_error(run_main(capfd, *arguments), f"{name} is no checkpoint folder", "morphmlp convert FILE FOLDER")
    assert tiny.files_below(tmp_path) == before


def test_image_checkpoint_given_a_video(
    image_checkpoint: Path, data: Path, video: Path, capfd: pytest.CaptureFixture[str]
):
    assert_one_error(run_main(capfd, "predict", image_checkpoint, video), "is a video, but the checkpoint takes images")
    assert_one_error(run_main(capfd, "evaluate", image_checkpoint, data), "holds videos, but")


def test_data_set_of_other_classes(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    other = save_tiny(tmp_path / "other", labels=["walking", "running"])
    assert_one_error(
        run_main(capfd, "evaluate", other, data), "10 of 10 classes", "approaching_the_camera", "walking, running"
    )
    assert tiny.files_below(tmp_path) == ["other", "other/config.json", "other/model.safetensors"]


def test_output_that_cannot_be_written(
    data: Path,
    checkpoint: Path,
    video: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    (tmp_path / "file").write_text("mine")
    monkeypatch.chdir(video.parent)
    for out in (tmp_path / "file" / "x", Path("/proc/morphmlp")):
        assert_one_error(run_main(capfd, "train", data, "--out", out, *tiny.OPTIONS), str(out.parent.name))
        status, shown, err = run_main(capfd, "evaluate", checkpoint, data, "--workers", "0", "--out", out)
        assert (status, len(err.splitlines())) == (1, 1)
        assert "10 of 10 videos evaluated" in shown  # the work is not lost
        status, shown, err = run_main(capfd, "predict", checkpoint, video.name, "--workers", "0", "--csv", out)
        assert (status, len(err.splitlines())) == (1, 1)
        assert "moving_up_0001.mp4" in shown
    assert tiny.files_below(tmp_path) == ["file"]


def test_full_disk(released_image_file: Path, tmp_path: Path):
    command = tiny.command("convert", released_image_file, tmp_path / "converted")
    process = fresh.run(command, env=tiny.environment(), most_file_bytes=20_000)
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert process.stderr.splitlines()[-1].startswith("error: ")
    assert not [name for name in tiny.files_below(tmp_path) if "/" in name]


def test_second_run_in_the_same_folder(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    train = ["train", data, "--out", tmp_path / "run", *tiny.OPTIONS, "--epochs", "1"]
    assert run_main(capfd, *train)[0] == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert_one_error(run_main(capfd, *train), "holds a run already", "--resume", "--overwrite")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert_one_error(run_main(capfd, *train, "--resume"), "leave out", "batch_size", "data", "epochs")
    assert run_main(capfd, "train", "--out", tmp_path / "run", "--resume")[0] == 0
    assert run_main(capfd, *train, "--overwrite")[0] == 0


# Evaluation and prediction


def test_evaluation_shows_tables_and_leaves_files(
    data: Path, checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    videos = tiny.copy_data(data, tmp_path / "videos")
    broken = videos / "val" / "moving_up" / "moving_up_0001.mp4"
    broken.write_text("no video")
    out = tmp_path / "out"
    status, shown, _ = run_main(
        capfd, "evaluate", checkpoint, videos, "--clips", "2", "--crops", "3", "--workers", "0", "--out", out
    )
    assert status == 0
    assert "9 of 10 videos evaluated" in shown
    assert broken.name in "".join(shown.split())
    assert "moving_down" in shown
    assert tiny.files_below(out) == ["confusion.png", "index.html", "predictions.csv", "summary.json"]


def test_json_is_all_there_is_on_standard_output(data: Path, checkpoint: Path, tmp_path: Path):
    process = tiny.run_process("evaluate", checkpoint, data, "--json", "--out", tmp_path / "out")
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout) == json.loads((tmp_path / "out" / "summary.json").read_text())

    good, missing = data / "val" / "moving_up", tmp_path / "missing.mp4"
    process = tiny.run_process("predict", checkpoint, good, missing, "--top", "2", "--json")
    assert process.returncode == 1
    rows = {row["path"]: row for row in json.loads(process.stdout)}
    assert len(rows[str(good / "moving_up_0001.mp4")]["top"]) == 2
    assert "No such file" in rows[str(missing)]["error"]


def test_names_that_are_no_text_can_be_printed(data: Path, video: Path, checkpoint: Path, tmp_path: Path):
    odd = tmp_path / "bytes \udcff.mp4"
    shutil.copy(video, odd)
    for options in (["--json"], []):
        process = tiny.run_process(
            "predict", checkpoint, odd, "--workers", "0", *options, "--csv", tmp_path / "out.csv"
        )
        assert process.returncode == 0, process.stderr
    assert b"bytes \xff.mp4" in (tmp_path / "out.csv").read_bytes()


def test_prediction_shows_a_table_and_names_what_cannot_be_read(
    video: Path,
    checkpoint: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    missing = tmp_path / "missing.mp4"
    monkeypatch.chdir(video.parent)
    status, shown, err = run_main(
        capfd, "predict", checkpoint, video.name, missing, "--workers", "0", "--csv", tmp_path / "out.csv"
    )
    assert status == 1
    assert f"\n  {video.name} " in shown
    assert err == f"error: {missing}: cannot be opened (No such file or directory)\n"
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1 + 5 + 1


def test_pipe_that_is_closed_early_is_no_error(checkpoint: Path, data: Path):
    command = " ".join(map(repr, tiny.command("predict", checkpoint, data, "--workers", "0", "--json", "--top", "10")))
    process = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -c 1 > /dev/null"],
        capture_output=True,
        text=True,
        env=tiny.environment(),
    )
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_unreadable_files_are_told_by_the_status_also_where_the_pipe_is_closed(
    checkpoint: Path,
    data: Path,
    tmp_path: Path,
    form: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", pipe)
        arguments = ["predict", checkpoint, data, tmp_path / "missing.mp4", "--workers", "0", "--top", "10", *form]
        assert cli.main([str(argument) for argument in arguments]) == 1
    assert "Broken pipe" not in capfd.readouterr().err


# Conversion and models


def test_released_image_file_is_converted_and_then_refuses_videos(
    released_image_file: Path, video: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    folder = tmp_path / "image_t"
    status, out, err = run_main(capfd, "convert", released_image_file, folder)
    assert (status, err) == (0, "")
    assert out == f"{folder}: morphmlp_image_t, images, 1000 classes without names, tested as imagenet\n"
    assert tiny.files_below(tmp_path) == ["image_t", "image_t/config.json", "image_t/model.safetensors"]
    assert_one_error(run_main(capfd, "predict", folder, video), "is a video, but the checkpoint takes images")


def test_conversion_refuses_what_does_not_fit(
    released_image_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    (tmp_path / "junk.pth").write_bytes(b"junk")
    torch.save({"head.weight": torch.zeros(2, 3)}, tmp_path / "other.pth")
    before = tiny.files_below(tmp_path)
    convert, out = ["convert", released_image_file, tmp_path / "out"], tmp_path / "out"
    wrong = [*convert, "--labels", tmp_path / "labels.txt"]
    assert_one_error(run_main(capfd, *wrong), "2 labels for a model of 1000 classes")
    assert_one_error(run_main(capfd, *convert, "--labels", "k400"), "400 labels for a model of 1000 classes")
    assert_one_error(run_main(capfd, *convert, "--labels", "nowhere.txt"), "labels 'nowhere.txt'", "k400, ssv1, ssv2")
    assert_one_error(run_main(capfd, *convert, "--protocol", "k600"), "protocol 'k600' is unknown; allowed: k400")
    assert_one_error(
        run_main(capfd, "convert", tmp_path / "junk.pth", out), "junk.pth is refused: it is no readable pickle"
    )
    assert_one_error(run_main(capfd, "convert", tmp_path / "other.pth", out), "is no released image model")
    assert_one_error(run_main(capfd, "convert", tmp_path / "nowhere.pth", out), "nowhere.pth: no such file")
    assert tiny.files_below(tmp_path) == before


def test_models_are_listed_with_the_counts_of_the_paper(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    status, out, _ = run_main(capfd, "models", "--json")
    assert status == 0
    listed = json.loads(out)
    rows = {(row["model"], row["frames"]): row for row in listed}
    assert rows["morphmlp_video_s", 16]["parameters"] == 47_039_154
    assert rows["morphmlp_video_b", 32]["parameters"] == 68_490_822
    assert rows["morphmlp_image_t", 1]["classes"] == 1000

    monkeypatch.setattr("morphmlp.models.cost.model_rows", lambda: listed)  # counting once is enough
    status, out, err = run_main(capfd, "models")
    assert (status, err) == (0, "")
    lines = [line for line in out.splitlines() if "morphmlp_video_s" in line]
    assert "47.04 M" in lines[0]
    assert "66.03 G" in lines[0]
    assert "132.67 G" in lines[1]


def test_ctrl_c_outside_training_is_one_word(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    def interrupt(_: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("morphmlp.commands.models.run", interrupt)
    assert run_main(capfd, "models") == (130, "", "interrupted\n")


def test_conversion_does_not_replace_a_folder_unless_told(
    released_image_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    convert = ["convert", released_image_file, tmp_path / "out"]
    status, out, _ = run_main(capfd, *convert, "--json")
    assert (status, json.loads(out)["model"]["num_classes"]) == (0, 1000)
    assert_one_error(run_main(capfd, *convert), "exists already", "--overwrite")
    assert run_main(capfd, *convert, "--overwrite")[0] == 0


def test_evaluation_does_not_write_into_a_folder_of_something_else(
    data: Path, checkpoint: Path, capfd: pytest.CaptureFixture[str]
):
    before = tiny.files_below(checkpoint)
    assert_one_error(
        run_main(capfd, "evaluate", checkpoint, data, "--out", checkpoint, "--workers", "0"),
        "holds something else than an evaluation",
    )
    assert tiny.files_below(checkpoint) == before


def test_train_prints_its_result_as_json(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    status, out, _ = run_main(capfd, "train", data, "--out", tmp_path / "run", "--json", *tiny.OPTIONS)
    assert status == 0
    assert json.loads(out)["best"] == str(tmp_path / "run" / "best")


def test_a_run_names_the_last_checkpoint_where_that_is_the_one_to_test(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    run = tmp_path / "run"
    status, out, _ = run_main(capfd, "train", data, "--out", run, "--json", *tiny.OPTIONS, "--report", "last")
    result, scores = json.loads(out), [line["val_top1"] for line in tiny.read_log(run) if "val_top1" in line]
    assert (status, result["last"], result["last_score"], result["last_epoch"]) == (0, str(run / "last"), scores[-1], 2)
    status, out, _ = run_main(capfd, "train", "--resume", "--out", run)  # finished: it only says the result again
    best = f"(best {max(scores):.3f}, at epoch {scores.index(max(scores)) + 1})"
    assert out.startswith(f"last top-1 {scores[-1]:.3f} on 10 validation videos, at epoch 2 {best}; ")
    compared = "".join(f"{line}\n" for line in json.loads((run / "comparisons.json").read_text())["lines"])
    assert "this model" in compared
    assert out.endswith(f"\nthe epoch was not chosen: it is the last one\ncheckpoint: {run / 'last'}\n{compared}")
    assert run_main(capfd, "predict", run / "last", data / "val" / "moving_up", "--workers", "0")[0] == 0


def test_names_behind_two_dashes_are_left_as_they_are(
    checkpoint: Path, video: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "--my-clip.mp4").write_bytes(video.read_bytes())
    monkeypatch.chdir(tmp_path)
    status, out, _ = run_main(capfd, "predict", checkpoint, "--json", "--workers", "0", "--", "--my-clip.mp4")
    assert status == 0
    assert json.loads(out)[0]["path"] == "--my-clip.mp4"


def test_a_device_is_written_to_and_not_replaced(
    checkpoint: Path, video: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert run_main(capfd, "predict", checkpoint, video, "--csv", pipe, "--workers", "0")[0] == 0
        assert os.read(reader, 1000).startswith(b"path,rank,label,probability,error")
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_a_run_on_a_relative_folder_is_resumed_from_another_one(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    videos = tiny.copy_data(data, tmp_path / "videos", classes=2)
    monkeypatch.chdir(tmp_path)
    assert run_main(capfd, "train", videos.name, "--out", "run", *tiny.OPTIONS)[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    status, _, err = run_main(capfd, "train", "--out", "../run", "--resume")
    assert status == 0, err


# Conversion to other frame counts


@pytest.fixture(scope="module")
def released_video_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the released layout: video nano of 16 frames and 10 classes."""
    torch.manual_seed(0)
    state = MorphMLP(model_config("morphmlp_video_nano", num_classes=10)).state_dict()
    path = tmp_path_factory.mktemp("released") / "nano.pyth"
    torch.save({"model_state": {_released_name(name): value for name, value in state.items()}}, path)
    return path


def test_a_checkpoint_is_converted_to_other_frames_and_predicts(
    checkpoint: Path, video: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    folder = tmp_path / "eight"
    status, out, err = run_main(capfd, "convert", checkpoint, folder, "--frames", "8")
    assert (status, err) == (0, "")
    assert out == f"{folder}: tiny, 8 frames, 10 classes with names, carried from 4 to 8 frames\n"
    (former, before), (model, after) = load_config(checkpoint), load_config(folder)
    assert model.to_dict() == former.to_dict() | {"frames": 8}
    assert (after.labels, after.input) == (before.labels, before.input)
    assert after.training == before.training | {"conversions": ["carried from 4 to 8 frames"]}
    assert run_main(capfd, "predict", folder, video, "--workers", "0")[0] == 0


@pytest.mark.parametrize("kernel", ["center", "mean"])
def test_an_image_checkpoint_is_converted_to_a_video_model_and_predicts(
    kernel: str, image_checkpoint: Path, video: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    convert = ["convert", image_checkpoint, tmp_path / "out", "--frames", "4", "--kernel", kernel, "--json"]
    status, out, err = run_main(capfd, *convert)
    assert (status, err) == (0, "")
    assert (json.loads(out)["model"]["temporal"], json.loads(out)["model"]["frames"]) == (True, 4)
    conversions = [f"inflated from tiny to 4 frames ({kernel} kernel)"]
    assert load_config(tmp_path / "out")[1].training["conversions"] == conversions
    assert run_main(capfd, "predict", tmp_path / "out", video, "--workers", "0")[0] == 0


def test_a_released_file_is_carried_to_frames_that_its_shapes_do_not_fit(
    released_video_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    status, out, _ = run_main(capfd, "convert", released_video_file, tmp_path / "20", "--frames", "20")
    assert status == 0
    assert "morphmlp_video_nano, 20 frames, 10 classes without names, carried from 16 to 20 frames" in out
    info = load_config(tmp_path / "20")[1]
    assert (info.input.sampling, info.training["released"]) == ("dense", "nano.pyth")
    # 8 frames have the shapes of 16: the file is taken to be of 8.
    out = run_main(capfd, "convert", released_video_file, tmp_path / "8", "--frames", "8")[1]
    assert "morphmlp_video_nano, 8 frames, 10 classes without names, tested as k400" in out


def test_conversion_of_a_checkpoint_refuses_what_does_not_fit(
    checkpoint: Path, image_checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    convert, out = ["convert", checkpoint, tmp_path / "out"], tmp_path / "out"
    assert_one_error(run_main(capfd, *convert), "a checkpoint needs no conversion, unless to --frames N")
    eight = [*convert, "--frames", "8"]
    assert_one_error(run_main(capfd, *eight, "--labels", "k400"), "which has labels and protocol; leave them out")
    assert_one_error(run_main(capfd, *eight, "--kernel", "mean"), "--kernel is for image models")
    assert_one_error(run_main(capfd, *convert, "--frames", "0"), "model.frames is 0; allowed: 1 to 1024")
    assert_one_error(run_main(capfd, "convert", tmp_path, tmp_path / "out", "--frames", "8"), "is no checkpoint folder")
    assert run_main(capfd, "convert", image_checkpoint, out, "--frames", "8", "--kernel", "last")[0] == 2
    assert tiny.files_below(tmp_path) == []


def test_a_checkpoint_can_be_converted_in_its_own_folder_when_told(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    folder = tmp_path / "own"
    shutil.copytree(checkpoint, folder)
    convert = ["convert", folder, folder, "--frames", "8"]
    assert_one_error(run_main(capfd, *convert), "exists already", "--overwrite")
    assert run_main(capfd, *convert, "--overwrite")[0] == 0
    assert load_config(folder)[0].frames == 8


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "nowhere", "rtsp://host/a.mp4"),
        ("train", "--data=data", "--out", "s3://bucket/run"),
        ("train", "data", "--out=https://host/run"),
        ("predict", "nowhere", "a.mp4", "--csv", "s3://bucket/a.csv"),
        ("convert", "https://host/K400_S16.pyth", "folder"),
        ("segment", "nowhere", "s3://bucket/a.png"),
    ],
    ids=str,
)
def test_an_address_is_refused_wherever_a_path_is_wanted(arguments: tuple[str, ...]):
    address = next(argument.removeprefix("--out=") for argument in arguments if "://" in argument)
    process = tiny.run_command(*arguments)
    assert process.returncode == 1
    known = f"error: {address} is an address, and only files are read; "
    assert process.stderr == f"{known}download it and give its path, or use `morphmlp watch`\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "https://host/best", "a.mp4"),
        ("train", "{data}", "--out", "{out}", "--init", "https://host/video_morphmlp_s.pth"),
    ],
    ids=str,
)
def test_a_checkpoint_at_an_address_is_refused(arguments: tuple[str, ...], data: Path, tmp_path: Path):
    process = tiny.run_command(*(text.format(data=data, out=tmp_path / "run") for text in arguments))
    address = next(argument for argument in arguments if "://" in argument)
    known = f"error: {address} is an address; a checkpoint is a folder, or hf://owner/name of the hub: "
    assert (process.returncode, process.stderr) == (1, f"{known}download it and give its path\n")


def test_an_option_says_how_much_damage_is_too_much(
    checkpoint: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("MORPHMLP_MAX_DAMAGE", "")  # so that what the option sets is gone after the test
    damaged = copy_video(video, tmp_path / "x.mp4", lambda i, data: b"\xff" * len(data) if i % 4 else data)
    arguments = ["predict", checkpoint, damaged, "--workers", "0"]
    assert_one_error(
        run_main(capfd, *arguments), "packets are damaged; --max_damage 1 (or MORPHMLP_MAX_DAMAGE=1) reads"
    )
    status, _, err = run_main(capfd, *arguments, "--max-damage", "1")
    assert status == 0
    assert re.fullmatch(rf"incomplete: {damaged}: \d+ of \d+ frames can be read.*\n", err)
    rows = json.loads(run_main(capfd, *arguments, "--max-damage", "1", "--json")[1])
    assert "frames can be read" in rows[0]["incomplete"]
    assert_one_error(run_main(capfd, *arguments, "--max-damage", "1.5"), "max_damage is 1.5; allowed: above 0, up to 1")


@pytest.mark.parametrize("verb", ["predict", "watch", "evaluate"])
def test_a_threshold_out_of_range_is_the_same_usage_error_in_every_verb(verb: str):
    process = tiny.run_command(verb, "nowhere", "nothing.mp4", "--threshold", "2")
    assert process.returncode == 2
    assert process.stderr == (
        f"morphmlp {verb}: --threshold: got 2; expected a number >=0 and <=1 (see morphmlp {verb} --help)\n"
    )


def test_windows_and_segments_have_the_same_options_in_watch_and_evaluate():
    """So that `evaluate --timeline` measures what `watch` writes."""
    helps = [tiny.run_command(verb, "--help").stdout for verb in ("watch", "evaluate")]
    for option in ("--length", "--step", "--threshold", "--low", "--shortest"):
        told = [re.search(rf"^  {option} .*?(?=^  --|^$)", text, re.MULTILINE | re.DOTALL) for text in helps]
        assert told[0] is not None
        assert told[1] is not None
        assert told[0][0] == told[1][0]
