"""What a run starts from, and the configuration that a recipe makes of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from conftest import save_tiny

from morphmlp.checkpoints.folder import CheckpointInfo, load, load_config, save
from morphmlp.checkpoints.frame_counts import resize_frames
from morphmlp.checkpoints.inflation import inflate
from morphmlp.checkpoints.released import _released_name, convert_released
from morphmlp.config import PUBLISHED_INPUTS, ModelConfig, RunConfig, default_input
from morphmlp.errors import CheckpointError, ConfigError
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.zoo import create_model
from morphmlp.training.initial_weights import initial_model
from morphmlp.training.settings import run_config

CLASSES = ["ash", "birch", "cedar"]
IMAGE = {"temporal": False, "frames": 1}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("video") / "tiny", labels=CLASSES)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("image") / "tiny", labels=CLASSES, **IMAGE)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segmenter") / "tiny"
    model = start(None, CLASSES, **IMAGE, task="segmentation", decoder_width=8)[0]
    save(model, folder, CheckpointInfo(default_input(model.config), CLASSES))
    return folder


def start(init: Path | None, classes: list[str], **fields):
    """`initial_model` of a tiny model with these fields."""
    model = tiny.model_config(len(classes), **fields)
    given = default_input(model) if model.task == "segmentation" else tiny.INPUT
    return initial_model(RunConfig("data", model, given, init=None if init is None else str(init)), classes)


def assert_same_weights(model: torch.nn.Module, expected: torch.nn.Module, *, but: str = "nothing") -> None:
    weights = expected.state_dict()
    assert model.state_dict().keys() == weights.keys()
    different = {name for name, value in model.state_dict().items() if not torch.equal(value, weights[name])}
    assert {name for name in different if not name.startswith(but)} == set()


# The weights


def test_an_image_checkpoint_is_inflated_for_a_video_model(image: Path):
    model, notes = start(image, CLASSES, frames=6)
    assert_same_weights(model, inflate(image, frames=6))
    assert notes == [
        f"starts from {image} (tiny); inflated to 6 frames, the temporal layers are fresh; its head is kept"
    ]


def test_an_inflated_model_of_other_classes_gets_a_fresh_head(image: Path):
    model, notes = start(image, ["oak", "pine"])
    assert_same_weights(model, inflate(image, frames=4, num_classes=2), but="head.")
    assert notes[0].endswith("its head of 3 classes is replaced by a fresh one of these 2 classes")


@pytest.mark.parametrize("design", [{"block": "parallel"}, {"temporal_op": "conv3"}, {"residual": "standard"}], ids=str)
def test_the_temporal_design_of_an_inflated_model_is_free(image: Path, design: dict[str, Any]):
    assert_same_weights(start(image, CLASSES, **design)[0], inflate(image, frames=4, **design))


def test_fresh_temporal_layers_follow_from_the_seed(image: Path):
    assert_same_weights(*(start(image, CLASSES, temporal_init="zero_proj")[0] for _ in range(2)))


def test_a_video_checkpoint_of_other_frames_is_carried_over(video: Path):
    model, notes = start(video, CLASSES, frames=8)
    assert_same_weights(model, resize_frames(load(video), 8))
    assert notes == [
        f"starts from {video} (tiny); its temporal layers are carried from 4 to 8 frames; its head is kept"
    ]


def test_a_segmenter_takes_the_backbone_of_an_image_classifier(image: Path):
    fields = {**IMAGE, "task": "segmentation", "decoder_width": 8}
    model, notes = start(image, CLASSES, **fields)
    source, fresh = load(image).state_dict(), start(None, CLASSES, **fields)[0].state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, (fresh if name.startswith("head.") else source)[name]), name
    assert notes == [f"starts from {image} (tiny); its backbone is taken, the Semantic FPN is fresh"]


def test_a_segmenter_of_other_classes_replaces_its_last_layer_alone(segmenter: Path):
    model, notes = start(segmenter, ["road", "sky"], **IMAGE, task="segmentation", decoder_width=8)
    assert_same_weights(model, load(segmenter), but="head.classifier.")
    assert model.state_dict()["head.classifier.weight"].shape[0] == 2
    assert notes[0].endswith("its last layer of 3 classes is replaced by a fresh one of these 2 classes")


def test_a_segmenter_of_the_same_classes_in_another_order_keeps_its_last_layer(segmenter: Path):
    model, _ = start(segmenter, CLASSES[::-1], **IMAGE, task="segmentation", decoder_width=8)
    last, former = (m.state_dict()["head.classifier.weight"] for m in (model, load(segmenter)))
    assert torch.equal(last, former.flip(0))


def test_a_start_that_cannot_be_is_refused(video: Path, image: Path, segmenter: Path):
    with pytest.raises(CheckpointError, match=r"is a video model \(tiny\); start an image model from an image"):
        start(video, CLASSES, **IMAGE)
    for fields in (IMAGE, {}):
        with pytest.raises(CheckpointError, match=r"is a segmenter \(tiny\); start a classifier from a classifier"):
            start(segmenter, CLASSES, **fields)
    with pytest.raises(CheckpointError, match=r"does not fit the model to train; widths: \(8, 16, 16, 16\), "):
        start(image, CLASSES, widths=(8, 16, 16, 32))
    with pytest.raises(CheckpointError, match="does not fit the model to train; order: ts, st"):
        start(video, CLASSES, order="st")
    with pytest.raises(CheckpointError, match="decoder_width: 8, 16"):
        start(segmenter, CLASSES, **IMAGE, task="segmentation", decoder_width=16)


def test_the_cnn_style_is_not_inflated(tmp_path: Path):
    model = start(None, CLASSES, **IMAGE, style="cnn")[0]
    save(model, tmp_path / "cnn")
    with pytest.raises(CheckpointError, match="style 'cnn' cannot make a video model of"):
        start(tmp_path / "cnn", CLASSES, style="cnn")


# The configuration


def config_of(kind, init: Path | None = None, **recipe) -> RunConfig:
    return run_config("data", num_classes=7, recipe=recipe | ({"init": str(init)} if init else {}), kind=kind)


@pytest.mark.parametrize(
    ("kind", "name", "task"),
    [
        ("video", "morphmlp_video_nano", "classification"),
        ("image", "morphmlp_image_nano", "classification"),
        ("mask", "morphmlp_image_nano", "segmentation"),
    ],
)
def test_the_data_decides_on_the_model(kind: str, name: str, task: str):
    config = config_of(kind)
    assert (config.model.name, config.model.task, config.model.num_classes) == (name, task, 7)
    assert config.input == default_input(config.model)


def test_a_model_for_other_data_is_refused():
    with pytest.raises(
        ConfigError, match=r"morphmlp_image_t takes images, but data holds videos; give .*_video models"
    ):
        config_of("video", model="morphmlp_image_t")
    for kind in ("image", "mask"):
        with pytest.raises(ConfigError, match=r"morphmlp_video_s takes videos, but data holds images; give .*_image"):
            config_of(kind, model="morphmlp_video_s")


def test_an_image_checkpoint_sets_the_video_model_but_its_frames(image: Path):
    source = load_config(image)[0]
    expected = {"temporal": True, "frames": 16, "num_classes": 7}
    assert config_of("video", image).model == ModelConfig.from_dict(source.to_dict() | expected)
    arch = {"frames": 8, "temporal_init": "zero_proj", "block": "parallel"}
    assert config_of("video", image, arch=arch).model == ModelConfig.from_dict(source.to_dict() | expected | arch)


def test_pixel_values_come_from_the_image_checkpoint_and_all_else_from_the_video_model(tmp_path: Path):
    bgr = replace(PUBLISHED_INPUTS["imagenet"], channel_order="bgr")
    save(start(None, CLASSES, **IMAGE)[0], tmp_path / "image", CheckpointInfo(bgr, CLASSES))
    config = config_of("video", tmp_path / "image", input={"num_clips": 2, "std": [1, 1, 1]})
    designed = default_input(config.model)
    assert config.input == replace(designed, mean=bgr.mean, std=(1, 1, 1), channel_order="bgr", num_clips=2)
    masks = config_of("mask", tmp_path / "image")
    assert masks.input == replace(default_input(masks.model), channel_order="bgr")
    assert masks.input.fit == "whole"


@pytest.mark.parametrize(("fixture", "kind"), [("video", "video"), ("image", "image")])
def test_a_checkpoint_of_the_same_kind_sets_model_and_input(fixture: str, kind: str, request: pytest.FixtureRequest):
    folder = request.getfixturevalue(fixture)
    model, info = load_config(folder)
    config = config_of(kind, folder)
    assert (config.model, config.input) == (replace(model, num_classes=7), info.input)


def test_frames_of_a_video_checkpoint_can_be_changed(video: Path):
    config = config_of("video", video, arch={"frames": 32})
    assert (config.model.frames, config.input) == (32, tiny.INPUT)


def test_an_image_checkpoint_becomes_a_segmenter_for_masks(image: Path):
    config = config_of("mask", image, masks={"ignore_index": 11})
    assert (config.model.task, config.model.widths) == ("segmentation", (8, 16, 16, 16))
    assert config.masks.ignore_index == 11


@pytest.mark.parametrize(("fixture", "kind"), [("video", "image"), ("video", "mask"), ("segmenter", "image")])
def test_a_run_that_cannot_start_from_the_checkpoint_is_refused_in_one_line(
    fixture: str, kind: str, request: pytest.FixtureRequest
):
    config = config_of(kind, request.getfixturevalue(fixture))
    with pytest.raises(CheckpointError, match=r"is a (video model|segmenter) .*; start ") as refusal:
        initial_model(config, list("abcdefg"))
    assert "\n" not in str(refusal.value)


# The authors' files


def video_start(path: Path, *, head: bool = True, frames: int = 16, temporal: bool = False) -> tuple[Path, MorphMLP]:
    """Image weights for video as released: a stem of three taps, no temporal layers, perhaps no head."""
    torch.manual_seed(3)
    model = create_model("morphmlp_video_nano", num_classes=5, frames=frames)
    left_out = [] if temporal else [".t_fc.", ".t_norm1."]
    left_out += [] if head else ["head."]
    state = {_released_name(name): value for name, value in model.state_dict().items()}
    torch.save({"model_state": {n: v for n, v in state.items() if not any(part in n for part in left_out)}}, path)
    return path, model


def nano_run(init: Path, classes: list[str], **fields: Any) -> RunConfig:
    recipe = {"model": "morphmlp_video_nano", "init": str(init), "arch": fields}
    return run_config("data", num_classes=len(classes), recipe=recipe)


@pytest.mark.parametrize("frames", [16, 32])
@pytest.mark.parametrize("head", [True, False])
def test_a_run_starts_from_the_authors_image_weights_for_video(tmp_path: Path, frames: int, head: bool):
    path, source = video_start(tmp_path / "video_morphmlp_s.pth", head=head)
    model, notes = initial_model(nano_run(path, CLASSES, frames=frames), CLASSES)
    said = "its head of 5 classes is replaced by a fresh one of these 3 classes" if head else "its head is fresh"
    assert notes == [f"starts from {path} (morphmlp_video_nano); the temporal layers are fresh; {said}"]
    assert model.config.frames == frames
    weights = source.state_dict()
    for name, value in model.state_dict().items():
        if ".temporal" not in name and not name.startswith("head."):
            assert torch.equal(value, weights[name]), name
    fresh, _ = initial_model(replace(nano_run(path, CLASSES, frames=frames), init=None), CLASSES)
    assert torch.equal(model.head.weight, fresh.head.weight)  # drawn by the seed of the run
    assert not any(block.temporal.fc.fc.weight.any() for stage in model.stages for block in stage)


def test_a_file_without_a_model_sets_model_and_input_too(tmp_path: Path):
    path, _ = video_start(tmp_path / "start.pth")
    config = run_config("data", num_classes=3, recipe={"init": str(path), "arch": {"frames": 8}})
    assert (config.model.name, config.model.frames, config.model.num_classes) == ("morphmlp_video_nano", 8, 3)
    assert config.input == PUBLISHED_INPUTS["k400"]
    assert config.init == str(path)


def test_a_released_video_file_is_carried_to_the_frames_of_the_run(tmp_path: Path):
    path, source = video_start(tmp_path / "K400_S16.pyth", temporal=True)
    model, notes = initial_model(nano_run(path, ["0", "1", "2", "3", "4"], frames=32), ["0", "1", "2", "3", "4"])
    assert "its temporal layers are carried from 16 to 32 frames" in notes[0]
    assert_same_weights(model, resize_frames(source, 32))


def test_a_converted_start_is_as_fresh_as_its_file(tmp_path: Path):
    path, _ = video_start(tmp_path / "start.pth", head=False)
    convert_released(path, tmp_path / "folder")
    (left, _), (right, notes) = (
        initial_model(nano_run(init, CLASSES, frames=32), CLASSES) for init in (path, tmp_path / "folder")
    )
    assert_same_weights(left, right)
    assert notes[0].endswith("the temporal layers are fresh; its head is fresh")


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path):
    (tmp_path / "x.pth").write_bytes(b"no pickle")
    with pytest.raises(CheckpointError, match=r"x\.pth is refused: it is no readable pickle"):
        run_config("data", num_classes=3, recipe={"init": str(tmp_path / "x.pth")})
