"""The losses against their formulas, written out; and neutral settings against the plain loss, to the last bit."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from morphmlp.config import TrainConfig
from morphmlp.errors import ConfigError
from morphmlp.tasks.classification.losses import (
    binary_cross_entropy,
    class_weights,
    positive_weights,
    soft_cross_entropy,
)

LOGITS = torch.tensor([[0.0, math.log(3)], [math.log(2), 0.0]])  # probabilities 1/4, 3/4 and 2/3, 1/3
LOG_P = [[math.log(1 / 4), math.log(3 / 4)], [math.log(2 / 3), math.log(1 / 3)]]
SOFT = torch.tensor([[0.2, 0.8], [1.0, 0.0]])


def random_batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(7, 5, generator=generator)
    return logits, torch.rand(7, 5, generator=generator)


def test_neutral_settings_give_the_bits_of_the_plain_loss():
    logits, soft = random_batch()
    labels = soft / soft.sum(dim=1, keepdim=True)
    plain = F.cross_entropy(logits, labels, label_smoothing=0.1)
    assert torch.equal(soft_cross_entropy(logits, labels, label_smoothing=0.1), plain)
    assert torch.equal(soft_cross_entropy(logits, labels, label_smoothing=0.1, class_weights=None, focal=0), plain)
    both = F.binary_cross_entropy_with_logits(logits, soft)
    assert torch.equal(binary_cross_entropy(logits, soft, label_smoothing=0), both)
    assert TrainConfig().class_weights == "none"
    assert TrainConfig().focal == 0


@pytest.mark.parametrize("focal", [0.0, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weights_and_focal_term_of_one_class_are_those_of_the_formula(focal: float, smoothing: float):
    weights, expected = [0.5, 3.0], 0.0
    for labels, row in zip(SOFT.tolist(), LOG_P, strict=True):
        for label, log_p, weight in zip(labels, row, weights, strict=True):
            target = label * (1 - smoothing) + smoothing / 2
            expected -= weight * target * (1 - math.exp(log_p)) ** focal * log_p / 2
    loss = soft_cross_entropy(LOGITS, SOFT, label_smoothing=smoothing, class_weights=torch.tensor(weights), focal=focal)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("focal", [0.0, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weights_and_focal_term_of_several_classes_are_those_of_the_formula(focal: float, smoothing: float):
    logits, soft = random_batch()
    weights, expected = [0.5, 3.0, 1.0, 2.0, 7.0], 0.0
    for labels, row in zip(soft.tolist(), logits.tolist(), strict=True):
        for label, logit, weight in zip(labels, row, weights, strict=True):
            p, target = 1 / (1 + math.exp(-logit)), label * (1 - smoothing) + smoothing / 2
            present = weight * target * (1 - p) ** focal * math.log(p)
            expected -= (present + (1 - target) * p**focal * math.log(1 - p)) / soft.numel()
    loss = binary_cross_entropy(
        logits, soft, label_smoothing=smoothing, class_weights=torch.tensor(weights), focal=focal
    )
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_a_small_gamma_is_close_to_none():
    logits, soft = random_batch()
    for loss in (soft_cross_entropy, binary_cross_entropy):
        plain, nearly = (loss(logits, soft, label_smoothing=0.1, focal=focal).item() for focal in (0.0, 1e-7))
        assert nearly == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("loss", [soft_cross_entropy, binary_cross_entropy])
def test_a_hopeless_logit_has_a_finite_loss_and_gradient(loss):
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    value = loss(logits, torch.tensor([[0.0, 1.0]]), label_smoothing=0.0, focal=2.0)
    value.backward()
    assert value.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_class_weights_are_inverse_to_the_samples_and_one_on_average():
    labels = [0, 0, 0, 1, 3, 3]
    balanced = class_weights("balanced", labels, 4)
    assert balanced is not None
    assert balanced.tolist() == pytest.approx([6 / 9, 2.0, 1.0, 1.0])  # class 2 has no samples
    effective = class_weights("effective", labels, 4)
    assert effective is not None
    shares = [(1 - 0.99) / (1 - 0.99**count) for count in (3, 1, 2)]
    scale = 6 / (3 * shares[0] + shares[1] + 2 * shares[2])
    assert effective.tolist() == pytest.approx([scale * shares[0], scale * shares[1], 1.0, scale * shares[2]])
    for weights in (balanced, effective):
        assert weights[labels].mean().item() == pytest.approx(1)
    assert class_weights("none", labels, 4) is None


def test_positive_weights_are_absent_over_present():
    balanced = positive_weights("balanced", [1, 2, 0, 4], num_samples=4)
    assert balanced is not None
    assert balanced.tolist() == [3.0, 1.0, 1.0, 1.0]  # in no sample, or in all, there is nothing to balance
    effective = positive_weights("effective", [1], num_samples=1000)
    assert effective is not None
    assert effective.item() == pytest.approx((1 - 0.99**999) / (1 - 0.99))
    assert positive_weights("none", [1], num_samples=2) is None


@pytest.mark.parametrize(("field", "value"), [("focal", -1.0), ("focal", 11.0), ("class_weights", "some")])
def test_other_values_are_refused(field: str, value: object):
    with pytest.raises(ConfigError, match=rf"train\.{field} is .*; allowed: "):
        TrainConfig.from_dict({field: value})
