"""Checkpoints, ours and the released ones; and parity with the released code on the same weights."""

import argparse
import contextlib
import errno
import io
import json
import os
import pickle
import re
import sys
import types
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recorded_values import draw_tensor, fill_model, read_record, released_clip, released_weights
from safetensors.torch import load_file, save_file
from torch import Tensor

from morphmlp.checkpoints.folder import CheckpointInfo, load, load_config, load_with_info, save
from morphmlp.checkpoints.released import _released_name, convert_released, load_released, read_released
from morphmlp.config import PUBLISHED_INPUTS, InputConfig
from morphmlp.errors import CheckpointError, ConfigError, UserError
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.zoo import create_model, create_segmenter

TOLERANCE = 1e-4  # of the largest value, or of the standard deviation for a mean


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """The models are so small that sharing them out costs more than it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def nano(**overrides) -> MorphMLP:
    """A small video model in evaluation mode, with the values of a trained one."""
    return fill_model(create_model("morphmlp_video_nano", **{"num_classes": 5} | overrides)).eval()


def released_state(model: MorphMLP) -> dict[str, Tensor]:
    """The model's weights under the released names, with the released 5-D kernels."""
    state = {}
    for ours, tensor in model.state_dict().items():
        name = _released_name(ours)
        is_frame_kernel = name.endswith(("proj.weight", "proj2.weight")) and tensor.dim() == 4
        state[name] = tensor.unsqueeze(2) if is_frame_kernel else tensor
    return state


def logits_of(model: MorphMLP, size: int = 64) -> Tensor:
    frames = (model.config.frames,) if model.config.temporal else ()
    clip = torch.randn((2, 3, *frames, size, size), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model(clip)


def change_json(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# ------------------------------------------------------------------------------------------ the released code


@pytest.fixture(scope="module")
def record() -> dict:
    return read_record()


@pytest.fixture(scope="module")
def released(record) -> tuple[MorphMLP, dict[str, Tensor], Tensor]:
    """The recorded model, its activations under the recorded names, and its logits."""
    model = load_released(released_weights(record))
    modules = {"patch_embed1": model.stem}
    for stage, blocks in enumerate(model.stages, start=1):
        modules |= {f"blocks{stage}.0.t_fc": blocks[0].temporal, f"blocks{stage}.0.fc": blocks[0].spatial}
        modules[f"blocks{stage}[-1]"] = blocks[-1]
        if stage > 1:
            modules[f"patch_embed{stage}"] = model.downsamples[stage - 2]
    activations: dict[str, Tensor] = {}
    for name, module in modules.items():
        module.register_forward_hook(lambda _, inputs, output, name=name: activations.update({name: output}))
    with torch.no_grad():
        logits = model(released_clip(record))
    activations["patch_embed1"] = activations["patch_embed1"].movedim(-1, 1)  # recorded as [B, C, T, H, W]
    return model, activations, logits


def test_the_recorded_weights_make_a_video_s_of_16_frames(record, released):
    config = released[0].config
    assert (config.name, config.frames, config.num_classes) == ("morphmlp_video_s", record["frames"], record["classes"])


def test_logits_equal_those_of_the_released_code(record, released):
    expected = torch.tensor([record["logits"]])
    error = (released[2] - expected).abs().max() / expected.abs().max()
    assert error <= TOLERANCE


@pytest.mark.parametrize("name", [f"patch_embed{stage}" for stage in (1, 2, 3, 4)])
def test_patch_embeddings_equal_those_of_the_released_code(record, released, name):
    assert_activation(released[1][name], record["activations"][name])


@pytest.mark.parametrize("which", [".0.t_fc", ".0.fc", "[-1]"])
@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_blocks_equal_those_of_the_released_code(record, released, stage, which):
    name = f"blocks{stage}{which}"
    assert_activation(released[1][name], record["activations"][name])


def test_every_recorded_activation_is_compared(record, released):
    assert set(released[1]) == set(record["activations"])


def assert_activation(actual: Tensor, recorded: dict) -> None:
    assert list(actual.shape) == recorded["shape"]
    values = actual.double().flatten()
    assert abs(values.mean().item() - recorded["mean"]) <= TOLERANCE * recorded["std"]
    assert values.std().item() == pytest.approx(recorded["std"], rel=TOLERANCE)
    ends = torch.tensor(recorded["first"] + recorded["last"], dtype=torch.float64)
    error = (torch.cat([values[:8], values[-8:]]) - ends).abs().max() / ends.abs().max()
    assert error <= TOLERANCE


# ------------------------------------------------------------------------------------------ released layouts


def test_released_names_and_shapes_are_the_recorded_ones(record):
    with torch.device("meta"):
        model = create_model("morphmlp_video_s")
    shapes = {name: list(tensor.shape) for name, tensor in released_state(model).items()}
    assert shapes == record["shapes"]


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("morphmlp_video_nano", {"frames": 16, "num_classes": 5}),
        ("morphmlp_video_nano", {"frames": 32, "num_classes": 5}),
        ("morphmlp_image_nano", {}),
        ("morphmlp_image_t", {"num_classes": 11}),
    ],
)
def test_released_layout_comes_back_with_equal_outputs(name, overrides):
    model = fill_model(create_model(name, **overrides)).eval()
    again = load_released(released_state(model), frames=overrides.get("frames"))
    assert again.config == model.config
    assert not again.training
    assert torch.equal(logits_of(again), logits_of(model))


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("morphmlp_video_s", {"frames": 16, "num_classes": 174}),
        ("morphmlp_video_s", {"frames": 32}),
        ("morphmlp_video_b", {"frames": 16}),
        ("morphmlp_video_b", {"frames": 32, "num_classes": 174}),
        ("morphmlp_image_s", {}),
        ("morphmlp_image_b", {}),
        ("morphmlp_image_l", {"num_classes": 21}),
    ],
)
def test_variant_frames_and_classes_are_read_from_the_shapes(name, overrides):
    with torch.device("meta"):
        model = create_model(name, **overrides)
    again = load_released(released_state(model))
    assert again.config == model.config


@pytest.mark.parametrize("frames", [8, 12, 24])
def test_a_clip_length_that_shapes_do_not_tell_is_taken_when_it_fits(frames):
    with torch.device("meta"):
        state = released_state(create_model("morphmlp_video_s", frames=frames))
    assert load_released(state, frames=frames).config.frames == frames


def test_a_clip_length_that_does_not_fit_is_refused():
    with torch.device("meta"):
        state = released_state(create_model("morphmlp_video_s", frames=12))
    with pytest.raises(CheckpointError, match=r"temporal FCs of sizes .* 16, 32, 8 or 64 frames; give frames=N"):
        load_released(state)
    with pytest.raises(CheckpointError, match=r"are not those of 20 frames"):
        load_released(state, frames=20)


@pytest.mark.parametrize("wrapping", ["model_state", "model", "state_dict", None])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_wrapping_is_taken_off(wrapping, prefix):
    model = nano()
    state = OrderedDict((prefix + name, tensor) for name, tensor in released_state(model).items())
    values = {wrapping: state, "epoch": 3, "optimizer_state": {"lr": 0.1}} if wrapping else state
    assert torch.equal(logits_of(load_released(values)), logits_of(model))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_either_pickle_format_is_read(tmp_path, zipped):
    model, path = nano(), tmp_path / "K400_S16.pyth"
    torch.save({"model_state": released_state(model)}, path, _use_new_zipfile_serialization=zipped)
    assert torch.equal(logits_of(load_released(path)), logits_of(model))
    assert torch.equal(logits_of(load_released(str(path))), logits_of(model))


def test_image_files_may_hold_4d_convolutions():
    model = fill_model(create_model("morphmlp_image_nano", num_classes=5)).eval()
    state = {name: t.squeeze(2) if t.dim() == 5 else t for name, t in released_state(model).items()}
    assert {tensor.dim() for name, tensor in state.items() if "proj" in name and "patch" in name} == {1, 4}
    assert torch.equal(logits_of(load_released(state)), logits_of(model))


def test_half_precision_files_become_float32():
    state = {name: t.half() if t.is_floating_point() else t for name, t in released_state(nano()).items()}
    model = load_released(state)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_loaded_model_shares_no_memory_with_its_source_and_can_be_trained():
    state = released_state(nano())
    before = state["head.weight"].clone()
    model = load_released(state)
    logits_of(model)
    with torch.no_grad():
        model.head.weight.zero_()
    assert torch.equal(state["head.weight"], before)
    assert all(parameter.requires_grad for parameter in model.parameters())


# ------------------------------------------------------------------------------------- released files, refused


def test_one_error_lists_missing_extra_and_misshapen_names():
    state = released_state(nano())
    state["extra.weight"] = torch.zeros(2)
    del state["blocks1.0.t_fc.proj.bias"]
    del state["blocks4.1.fc.mlp_h.weight"]
    state["norm.bias"] = torch.zeros(3)
    with pytest.raises(CheckpointError) as caught:
        load_released(state)
    message = str(caught.value)
    assert "missing (2): blocks1.0.t_fc.proj.bias, blocks4.1.fc.mlp_h.weight" in message
    assert "not in the model (1): extra.weight" in message
    assert "of another shape (1): norm.bias [3] instead of [256]" in message


def test_a_long_list_of_names_is_cut():
    state = {name: tensor for name, tensor in released_state(nano()).items() if ".mlp.fc1." not in name}
    with pytest.raises(CheckpointError, match=r"missing \(20\): .* and 14 more"):
        load_released(state)


def test_an_unknown_variant_lists_the_known_ones():
    state = released_state(nano())
    state = {name: tensor for name, tensor in state.items() if not name.startswith("blocks1.1.")}
    with pytest.raises(CheckpointError, match=r"depths \(1, 2, 4, 2\).*known: .*morphmlp_video_s \(3, 4, 9, 3\)"):
        load_released(state)


def test_a_missing_head_is_named():
    state = {name: tensor for name, tensor in released_state(nano()).items() if not name.startswith("head.")}
    with pytest.raises(CheckpointError, match=r"head\.weight is missing"):
        load_released(state)


# The authors' ImageNet weights for their video models: a stem of three taps, no MorphFC_t, perhaps no head.


def video_start(*, norms: bool = False, head: bool = True) -> dict[str, Tensor]:
    state = released_state(nano())
    left_out = [".t_fc."] + [".t_norm1."] * (not norms) + ["head."] * (not head)
    return {name: value for name, value in state.items() if not any(part in name for part in left_out)}


@pytest.mark.parametrize("norms", [False, True])
@pytest.mark.parametrize("frames", [None, 8])
def test_the_video_start_loads_with_temporal_layers_at_their_start(frames, norms):
    model = load_released(video_start(norms=norms), frames=frames)
    assert (model.config.temporal, model.config.frames, model.config.num_classes) == (True, frames or 16, 5)
    assert model.checkpoint_info.training["fresh"] == ["temporal layers"]
    block, filled = model.stages[3][1], nano().stages[3][1]
    assert not block.temporal.fc.fc.weight.any()
    assert (block.temporal.proj.weight == 1).all()
    assert torch.equal(block.temporal_norm.weight, filled.temporal_norm.weight) == norms
    assert torch.equal(block.spatial.proj.weight, filled.spatial.proj.weight)


def test_the_video_start_without_a_head_gets_a_fresh_one_which_is_said(tmp_path):
    path = tmp_path / "video_morphmlp_s.pth"
    torch.save({"model_state": video_start(head=False)}, path)
    left, right = (read_released(path, num_classes=174) for _ in range(2))
    assert left.checkpoint_info.training["fresh"] == ["temporal layers", "head"]
    assert left.head.weight.shape[0] == 174
    assert torch.equal(left.head.weight, right.head.weight)
    assert read_released(path).config.num_classes == 400


def test_a_start_that_lacks_something_else_is_refused():
    state = {name: value for name, value in video_start().items() if name != "blocks2.0.norm1.bias"}
    with pytest.raises(CheckpointError, match=r"missing \(1\): blocks2\.0\.norm1\.bias"):
        load_released(state)


# Bookkeeping beside the tensors


def save_as(cls: type, full_name: str, path: Path, value: object) -> None:
    """Saves `value` as if its class were `full_name` of a package that need not be installed."""
    module, _, name = full_name.rpartition(".")
    stand_in = types.ModuleType(module)
    setattr(stand_in, name, cls)
    cls.__module__, cls.__qualname__, cls.__name__ = module, name, name
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, module, stand_in)
        torch.save({"model_state": released_state(nano()), "beside": value}, path)


@pytest.mark.parametrize("zipped", [True, False])
def test_options_and_figures_beside_the_tensors_are_left_out(tmp_path, zipped):
    path = tmp_path / "deit.pth"
    beside = {
        "args": argparse.Namespace(lr=0.1, output=Path("out"), inner=argparse.Namespace(a=[1])),
        "best": np.float64(78.7),
        "history": np.arange(3.0),
        "names": np.array(["one", "two"]),
    }
    torch.save({"model": released_state(nano())} | beside, path, _use_new_zipfile_serialization=zipped)
    assert load_released(path).config.num_classes == 5


@pytest.mark.parametrize("name", ["yacs.config.CfgNode", "fvcore.common.config.CfgNode"])
def test_a_configuration_node_beside_the_tensors_is_left_out(tmp_path, name):
    class Node(dict):
        pass

    node = Node(MODEL=Node(WIDTH=3))
    node.__dict__["frozen"] = True
    save_as(Node, name, tmp_path / "node.pyth", node)
    assert load_released(tmp_path / "node.pyth").config.num_classes == 5


def test_a_class_of_an_unknown_package_is_refused_by_its_name(tmp_path):
    class Thing:
        pass

    save_as(Thing, "somewhere.Thing", tmp_path / "thing.pth", Thing())
    with pytest.raises(CheckpointError, match=r"it holds somewhere\.Thing; only files of plain tensors"):
        load_released(tmp_path / "thing.pth")


def test_a_backbone_prefix_is_taken_off():
    state = {f"backbone.{name}": value for name, value in released_state(nano()).items()}
    assert load_released(state).config.num_classes == 5


# Tensors that are no weights

MAKE_ODD = {
    "sparse": lambda weight: weight.to_sparse(),
    "compressed": lambda weight: weight.to_sparse_csr(),
    "nested": lambda weight: torch.nested.nested_tensor([weight[0], weight[1, :2]]),
    "complex": lambda weight: weight.to(torch.complex64),
    "quantised": lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
    "NaN": lambda weight: weight * float("nan"),
    "infinity": lambda weight: weight * float("inf"),
}


@pytest.mark.parametrize("kind", MAKE_ODD)
@pytest.mark.filterwarnings("ignore")  # PyTorch's, that some of these layouts are young and others leaving
def test_tensors_that_are_no_weights_are_named(kind):
    state = released_state(nano())
    state["head.weight"] = MAKE_ODD[kind](state["head.weight"])
    with pytest.raises(CheckpointError, match=r"no weights \(1\): head\.weight is "):
        load_released(state)


def test_a_file_of_tensors_without_values_is_refused(tmp_path):
    state = {name: value.to("meta") for name, value in released_state(nano()).items()}
    torch.save(state, tmp_path / "meta.pth")
    with pytest.raises(CheckpointError, match="without values"):
        load_released(tmp_path / "meta.pth")


def test_a_dictionary_inside_itself_is_refused():
    values: dict = {}
    values["model_state"] = {"model": values}
    with pytest.raises(CheckpointError, match="inside itself"):
        load_released(values)


def test_a_pipe_in_place_of_a_file_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"model\.pth: no regular file; give a released"):
        load_released(tmp_path / "model.pth")


class WritesAFile:
    """Unpickling this runs code: it creates the file `path`."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [torch.save, lambda values, path: path.write_bytes(pickle.dumps(values))])
def test_a_pickle_with_a_foreign_object_is_refused_and_its_code_not_run(tmp_path, write):
    path, trace = tmp_path / "model.pyth", tmp_path / "trace"
    write({"model_state": {"head.weight": torch.zeros(2, 2)}, "config": WritesAFile(trace)}, path)
    with pytest.raises(CheckpointError, match=re.escape(str(path)) + ".*is refused: .*only files of plain tensors"):
        load_released(path)
    assert not trace.exists()
    # The object does what it says, so its absence above means that the loader refused it.
    pickle.loads(pickle.dumps(WritesAFile(trace)))
    assert trace.exists()


@pytest.mark.parametrize(
    "values",
    [{}, {"model_state": {}}, {"model_state": 3}, {"epoch": 3}, {"a": torch.zeros(1), "b": "text"}],
)
def test_a_dictionary_without_a_state_dict_is_refused(values):
    with pytest.raises(CheckpointError, match="the state dict holds"):
        load_released(values)


@pytest.mark.parametrize("values", [[1, 2], 3, None, torch.zeros(3), "text"])
def test_a_file_without_a_state_dict_is_refused(tmp_path, values):
    path = tmp_path / "values.pth"
    torch.save(values, path)
    with pytest.raises(CheckpointError, match=re.escape(str(path)) + " holds no state dict"):
        load_released(path)


def test_names_that_are_not_text_are_refused():
    with pytest.raises(CheckpointError):
        load_released({1: torch.zeros(1)})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02",
        b"not a pickle",
        b"PK\x03\x04 broken",
    ],
)
def test_a_damaged_released_file_is_named(tmp_path, content):
    path = tmp_path / "broken.pyth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(str(path))):
        load_released(path)


def test_a_truncated_released_file_is_named(tmp_path):
    path = tmp_path / "short.pyth"
    torch.save(released_state(nano()), path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=re.escape(str(path))):
        load_released(path)


def test_a_missing_released_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere\.pyth: no such file"):
        load_released(tmp_path / "nowhere.pyth")


# ------------------------------------------------------------------------------------------------ our folders

INFO = CheckpointInfo(
    input=InputConfig(sampling="dense", stride=2, crop=(64, 64), resize=72, channel_order="bgr", num_crops=3),
    labels=["one", "two", "drei", "größer", "五"],
    training={"epochs": 3, "accuracy": 0.5},
)


@pytest.mark.parametrize("name", ["morphmlp_video_nano", "morphmlp_image_nano"])
def test_a_saved_model_comes_back_bit_for_bit(tmp_path, name):
    model = fill_model(create_model(name, num_classes=5)).eval()
    save(model, tmp_path / "checkpoint", INFO)
    again, info = load_with_info(tmp_path / "checkpoint")
    assert again.config == model.config
    assert info == INFO
    assert not again.training
    assert torch.equal(logits_of(again), logits_of(model))
    state = again.state_dict()
    assert all(torch.equal(state[key], tensor) for key, tensor in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in again.parameters())


def test_a_folder_holds_the_weights_and_one_readable_file(tmp_path):
    save(nano(), tmp_path / "checkpoint", INFO)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint"]
    assert sorted(path.name for path in (tmp_path / "checkpoint").iterdir()) == ["config.json", "model.safetensors"]
    values = json.loads((tmp_path / "checkpoint" / "config.json").read_text(encoding="utf-8"))
    assert values["labels"] == INFO.labels
    assert values["model"]["name"] == "morphmlp_video_nano"
    assert load_config(tmp_path / "checkpoint") == (nano().config, INFO)


def test_a_fitted_temperature_and_threshold_come_back(tmp_path):
    info = replace(INFO, temperature=1.75, threshold=0.4)
    save(nano(), tmp_path / "checkpoint", info)
    assert load_config(tmp_path / "checkpoint")[1] == info
    model = load(tmp_path / "checkpoint")
    save(model, tmp_path / "again")
    assert load_config(tmp_path / "again")[1] == info
    model.reset_head(3)
    save(model, tmp_path / "other")
    other = load_config(tmp_path / "other")[1]
    assert (other.labels, other.temperature, other.threshold) == ([], 1.0, None)


def test_thresholds_of_classes_come_back_with_a_multi_label_model(tmp_path):
    info = replace(INFO, thresholds=[0.1, 0.2, 0.3, 0.4, 0.5], thresholds_from="the 9 validation videos")
    model = create_model("morphmlp_video_nano", num_classes=5, task="multi_label")
    save(model, tmp_path / "checkpoint", info)
    again, found = load_with_info(tmp_path / "checkpoint")
    assert (again.config.task, found) == ("multi_label", info)
    again.reset_head(3)
    save(again, tmp_path / "other")
    assert load_config(tmp_path / "other")[1].thresholds is None
    with pytest.raises(CheckpointError, match="5 thresholds of classes, but the model is for classification"):
        save(nano(), tmp_path / "single", info)
    with pytest.raises(CheckpointError, match="3 thresholds of classes, but the model is for multi_label of 5 classes"):
        save(model, tmp_path / "fewer", replace(info, thresholds=[0.5] * 3))
    with pytest.raises(CheckpointError, match="temperature of a model for multi_label: only classifiers of one class"):
        save(model, tmp_path / "calibrated", replace(INFO, temperature=2.0))
    with pytest.raises(ConfigError, match="a threshold of a class is no number from 0 to 1"):
        replace(info, thresholds=[0.5, 1.5])


def test_a_checkpoint_that_was_never_calibrated_says_nothing_of_it(tmp_path):
    save(nano(), tmp_path / "checkpoint", INFO)
    values = json.loads((tmp_path / "checkpoint" / "config.json").read_text(encoding="utf-8"))
    assert list(values) == ["version", "model", "input", "labels", "training"]
    info = load_config(tmp_path / "checkpoint")[1]
    assert (info.temperature, info.threshold) == (1.0, None)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("temperature", 0, "temperature is 0; allowed: 0.001 to 1,000"),
        ("temperature", -1.5, "temperature is -1.5; allowed"),
        ("temperature", None, "temperature is None; allowed"),
        ("temperature", True, "temperature is True; allowed"),
        ("temperature", float("nan"), "temperature is nan; allowed"),
        ("temperature", float("inf"), "temperature is inf; allowed"),
        ("threshold", 1.01, "threshold is 1.01; allowed: 0 to 1, or None"),
        ("threshold", "0.5", "threshold is '0.5'; allowed"),
        ("threshold", float("nan"), "threshold is nan; allowed"),
    ],
)
def test_a_temperature_or_threshold_that_cannot_be_is_refused(tmp_path, field, value, message):
    save(nano(), tmp_path / "checkpoint", INFO)
    path = tmp_path / "checkpoint" / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(values | {field: value}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=re.escape(message)) as caught:
        load_config(tmp_path / "checkpoint")
    assert str(path) in str(caught.value)
    info = replace(INFO)
    setattr(info, field, value)
    with pytest.raises(UserError, match=re.escape(message)):
        save(nano(), tmp_path / "new", info)
    assert not (tmp_path / "new").exists()


def test_a_segmenter_has_no_temperature(tmp_path):
    model = create_segmenter("morphmlp_image_nano", num_classes=5)
    with pytest.raises(
        CheckpointError, match="temperature of a model for segmentation: only classifiers of one class have any"
    ):
        save(model, tmp_path / "segmenter", CheckpointInfo(temperature=2.0))


def test_missing_parent_folders_are_made_and_text_paths_taken(tmp_path):
    save(nano(), str(tmp_path / "a" / "b"))
    assert load(str(tmp_path / "a" / "b")).config.num_classes == 5


def test_saving_again_replaces_the_checkpoint(tmp_path):
    save(nano(), tmp_path / "checkpoint")
    save(nano(num_classes=3), tmp_path / "checkpoint")
    assert load(tmp_path / "checkpoint").config.num_classes == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint"]


def test_an_empty_folder_is_taken(tmp_path):
    save(nano(), tmp_path)
    assert load(tmp_path).config.num_classes == 5


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match=re.escape(str(tmp_path)) + " holds something else than a checkpoint"):
        save(nano(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_foreign_folder_with_a_config_of_its_own_is_left_alone(tmp_path):
    (tmp_path / "config.json").write_text('{"editor": "vi"}')
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointError):
        save(nano(), tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_users_files_in_a_checkpoint_folder_are_kept(tmp_path):
    save(nano(), tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "notes.txt").write_text("years of work")
    with contextlib.suppress(CheckpointError):  # to refuse is to keep them as well
        save(nano(), tmp_path / "checkpoint")
    assert (tmp_path / "checkpoint" / "notes.txt").read_text() == "years of work"


def test_saving_over_a_file_is_refused(tmp_path):
    (tmp_path / "checkpoint").write_text("years of work")
    with pytest.raises(CheckpointError):
        save(nano(), tmp_path / "checkpoint")
    assert (tmp_path / "checkpoint").read_text() == "years of work"


@pytest.mark.parametrize("count", [1, 4, 6])
def test_as_many_labels_as_classes_are_wanted(tmp_path, count):
    with pytest.raises(CheckpointError, match=f"{count} labels for a model of 5 classes"):
        save(nano(), tmp_path / "checkpoint", CheckpointInfo(labels=["label"] * count))
    assert not list(tmp_path.iterdir())


def test_a_failed_save_leaves_the_old_checkpoint_and_nothing_else(tmp_path, monkeypatch):
    old, folder = nano(), tmp_path / "checkpoint"
    save(old, folder, INFO)

    def fail_half_way(path, content):
        with open(path, "wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail_half_way)
    with pytest.raises(OSError, match="No space left"):
        save(nano(num_classes=3), folder)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    assert torch.equal(logits_of(load(folder)), logits_of(old))


def test_a_save_that_fails_between_its_two_renames_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    folder = tmp_path / "checkpoint"
    save(nano(), folder)
    rename = os.replace

    def fail_at_the_new_folder(source, target):
        if Path(target) == folder and Path(source).name == "new":
            raise OSError("Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "replace", fail_at_the_new_folder)
    with pytest.raises(OSError, match="Input/output"):
        save(nano(num_classes=3), folder)
    assert load(folder).config.num_classes == 5


def test_a_failed_first_save_leaves_nothing(tmp_path, monkeypatch):
    def fail(path, content):
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="No space left"):
        save(nano(), tmp_path / "checkpoint")
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------ conversion


def test_a_converted_file_predicts_what_the_released_one_does(tmp_path):
    model, file = nano(), tmp_path / "released.pyth"
    torch.save({"model_state": released_state(model)}, file)
    (tmp_path / "labels.txt").write_text("one\ntwo\ndrei\ngrößer\n五\n", encoding="utf-8")
    convert_released(file, tmp_path / "checkpoint", labels=str(tmp_path / "labels.txt"), protocol="ssv2")
    again, info = load_with_info(tmp_path / "checkpoint")
    assert torch.equal(logits_of(again), logits_of(model))
    assert info.labels == INFO.labels
    assert info.input == PUBLISHED_INPUTS["ssv2"]
    assert info.training == {"released": "released.pyth", "protocol": "ssv2"}


@pytest.mark.parametrize(("labels", "count"), [("k400", 400), ("ssv1", 174), ("ssv2", 174)])
def test_the_labels_of_a_data_set_bring_its_protocol(tmp_path, labels, count):
    torch.save(released_state(nano(num_classes=count)), tmp_path / "released.pyth")
    _, info = convert_released(tmp_path / "released.pyth", tmp_path / "checkpoint", labels=labels)
    assert len(info.labels) == len(set(info.labels)) == count
    assert all(label == label.strip() and label for label in info.labels)
    assert info.input == PUBLISHED_INPUTS[labels]


@pytest.mark.parametrize(("name", "protocol"), [("morphmlp_video_nano", "k400"), ("morphmlp_image_nano", "imagenet")])
def test_without_labels_the_protocol_follows_the_kind_of_model(tmp_path, name, protocol):
    torch.save(released_state(create_model(name, num_classes=5)), tmp_path / "released.pyth")
    _, info = convert_released(tmp_path / "released.pyth", tmp_path / "checkpoint")
    assert (info.input, info.labels) == (PUBLISHED_INPUTS[protocol], [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "k400"}, "400 labels for a model of 5 classes"),
        ({"labels": "k700"}, "labels 'k700': neither k400, ssv1, ssv2 nor a file"),
        ({"protocol": "ssv3"}, "protocol 'ssv3' is unknown; allowed: k400, ssv1, ssv2, imagenet"),
        ({"frames": 20}, "are not those of 20 frames"),
    ],
)
def test_a_conversion_that_cannot_be_leaves_no_folder(tmp_path, options, message):
    torch.save(released_state(nano()), tmp_path / "released.pyth")
    with pytest.raises(UserError, match=message):
        convert_released(tmp_path / "released.pyth", tmp_path / "checkpoint", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["released.pyth"]


# --------------------------------------------------------------------------------------- our folders, damaged


@pytest.fixture
def folder(tmp_path) -> Path:
    save(nano(), tmp_path / "checkpoint", INFO)
    return tmp_path / "checkpoint"


@pytest.mark.parametrize("size", [0, 4, 1000, -1])
def test_truncated_weights_are_named(folder, size):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match=re.escape(str(path)) + ".*damaged"):
        load(folder)


def test_missing_weights_are_named(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=re.escape(str(folder / "model.safetensors")) + " is missing"):
        load(folder)


def test_a_folder_without_a_config_is_no_checkpoint(folder):
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=re.escape(str(folder)) + " is no checkpoint folder"):
        load(folder)
    with pytest.raises(CheckpointError, match=r"nowhere is no checkpoint folder"):
        load(folder / "nowhere")


@pytest.mark.parametrize("config", [None, "{}"])
def test_a_folder_that_is_no_run_but_holds_checkpoints_is_told_them(tmp_path, config):
    run = tmp_path / "run"
    save(nano(), run / "best", INFO)
    if config is not None:
        (run / "config.json").write_text(config)
    with pytest.raises(
        CheckpointError,
        match=rf"^{re.escape(str(run))} is no checkpoint, but holds best: give {re.escape(str(run))}/best$",
    ):
        load(run)
    save(nano(), run / "last", INFO)
    with pytest.raises(CheckpointError, match=r"holds best and last: give .*run/best or .*run/last$"):
        load_config(run)


def test_a_released_file_given_as_a_folder_points_to_convert(tmp_path):
    path = tmp_path / "K400_S16.pyth"
    torch.save(released_state(nano()), path)
    with pytest.raises(CheckpointError, match="morphmlp convert"):
        load(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"3", b"null", b"{}", b"\xff\xfe\x00"])
def test_a_broken_config_is_named(folder, content):
    path = folder / "config.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(str(path)) + " cannot be read"):
        load(folder)


def test_a_config_that_is_no_text_is_named_without_its_content(folder):
    path = folder / "config.json"
    path.write_bytes(path.read_bytes() + b"\xff")
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    assert str(caught.value) == f"{path} cannot be read (it is no text in UTF-8): the file is damaged"


@pytest.mark.parametrize("key", ["model", "input", "labels", "training", "version"])
def test_a_config_without_a_part_is_named(folder, key):
    path = folder / "config.json"
    values = json.loads(path.read_text())
    del values[key]
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=re.escape(str(path)) + f" cannot be read .*{key}"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"depths": [1, 1]}}, "model lacks widths, chunk_lengths"),
        ({"model": {"depth": 3}}, "no field 'depth'; did you mean depths"),
        ({"input": {"sampling": "dence"}}, "input.sampling is 'dence'; allowed: 'dense', 'sparse'"),
        ({"input": {"croop": 3}}, "no field 'croop'; did you mean crop"),
        ({"model": None}, "names with values"),
        ({"input": 3}, "names with values"),
    ],
)
def test_a_wrong_value_in_a_config_is_named_with_its_file(folder, changes, message):
    change_json(folder / "config.json", **changes)
    with pytest.raises(CheckpointError, match=re.escape(str(folder / "config.json")) + ".*" + message):
        load(folder)


@pytest.mark.parametrize("labels", [["one", "two"], None, "abcde", [1, 2, 3, 4, 5], {"one": 1}])
def test_wrong_labels_in_a_config_are_named(folder, labels):
    change_json(folder / "config.json", labels=labels)
    with pytest.raises(CheckpointError, match="labels"):
        load_with_info(folder)


def test_weights_that_do_not_fit_the_config_list_both_sides(folder):
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights["head.extra"] = weights.pop("head.bias")
    weights["norm.weight"] = draw_tensor("norm.weight", (7,))
    save_file(weights, path)
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    for part in (str(path), "missing (1): head.bias", "not in the model (1): head.extra", "norm.weight [7] instead of"):
        assert part in str(caught.value)


def test_a_checkpoint_that_is_loaded_and_saved_keeps_its_labels_and_input(tmp_path):
    save(nano(), tmp_path / "first", INFO)
    save(load(tmp_path / "first"), tmp_path / "second")
    first, second = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("first", "second"))
    assert second == first


def test_a_fresh_model_is_saved_with_the_input_that_it_was_designed_for(tmp_path):
    save(nano(), tmp_path / "checkpoint")
    assert load_config(tmp_path / "checkpoint")[1].input.crop == (64, 64)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": {"model_state": state}},
        lambda state: {"epoch": 3, "cfg": "a text", "model_state": state, "optimizer_state": {"state": {}}},
        lambda state: {f"module.module.{name}": value for name, value in state.items()},
        lambda state: {f"model.{name}": value for name, value in state.items()},
        lambda state: {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")},
    ],
)
def test_nested_wrappings_and_prefixes_are_taken_off(wrap):
    model = nano()
    assert torch.equal(logits_of(load_released(wrap(released_state(model)))), logits_of(model))


@pytest.mark.parametrize(("classes", "protocol"), [(400, "k400"), (174, "ssv2"), (10, "k400")])
def test_the_number_of_classes_tells_the_protocol_of_a_released_file(tmp_path, classes, protocol):
    torch.save(released_state(nano(num_classes=classes)), tmp_path / "released.pyth")
    _, info = convert_released(tmp_path / "released.pyth", tmp_path / "checkpoint")
    assert info.input == PUBLISHED_INPUTS[protocol]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path, name: str):
    save(nano(), tmp_path / "c")
    (tmp_path / "c" / name).unlink()
    os.mkfifo(tmp_path / "c" / name)
    with pytest.raises(CheckpointError, match=f"{name} cannot be read: is no regular file"):
        load(tmp_path / "c")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_that_may_not_be_read_is_not_called_missing(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    save(nano(), tmp_path / "c")
    opened = io.open

    def deny(path: Any, *arguments: Any, **options: Any) -> Any:
        if Path(path).name == name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr("builtins.open", deny)  # root may read everything
    with pytest.raises(CheckpointError, match=f"{name} cannot be read: Permission denied"):
        load(tmp_path / "c")
