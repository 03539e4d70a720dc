"""The recipes of the package are the paper's, and a recipe is completed by data, model and start."""

import os
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import yaml

from morphmlp.analysis.paper.published import ADE20K, IMAGENET, TABLES
from morphmlp.checkpoints.folder import load_config
from morphmlp.config import PUBLISHED_INPUTS, ListConfig, RunConfig, TrainConfig, default_input
from morphmlp.errors import ConfigError
from morphmlp.models.zoo import build_model, model_config
from morphmlp.recipes import load_recipe, merged, recipe_names
from morphmlp.training.initial_weights import initial_model
from morphmlp.training.settings import run_config

VIDEO = [f"{family}_{size}{frames}" for family in ("k400", "ssv1", "ssv2") for size in "sb" for frames in (16, 32)]
IMAGE = [f"imagenet_{size}" for size in "tsbl"]
MASK = [f"ade20k_{size}" for size in "tsb"]
SHORT = ["imagenet_t_100", "k400_s16_30"]
OURS = ["camvid", "cifar10_small", "demo", "rendered", "spoken_words"]
TABLE_OF = {"k400": (1, "K400"), "ssv2": (2, "SSV2"), "ssv1": (3, "SSV1")}
CLASSES = {"k400": 400, "ssv1": 174, "ssv2": 174, "imagenet": 1000, "ade20k": 150}


def configured(name: str, **changes: Any) -> RunConfig:
    """The run of a recipe on data of its data set."""
    family = name.split("_")[0]
    kind = "mask" if name in (*MASK, "camvid") else "image" if name.startswith(("imagenet", "cifar10")) else "video"
    recipe = load_recipe(name) | changes
    return run_config("data", num_classes=CLASSES.get(family, 10), recipe=recipe, kind=kind)


def header(name: str) -> dict[str, str]:
    """The entries of the comment that opens a recipe, each with its continuation lines."""
    text = (files("morphmlp") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
    entries: dict[str, str] = {}
    for line in text.splitlines():
        if match := re.match(r"#   (\w+) +(.+)", line):
            entries[key := match[1]] = match[2]
        elif line.startswith("#    "):
            entries[key] += " " + line.lstrip("# ")
        elif not line.startswith("#"):
            break
    return entries


def test_there_is_a_recipe_for_every_published_model():
    assert recipe_names() == sorted(VIDEO + IMAGE + MASK + SHORT + OURS)


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_says_command_hardware_and_numbers_and_can_be_built(name: str):
    says = header(name)
    assert list(says) == ["command", "hardware", "published", "ours"]
    assert "morphmlp" in says["command"]
    if name != "demo":
        assert f"--recipe {name} " in says["command"]
    config = configured(name)
    assert RunConfig.from_dict(config.to_dict()) == config
    with torch.device("meta"):
        model = build_model(config.model)
    assert next(model.parameters()).is_meta


# The published settings: recipes.md's table of the paper's and, where that is silent, the released values


def test_kinetics_is_trained_as_the_paper_says():
    for name in VIDEO[:4]:
        settings = configured(name).train
        assert (settings.lr, settings.warmup_epochs, settings.epochs) == (2e-4, 10, 60)
        assert settings.augment.flip == 0.5


def test_something_something_is_trained_as_the_paper_says():
    for name in VIDEO[4:]:
        settings = configured(name).train
        assert (settings.lr, settings.warmup_epochs, settings.epochs) == (4e-4, 5, 50)
        assert settings.augment.flip == 0  # left and right are classes


@pytest.mark.parametrize("name", VIDEO)
def test_video_recipes_share_optimizer_and_augmentation(name: str):
    settings = configured(name).train
    assert (settings.batch_size, settings.weight_decay, settings.clip_grad) == (64, 0.05, 20)
    assert (settings.warmup_lr, settings.min_lr, settings.ema, settings.layer_decay) == (1e-6, 1e-6, 0, 1)
    assert (settings.workers, settings.seed, settings.eval_every, settings.precision) == (8, 0, 5, "bf16")
    augment = settings.augment
    assert settings.batch_size * augment.repeats == 128
    assert (augment.rand_augment, augment.crop_first) == ("rand-m7-n4-mstd0.5-inc1", False)
    assert (augment.crop_area, augment.crop_ratio) == (0.08, 4 / 3)
    assert (augment.color, augment.gray, augment.erase) == (0, 0, 0.25)
    assert (augment.mixup, augment.cutmix, augment.label_smoothing) == (0.8, 1, 0.1)


@pytest.mark.parametrize("name", VIDEO)
def test_video_recipes_have_the_published_depth_rate_frames_classes_and_sampling(name: str):
    family, size, frames = name[:4], name[5], int(name[6:])
    config = configured(name)
    assert (config.model.name, config.model.frames) == (f"morphmlp_video_{size}", frames)
    rates = {"k400": {"s": 0.1, "b": 0.3}, "ssv1": {"s": 0.3, "b": 0.6}, "ssv2": {"s": 0.3, "b": 0.6}}
    assert config.model.drop_path == rates[family][size]
    assert config.lists.labels == family
    assert config.input == PUBLISHED_INPUTS[family]
    assert config.input.sampling == ("dense" if family == "k400" else "sparse")
    if family == "k400":
        parameters = {"s16": 47_039_154, "s32": 47_463_018, "b16": 67_784_382, "b32": 68_490_822}
        with torch.device("meta"):
            model = build_model(config.model)
        assert sum(parameter.numel() for parameter in model.parameters()) == parameters[name[5:]]


@pytest.mark.parametrize("name", VIDEO)
def test_video_recipes_quote_the_papers_row_of_their_test_protocol(name: str):
    family, size, frames = name[:4], name[5].upper(), int(name[6:])
    number, column = TABLE_OF[family]
    tested = configured(name).input
    protocol = f"{frames}x{tested.num_crops}x{tested.num_clips}"
    rows = [
        row.published
        for row in TABLES[number].rows
        if (row.name, row.settings["frames x crops x clips"]) == (f"MorphMLP-{size}", protocol)
    ]
    quoted = header(name)["published"]
    if name == "ssv1_s32":
        assert (rows, quoted) == ([], "- (Table 3 has no such row)")
    else:
        top1, top5 = rows[0][f"{column} top-1"], rows[0][f"{column} top-5"]
        assert quoted.startswith(f"{top1} top-1, {top5} top-5 at ")
        assert f"(Table {number})" in quoted


def test_released_values_that_differ_stand_in_the_comments():
    def text(name: str) -> str:
        return (files("morphmlp") / "recipes" / name).read_text(encoding="utf-8")

    assert "# Released: warmup_epochs 30." in text("k400_b32.yaml")
    assert "# Released: epochs 64" in text("ssv2_b32.yaml")
    for name in VIDEO[4:]:
        assert ("drop_path 0.5" in text(f"{name}.yaml")) == ("ssv1_b" in name)
        assert name == "ssv2_b32" or "# Released: epochs 60" in text(f"{name}.yaml")
    for base in ("kinetics", "something"):
        assert "# released: fp16" in text(f"base/{base}.yaml")


@pytest.mark.parametrize("name", IMAGE)
def test_imagenet_is_trained_as_deit(name: str):
    config = configured(name)
    settings, augment = config.train, config.train.augment
    assert augment.repeats == 3
    assert abs(settings.batch_size * augment.repeats - 1024) <= 2
    assert settings.epochs * augment.repeats == 300
    assert settings.warmup_epochs * augment.repeats == pytest.approx(20)
    assert (settings.lr, settings.warmup_lr, settings.min_lr, settings.weight_decay) == (1e-3, 1e-6, 1e-5, 0.05)
    assert (settings.clip_grad, settings.ema, settings.ema_aside) == (None, 0.99996, True)
    assert (augment.rand_augment, augment.crop_first, augment.erase) == ("rand-m9-mstd0.5-inc1", True, 0.25)
    assert (augment.mixup, augment.cutmix, augment.label_smoothing) == (0.8, 1, 0.1)
    assert (augment.crop_area, augment.crop_ratio, augment.flip, augment.color) == (0.08, 4 / 3, 0.5, 0)
    assert config.model.drop_path == {"t": 0.1, "s": 0.1, "b": 0.2, "l": 0.3}[name[-1]]
    assert config.input == PUBLISHED_INPUTS["imagenet"]
    row = next(row for row in TABLES[4].rows if row.name == f"MorphMLP-{name[-1].upper()}")
    assert header(name)["published"].startswith(f"{row.published[IMAGENET]} top-1")


def test_short_trainings_differ_from_the_long_ones_in_their_epochs_alone():
    for short, long, epochs in (("imagenet_t_100", "imagenet_t", 33), ("k400_s16_30", "k400_s16", 30)):
        assert load_recipe(short) == load_recipe(long) | {"epochs": epochs}


@pytest.mark.parametrize("name", MASK)
def test_ade20k_is_trained_as_the_paper_says(name: str):
    config = configured(name)
    settings, augment = config.train, config.train.augment
    steps_per_epoch = -(-20_210 // 16)
    assert (settings.batch_size, settings.lr, settings.weight_decay) == (16, 1e-4, 1e-4)
    assert settings.epochs * steps_per_epoch == pytest.approx(80_000, rel=0.005)
    assert settings.warmup_epochs * steps_per_epoch == pytest.approx(1_000, abs=1)
    assert settings.warmup_lr == pytest.approx(0.1 * settings.lr)
    assert (augment.scale, augment.max_class_share, augment.flip) == ((0.5, 2.0), 0.75, 0.5)
    assert (config.masks.labels, config.masks.reduce_zero_label) == ("ade20k", True)
    assert (config.model.task, config.model.decoder_width) == ("segmentation", 256)
    assert config.input == default_input(config.model)
    assert (config.input.fit, config.input.resize, config.input.crop) == ("whole", 512, (512, 512))
    row = next(row for row in TABLES[5].rows if row.name == f"MorphMLP-{name[-1].upper()}")
    assert header(name)["published"].startswith(f"{row.published[ADE20K]} mIoU")


# Reading recipes


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_recipe_stands_on_its_base_field_by_field():
    own = yaml.safe_load((files("morphmlp") / "recipes" / "ssv2_b16.yaml").read_text(encoding="utf-8"))
    base = yaml.safe_load((files("morphmlp") / "recipes" / "base" / "something.yaml").read_text(encoding="utf-8"))
    assert own.pop("base") == "something"
    assert load_recipe("ssv2_b16") == base | own


def test_own_file_can_stand_on_a_base(tmp_path: Path):
    recipe = write(tmp_path / "mine.yaml", "base: kinetics\naugment: {mixup: 0.0}\ninput: {crop: [112, 112]}\n")
    values, base = load_recipe(recipe), load_recipe("k400_s16")
    assert values["augment"] == base["augment"] | {"mixup": 0.0}
    assert values["input"] == base["input"] | {"crop": [112, 112]}
    assert values["epochs"] == 60


def test_merging_leaves_both_sides_as_they_were():
    left, right = {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}}, {"a": {"c": [3], "f": None}, "d": None}
    assert merged(left, right) == {"a": {"b": 1, "c": [3], "f": None}, "d": None}
    assert left == {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("k400_s61", r"recipe 'k400_s61' is neither one of the package nor a YAML file; did you mean k400_s16, "),
        ("qqq", r"recipe 'qqq' is neither .*; known: ade20k_b, "),
        ("base", r"recipe 'base' is neither"),
    ],
)
def test_unknown_recipe_names_the_near_ones(name: str, message: str):
    with pytest.raises(ConfigError, match=message):
        load_recipe(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3\n", r"recipe .*r\.yaml has no field 'epoch'; did you mean epochs\?"),
        ("augment: {flp: 0.5}\n", r"has no field 'flp' in augment; did you mean flip\?"),
        ("imput: {crop: [32, 32]}\n", r"has no field 'imput'; did you mean input\?"),
        ("mixup: 0.5\n", r"has no field 'mixup'; did you mean augment\.mixup\?"),
        ("arch: {depth: [1, 1, 1, 1]}\n", r"has no field 'depth' in arch; did you mean depths"),
        ("lists: {prefx: x}\n", r"has no field 'prefx' in lists; did you mean prefix"),
        ("3: 4\n", r"has no field 3; known: model, init, "),
        ("base: kinetic\n", r"base is 'kinetic'; allowed: ade20k, imagenet, kinetics, something"),
        ("", r"holds None; allowed: names with values"),
        ("- epochs\n", r"holds \['epochs'\]; allowed: names with values"),
        ("arch: {frames: " + "[" * 5000, r"recipe .*r\.yaml is nested too deeply; allowed: names with values"),
        ("epochs: [3\n", r"recipe .*r\.yaml is no YAML: "),
    ],
)
def test_recipe_file_that_cannot_be_used_is_refused(text: str, message: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=message) as caught:
        load_recipe(write(tmp_path / "r.yaml", text))
    assert "\n" not in str(caught.value)


def test_known_names_are_listed_once(tmp_path: Path):
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(tmp_path / "r.yaml", "qqq: 1\n"))
    known = str(caught.value).partition("known: ")[2].split(", ")
    assert "augment" in known
    assert len(known) == len(set(known))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [*a]", "inside the value"),
        ("lr: &lr {a: *lr}", "inside the value"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"{c}: &{c} [{','.join(['*' + p] * 10)}]\n" for p, c in zip("abcdef", "bcdefg", strict=True)),
            "more than 100,000",
        ),
    ],
)
def test_aliases_that_stand_for_too_much_are_refused(text: str, message: str, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_recipe(tmp_path / "mine.yaml")


def test_aliases_are_read(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(
        "batch_size: &n 8\nepochs: *n\ninput: &i {resize: 64}\narch: {<<: {frames: 8}}\n"
    )
    assert load_recipe(tmp_path / "mine.yaml")["epochs"] == 8


def test_recipe_that_is_no_text_is_refused(tmp_path: Path):
    (tmp_path / "r.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is no YAML"):
        load_recipe(tmp_path / "r.yaml")


# Completing them

TINY = {"model": "morphmlp_video_nano", "arch": {name: tiny.MODEL[name] for name in tiny.MODEL}}


def test_named_model_and_start_together_give_model_and_weights(image_checkpoint: Path):
    recipe = TINY | {"init": str(image_checkpoint), "input": {"crop": [48, 48], "resize": 48}}
    config = run_config("data", num_classes=10, recipe=recipe)
    assert config.model == model_config("morphmlp_video_nano", **tiny.MODEL, num_classes=10)
    assert config.init == str(image_checkpoint)
    assert (config.input.crop, config.input.sampling) == ((48, 48), "sparse")
    assert config.input.mean == default_input(config.model).mean
    notes = initial_model(config, load_config(image_checkpoint)[1].labels)[1]
    assert "inflated to 4 frames" in notes[0]


def test_start_without_a_model_gives_model_and_input(checkpoint: Path):
    config = run_config("data", num_classes=3, recipe={"init": str(checkpoint), "input": {"num_clips": 2}})
    assert config.model == tiny.model_config(3)
    assert config.input.to_dict() == tiny.INPUT.to_dict() | {"num_clips": 2}


def test_named_model_of_the_other_kind_is_refused_beside_a_start(image_checkpoint: Path):
    recipe = {"model": "morphmlp_image_nano", "init": str(image_checkpoint)}
    with pytest.raises(ConfigError, match="morphmlp_image_nano takes images, but data holds videos"):
        run_config("data", num_classes=3, recipe=recipe)


def test_paths_of_lists_become_absolute_and_packaged_names_stay():
    lists = {"train": "lists/train.csv", "val": "/elsewhere/val.csv", "prefix": "videos", "labels": "k400"}
    config = run_config("data", num_classes=3, recipe={"lists": lists | {"first_label": 1}})
    assert config.lists == ListConfig(
        train=os.path.abspath("lists/train.csv"),
        val="/elsewhere/val.csv",
        prefix=os.path.abspath("videos"),
        labels="k400",
        first_label=1,
    )
    config = run_config("data", num_classes=3, recipe={"lists": {"labels": "names.txt"}})
    assert config.lists.labels == os.path.abspath("names.txt")
    assert run_config("data", num_classes=3, recipe={}).lists == ListConfig()


@pytest.mark.parametrize("part", ["arch", "input", "split", "lists", "masks"])
def test_part_that_is_no_mapping_is_refused(part: str):
    with pytest.raises(ConfigError, match=f"{part} is 3; allowed: names with values"):
        run_config("data", num_classes=3, recipe={part: 3})


def test_an_empty_recipe_is_the_default_run():
    assert run_config("data", num_classes=3, recipe={}).train == TrainConfig()


@pytest.mark.parametrize("start", [{}, {"model": "morphmlp_image_nano"}, "init"])
def test_number_of_classes_is_that_of_the_data(start: Any, checkpoint: Path):
    recipe = {"init": str(checkpoint)} if start == "init" else start
    with pytest.raises(ConfigError, match=r"^arch.num_classes is 5, but .* data has 3 classes; leave it out$"):
        run_config("data", num_classes=3, recipe=recipe | {"arch": {"num_classes": 5}})


def test_the_task_is_that_of_the_data():
    with pytest.raises(ConfigError, match=r"^arch.task is 'segmentation', but data is for classification; leave it"):
        run_config("data", num_classes=3, recipe={"arch": {"task": "segmentation"}}, kind="image")


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ({"arch": {"frames": 4}}, "arch.frames is 4, but data holds images; allowed: 1"),
        ({"model": "morphmlp_image_nano", "arch": {"frames": 4}}, "arch.frames is 4, but data holds images"),
        ({"model": "morphmlp_video_nano", "arch": {"frames": 4}}, "morphmlp_video_nano takes videos, but data holds"),
        ("init", "arch.frames is 4, but data holds images"),
    ],
)
def test_images_for_a_video_model_point_to_folders_of_frames(recipe: Any, reason: str, image_checkpoint: Path):
    recipe = {"init": str(image_checkpoint), "arch": {"frames": 4}} if recipe == "init" else recipe
    with pytest.raises(ConfigError, match=rf"^{reason}.*if each folder .* give --lists.frame_folders true$"):
        run_config("data", num_classes=3, recipe=recipe, kind="image")
    assert run_config("data", num_classes=3, recipe={"arch": {"frames": 1}}, kind="image").model.frames == 1
