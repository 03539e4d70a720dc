"""Configurations: what is taken, what is refused and with which words, and the way to JSON and YAML and back."""

import json
import re
from typing import Any

import pytest
import yaml

from morphmlp.config import (
    PUBLISHED_INPUTS,
    AugmentConfig,
    Config,
    InputConfig,
    ModelConfig,
    RunConfig,
    SplitConfig,
    TrainConfig,
    default_input,
)
from morphmlp.errors import ConfigError, UserError
from morphmlp.models.zoo import VARIANTS

NANO = VARIANTS["morphmlp_video_nano"]
RUN = RunConfig(data="videos", model=NANO, input=default_input(NANO), init="runs/old/best")
EXAMPLES: list[Config] = [
    NANO,
    *PUBLISHED_INPUTS.values(),
    InputConfig(fit="stretch", crop=(32, 64), antialias=True),
    AugmentConfig(flip=0.5, mixup=0.8, cutmix=1.0),
    SplitConfig(),
    SplitConfig(val_fraction=0.5, group_pattern=r"^([FM]\d+)_", seed=3),
    TrainConfig(precision="bf16", augment=AugmentConfig(gray=0.1)),
    RUN,
    RunConfig(data="videos", model=NANO, input=default_input(NANO)),
]

with_examples = pytest.mark.parametrize("config", EXAMPLES, ids=lambda config: type(config).__name__)


def model_fields(**changes: Any) -> dict[str, Any]:
    return NANO.to_dict() | changes


@with_examples
def test_a_configuration_comes_back_equal_from_json(config: Config):
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config


@with_examples
def test_a_configuration_comes_back_equal_from_yaml(config: Config):
    assert type(config).from_dict(yaml.safe_load(yaml.safe_dump(config.to_dict()))) == config


def test_to_dict_is_plain_at_every_depth():
    values = RUN.to_dict()
    assert values["model"]["depths"] == [2, 2, 4, 2]
    assert values["input"]["crop"] == [64, 64]
    assert values["train"]["augment"]["crop_area"] == 0.5
    assert type(values["train"]["augment"]) is dict


def test_lists_become_tuples_and_integers_become_floats():
    config = InputConfig.from_dict({"crop": [64, 64], "mean": [0, 0, 1], "target_fps": 25})
    assert config.crop == (64, 64)
    assert config.mean == (0.0, 0.0, 1.0)
    assert [type(value) for value in (*config.mean, config.target_fps)] == [float] * 4


def test_dictionaries_become_configurations():
    config = TrainConfig.from_dict({"epochs": 2, "augment": {"flip": 0.5}})
    assert config.augment == AugmentConfig(flip=0.5)
    assert config == TrainConfig(epochs=2, augment=AugmentConfig(flip=0.5))


def test_an_optional_field_takes_none_and_its_type_and_nothing_else():
    assert SplitConfig(group_pattern=None).group_pattern is None
    assert SplitConfig(group_pattern="a").group_pattern == "a"
    with pytest.raises(ConfigError, match=re.escape("split.group_pattern is 3; allowed: a value of type str")):
        SplitConfig.from_dict({"group_pattern": 3})


@pytest.mark.parametrize(
    ("config_class", "name", "near"),
    [
        (ModelConfig, "chunk_length", "chunk_lengths"),
        (InputConfig, "sampeling", "sampling"),
        (AugmentConfig, "mix_up", "mixup"),
        (SplitConfig, "val_frac", "val_fraction"),
        (TrainConfig, "warmup_epoch", "warmup_epochs"),
        (RunConfig, "dta", "data"),
    ],
)
def test_an_unknown_name_is_refused_with_the_near_ones(config_class: type[Config], name: str, near: str):
    with pytest.raises(ConfigError, match=rf"has no field '{name}'; did you mean [^?]*\b{near}\b"):
        config_class.from_dict({name: 1})


def test_an_unknown_name_near_to_none_is_refused_with_all():
    with pytest.raises(ConfigError, match="split has no field 'qqq'; known: val_fraction, group_pattern, seed"):
        SplitConfig.from_dict({"qqq": 1})


def test_an_unknown_name_of_a_nested_configuration_is_refused():
    with pytest.raises(ConfigError, match="augment has no field 'flp'; did you mean flip"):
        TrainConfig.from_dict({"augment": {"flp": 0.5}})


def test_a_name_that_is_no_string_is_refused():
    with pytest.raises(ConfigError, match="split has no field 1"):
        SplitConfig.from_dict(yaml.safe_load("1: 2"))


@pytest.mark.parametrize("values", [None, [], "epochs", 3])
def test_values_that_are_no_mapping_are_refused(values: Any):
    with pytest.raises(ConfigError, match=r"^train is .*; allowed: names with values"):
        TrainConfig.from_dict(values)


@pytest.mark.parametrize(
    ("config_class", "given", "missing"),
    [
        (ModelConfig, {}, "depths, widths, chunk_lengths"),
        (ModelConfig, {"depths": [1, 1, 1, 1]}, "widths, chunk_lengths"),
        (RunConfig, {"data": "videos"}, "model, input"),
    ],
)
def test_missing_fields_are_named(config_class: type[Config], given: dict[str, Any], missing: str):
    with pytest.raises(ConfigError, match=f"lacks {missing}$"):
        config_class.from_dict(given)


WRONG_TYPES: list[tuple[type[Config], dict[str, Any], str]] = [
    (ModelConfig, model_fields(depths=3), "model.depths is 3; allowed: a value of type tuple"),
    (ModelConfig, model_fields(depths=[1, 2, 3.0, 4]), "model.depths[2] is 3.0; allowed: a value of type int"),
    (ModelConfig, model_fields(depths=[1, 2, True, 4]), "model.depths[2] is True; allowed: a value of type int"),
    (ModelConfig, model_fields(num_classes=True), "model.num_classes is True; allowed: a value of type int"),
    (ModelConfig, model_fields(num_classes=10.0), "model.num_classes is 10.0; allowed: a value of type int"),
    (ModelConfig, model_fields(temporal=1), "model.temporal is 1; allowed: a value of type bool"),
    (ModelConfig, model_fields(temporal="false"), "model.temporal is 'false'; allowed: a value of type bool"),
    (ModelConfig, model_fields(mlp_ratio=True), "model.mlp_ratio is True; allowed: a value of type float"),
    (ModelConfig, model_fields(name=None), "model.name is None; allowed: a value of type str"),
    (
        ModelConfig,
        model_fields(temporal_init="zero"),
        "model.temporal_init is 'zero'; allowed: 'released', 'zero_proj'",
    ),
    (InputConfig, {"sampling": "uniform"}, "input.sampling is 'uniform'; allowed: 'dense', 'sparse'"),
    (InputConfig, {"fit": ["crop"]}, "input.fit is ['crop']; allowed: 'crop', 'stretch', 'whole'"),
    (InputConfig, {"crop": 224}, "input.crop is 224; allowed: a value of type tuple"),
    (InputConfig, {"crop": [224]}, "input.crop has 1 values; allowed: 2"),
    (InputConfig, {"mean": [0.5] * 4}, "input.mean has 4 values; allowed: 3"),
    (InputConfig, {"mean": [0.5, "x", 0.5]}, "input.mean[1] is 'x'; allowed: a value of type float"),
    (TrainConfig, {"epochs": "30"}, "train.epochs is '30'; allowed: a value of type int"),
    (TrainConfig, {"epochs": None}, "train.epochs is None; allowed: a value of type int"),
    (TrainConfig, {"precision": "fp8"}, "train.precision is 'fp8'; allowed: 'fp32', 'bf16', 'fp16', 'auto'"),
    (TrainConfig, {"augment": 3}, "train.augment is 3; allowed: names with values"),
    (TrainConfig, {"augment": None}, "train.augment is None; allowed: names with values"),
    (AugmentConfig, {"flip": "0.5"}, "augment.flip is '0.5'; allowed: a value of type float"),
    (RunConfig, RUN.to_dict() | {"data": 3}, "run.data is 3; allowed: a value of type str"),
    (RunConfig, RUN.to_dict() | {"model": "nano"}, "run.model is 'nano'; allowed: names with values"),
]


@pytest.mark.parametrize(("config_class", "values", "message"), WRONG_TYPES, ids=[row[2] for row in WRONG_TYPES])
def test_a_wrong_type_is_refused_with_name_value_and_type(
    config_class: type[Config], values: dict[str, Any], message: str
):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        config_class.from_dict(values)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 10**400])
def test_numbers_that_are_not_finite_are_refused(value: float):
    for config_class, name in ((TrainConfig, "lr"), (AugmentConfig, "mixup"), (InputConfig, "target_fps")):
        with pytest.raises(ConfigError, match=rf"\.{name} is .*; allowed: a finite number$"):
            config_class.from_dict({name: value})
    with pytest.raises(ConfigError, match=r"input\.std\[1\] is "):
        InputConfig(std=(1.0, value, 1.0))


WRONG_RANGES: list[tuple[type[Config], dict[str, Any], str]] = [
    (ModelConfig, model_fields(depths=[]), "model.depths is (); allowed: four positive integers"),
    (ModelConfig, model_fields(depths=[1, 1, 1]), "model.depths is (1, 1, 1); allowed: four positive integers"),
    (ModelConfig, model_fields(chunk_lengths=[1, 0, 1, 1]), "model.chunk_lengths is (1, 0, 1, 1); allowed: four pos"),
    (ModelConfig, model_fields(widths=[8, 8, 3, 8]), "model.widths is (8, 8, 3, 8); allowed: at least 4 channels"),
    (ModelConfig, model_fields(num_classes=0), "model.num_classes is 0; allowed: 1 or more"),
    (ModelConfig, model_fields(frames=0), "model.frames is 0; allowed: 1 to 1024"),
    (ModelConfig, model_fields(temporal=False), "model.frames is 16; allowed: 1 for an image model"),
    (ModelConfig, model_fields(drop_path=1), "model.drop_path is 1.0; allowed: 0 <= rate < 1"),
    (ModelConfig, model_fields(mlp_ratio=0), "model.mlp_ratio is 0.0; allowed: a hidden width of 1 or more"),
    (ModelConfig, model_fields(image_size=31), "model.image_size is 31; allowed: 32 px or more"),
    (InputConfig, {"stride": 0}, "input.stride is 0; allowed: 1 or more"),
    (InputConfig, {"target_fps": 0}, "input.target_fps is 0.0; allowed: above 0"),
    (InputConfig, {"crop": [31, 31]}, "input.crop is (31, 31); allowed: 32 px or more"),
    (InputConfig, {"fit": "stretch", "num_crops": 3}, "input.num_crops is 3; allowed: 1 where fit is not 'crop'"),
    (InputConfig, {"crop": [32, 64]}, "input.crop is (32, 64); allowed: height and width equal, or fit = 'stretch'"),
    (InputConfig, {"resize": 223}, "input.resize is 223; allowed: at least crop (224 px)"),
    (InputConfig, {"std": [1, 0, 1]}, "input.std is (1.0, 0.0, 1.0); allowed: above 0"),
    (InputConfig, {"num_clips": 0}, "input.num_clips is 0; allowed: 1 or more"),
    (InputConfig, {"num_crops": 2}, "input.num_crops is 2; allowed: 1 or 3"),
    (AugmentConfig, {"crop_area": 0}, "augment.crop_area is 0.0; allowed: above 0, at most 1"),
    (AugmentConfig, {"crop_area": 1.1}, "augment.crop_area is 1.1; allowed: above 0, at most 1"),
    (AugmentConfig, {"crop_ratio": 0.9}, "augment.crop_ratio is 0.9; allowed: 1 or more"),
    (AugmentConfig, {"flip": 1.5}, "augment.flip is 1.5; allowed: 0 to 1"),
    (AugmentConfig, {"color": -0.1}, "augment.color is -0.1; allowed: 0 to 1"),
    (AugmentConfig, {"gray": 2}, "augment.gray is 2.0; allowed: 0 to 1"),
    (AugmentConfig, {"erase": -1}, "augment.erase is -1.0; allowed: 0 to 1"),
    (AugmentConfig, {"mixup": -0.2}, "augment.mixup is -0.2; allowed: 0 or more"),
    (AugmentConfig, {"cutmix": -1}, "augment.cutmix is -1.0; allowed: 0 or more"),
    (AugmentConfig, {"label_smoothing": 1}, "augment.label_smoothing is 1.0; allowed: 0 <= value < 1"),
    (SplitConfig, {"val_fraction": 0}, "split.val_fraction is 0.0; allowed: between 0 and 1"),
    (SplitConfig, {"val_fraction": 1}, "split.val_fraction is 1.0; allowed: between 0 and 1"),
    (SplitConfig, {"seed": -1}, "split.seed is -1; allowed: 0 or more"),
    (TrainConfig, {"epochs": 0}, "train.epochs is 0; allowed: 1 or more"),
    (TrainConfig, {"batch_size": 0}, "train.batch_size is 0; allowed: 1 or more"),
    (TrainConfig, {"eval_every": 0}, "train.eval_every is 0; allowed: 1 or more"),
    (TrainConfig, {"keep_frames_gb": -1}, "train.keep_frames_gb is -1.0; allowed: 0 or more, or None"),
    (TrainConfig, {"lr": 0}, "train.lr is 0.0; allowed: above 0"),
    (TrainConfig, {"lr": 1e-7}, "train.min_lr is 1e-06; allowed: 0 to lr (1e-07)"),
    (TrainConfig, {"min_lr": -1}, "train.min_lr is -1.0; allowed: 0 to lr (0.0005)"),
    (TrainConfig, {"warmup_epochs": -1}, "train.warmup_epochs is -1.0; allowed: 0 or more"),
    (TrainConfig, {"weight_decay": -1}, "train.weight_decay is -1.0; allowed: 0 or more"),
    (TrainConfig, {"save_every": -1}, "train.save_every is -1; allowed: 0 or more"),
    (TrainConfig, {"workers": -1}, "train.workers is -1; allowed: 0 or more"),
    (TrainConfig, {"seed": -1}, "train.seed is -1; allowed: 0 or more"),
    (TrainConfig, {"clip_grad": 0}, "train.clip_grad is 0.0; allowed: above 0"),
    # Far beyond what anybody trains: a slip of the keyboard, or a hostile file.
    (
        ModelConfig,
        model_fields(widths=[10**9] * 4),
        "model.widths is (1000000000, 1000000000, 1000000000, 1000000000); allowed: at most 16,384",
    ),
    (
        ModelConfig,
        model_fields(depths=[10**5] * 4),
        "model.depths is (100000, 100000, 100000, 100000); allowed: at most 1,000",
    ),
    (
        ModelConfig,
        model_fields(widths=[16_384] * 4, depths=[900] * 4),
        "model.widths is (16384, 16384, 16384, 16384); allowed: what makes 10,000,000,000 weights or fewer",
    ),
    (ModelConfig, model_fields(num_classes=10**12), "model.num_classes is 1000000000000; allowed: at most 1,000,000"),
    (
        ModelConfig,
        model_fields(chunk_lengths=[10**6] * 4),
        "model.chunk_lengths is (1000000, 1000000, 1000000, 1000000); allowed: at most 4,096",
    ),
    (ModelConfig, model_fields(mlp_ratio=1e9), "model.mlp_ratio is 1000000000.0; allowed: at most 64"),
    (InputConfig, {"num_clips": 10**9}, "input.num_clips is 1000000000; allowed: at most 10,000"),
    (
        InputConfig,
        {"crop": [10**9] * 2, "resize": 10**30},
        "input.crop is (1000000000, 1000000000); allowed: at most 8,192",
    ),
    (InputConfig, {"target_fps": 1e-300}, "input.target_fps is 1e-300; allowed: 0.001 or more"),
    (InputConfig, {"std": [1e-300] * 3}, "input.std is (1e-300, 1e-300, 1e-300); allowed: 0.000001 or more"),
    (AugmentConfig, {"repeats": 10**9}, "augment.repeats is 1000000000; allowed: at most 1,000"),
    (TrainConfig, {"workers": 10**9}, "train.workers is 1000000000; allowed: at most 4,096"),
    (TrainConfig, {"batch_size": 10**12}, "train.batch_size is 1000000000000; allowed: at most 1,000,000"),
    (TrainConfig, {"seed": 2**70}, "train.seed is 1180591620717411303424; allowed: at most"),
    (TrainConfig, {"ema": 1}, "train.ema is 1.0; allowed: 0 <= decay < 1"),
]


@pytest.mark.parametrize(("config_class", "values", "message"), WRONG_RANGES, ids=[row[2] for row in WRONG_RANGES])
def test_a_value_out_of_range_is_refused_with_name_value_and_range(
    config_class: type[Config], values: dict[str, Any], message: str
):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        config_class.from_dict(values)


def test_the_ends_of_the_ranges_are_taken():
    AugmentConfig(crop_area=1, crop_ratio=1, flip=1, color=1, gray=1, erase=1, mixup=0, cutmix=0, label_smoothing=0)
    InputConfig(stride=1, crop=(32, 32), resize=32, num_crops=3)
    InputConfig(fit="stretch", crop=(32, 400), resize=1)
    TrainConfig(lr=1e-6, min_lr=1e-6, warmup_epochs=0, weight_decay=0, ema=0, workers=0, epochs=1, batch_size=1)
    ModelConfig.from_dict(model_fields(temporal=False, frames=1, drop_path=0, image_size=32))


def test_a_configuration_error_is_a_users_mistake():
    assert issubclass(ConfigError, UserError)


def test_the_published_inputs_are_those_of_the_papers_test_protocol():
    views = {name: (config.num_crops, config.num_clips) for name, config in PUBLISHED_INPUTS.items()}
    assert views == {"k400": (1, 4), "ssv1": (3, 1), "ssv2": (3, 1), "imagenet": (1, 1)}
    assert {name: config.channel_order for name, config in PUBLISHED_INPUTS.items()} == {
        "k400": "rgb",
        "ssv1": "bgr",
        "ssv2": "bgr",
        "imagenet": "rgb",
    }
    assert {name: config.resize for name, config in PUBLISHED_INPUTS.items()} == {
        "k400": 256,
        "ssv1": 224,
        "ssv2": 224,
        "imagenet": 256,
    }


@pytest.mark.parametrize(("name", "crop", "resize"), [("morphmlp_video_nano", 64, 73), ("morphmlp_video_s", 224, 256)])
def test_the_default_input_fits_the_size_that_the_model_is_made_for(name: str, crop: int, resize: int):
    assert default_input(VARIANTS[name]) == InputConfig(sampling="sparse", crop=(crop, crop), resize=resize)


@pytest.mark.parametrize(("frames", "steps"), [(1, 1), (15, 8), (16, 8), (17, 9)])
def test_the_stem_halves_the_frames_rounding_up(frames: int, steps: int):
    assert ModelConfig.from_dict(model_fields(frames=frames)).num_steps == steps


def test_the_hidden_width_is_rounded():
    assert ModelConfig.from_dict(model_fields(mlp_ratio=1.1)).hidden_width(32) == 35
