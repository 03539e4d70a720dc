"""Which parameters decay, how fast each block learns, and the learning rate of each step."""

import math
from itertools import pairwise

import pytest
import tiny
from torch import nn

from morphmlp.config import TrainConfig
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.zoo import create_segmenter
from morphmlp.training.optim import lr_at, make_optimizer, set_lr


def groups(model: MorphMLP, **settings: float) -> dict[str, tuple[float, float]]:
    """Learning rate scale and weight decay of each parameter, by its name."""
    optimizer = make_optimizer(model, TrainConfig(**settings))  # type: ignore[arg-type]
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {
        names[id(parameter)]: (group["lr_scale"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert set(found) == set(names.values())
    return found


def test_matrices_and_kernels_decay_and_vectors_do_not():
    found = groups(MorphMLP(tiny.model_config(5)), weight_decay=0.3)
    assert {scale for scale, _ in found.values()} == {1.0}
    assert found["head.weight"] == (1.0, 0.3)
    assert found["stem.conv1.weight"] == (1.0, 0.3)
    assert found["head.bias"] == found["norm.weight"] == found["stem.norm1.weight"] == (1.0, 0.0)


def test_each_block_learns_slower_than_the_one_behind_it():
    found = groups(MorphMLP(tiny.model_config(5, depths=(1, 2, 1, 1))), layer_decay=0.5, weight_decay=0.3)
    assert found["head.weight"] == (1.0, 0.3)
    assert found["norm.bias"] == (1.0, 0.0)
    assert found["stages.3.0.mlp.fc1.weight"] == (0.5, 0.3)
    assert found["stages.2.0.mlp.fc1.weight"] == (0.25, 0.3)
    assert found["stages.1.1.mlp.fc1.weight"] == (0.125, 0.3)
    assert found["stages.1.0.mlp.fc1.bias"] == (0.0625, 0.0)
    assert found["downsamples.0.conv.weight"] == (0.03125, 0.3)  # as the last block before it
    assert found["stages.0.0.mlp.fc1.weight"] == (0.03125, 0.3)
    assert found["stem.conv1.weight"] == (0.015625, 0.3)


def test_a_segmenters_decoder_learns_fastest():
    segmenter = create_segmenter("morphmlp_image_nano", num_classes=3)
    found = groups(segmenter, layer_decay=0.5)  # type: ignore[arg-type]
    assert {scale for name, (scale, _) in found.items() if name.startswith("head.")} == {1.0}


def test_set_lr_scales_each_group():
    optimizer = make_optimizer(MorphMLP(tiny.model_config(5)), TrainConfig(layer_decay=0.5))
    set_lr(optimizer, 0.2)
    assert {group["lr"] / group["lr_scale"] for group in optimizer.param_groups} == {0.2}


def test_learning_rate_warms_up_from_its_own_start_and_falls_to_its_end():
    config = TrainConfig(epochs=10, lr=1e-3, min_lr=1e-5, warmup_lr=1e-6, warmup_epochs=2)
    rates = [lr_at(step, config, steps_per_epoch=10) for step in range(101)]
    assert rates[0] == 1e-6
    assert rates[10] == pytest.approx((1e-6 + 1e-3) / 2)
    assert rates[20] == 1e-3
    assert rates[60] == pytest.approx((1e-5 + 1e-3) / 2)
    assert rates[100] == pytest.approx(1e-5)
    assert all(later < earlier for earlier, later in pairwise(rates[20:]))


def test_without_its_own_start_the_warm_up_starts_at_the_end():
    config = TrainConfig(epochs=10, lr=1e-3, min_lr=1e-5, warmup_epochs=2)
    assert lr_at(0, config, steps_per_epoch=10) == 1e-5
    assert math.isclose(lr_at(100, config, steps_per_epoch=10), 1e-5)


@pytest.mark.parametrize(("precision", "fused"), [("fp32", True), ("bf16", True), ("fp16", None)])
def test_the_weights_are_updated_in_one_pass_but_not_in_fp16(precision: str, fused: bool | None):
    # With a fused step the scaler always calls it, and the engine could not tell the ones that overflowed.
    config = TrainConfig(precision=precision)  # type: ignore[arg-type]
    assert make_optimizer(nn.Linear(2, 2), config).defaults["fused"] is fused


def test_the_cosine_may_start_with_the_run_as_deit_s_does():
    config = TrainConfig(epochs=300, lr=1e-3, min_lr=1e-5, warmup_lr=1e-6, warmup_epochs=20, cosine_from="start")
    after_warmup, middle, end = (lr_at(epoch, config, steps_per_epoch=1) for epoch in (20, 150, 300))
    assert after_warmup == pytest.approx(1e-5 + (1e-3 - 1e-5) * 0.5 * (1 + math.cos(math.pi / 15)))
    assert middle == pytest.approx((1e-5 + 1e-3) / 2)
    assert end == pytest.approx(1e-5)
