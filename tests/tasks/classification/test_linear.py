"""The linear classifier is the minimum of its own loss, and tells apart what a plane can."""

import numpy as np
import pytest

from morphmlp.tasks.classification.linear import fit_linear


def blobs(num: int, *, classes: int = 3, width: int = 5) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = np.arange(num) % classes
    return generator.normal(0, 3, (classes, width))[labels] + generator.normal(size=(num, width)), labels


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("width", [5, 200])  # fewer features than samples, and more
def test_the_gradient_of_its_loss_is_zero(width: int):
    features, labels = blobs(60, width=width)
    fitted = fit_linear(features, labels, num_classes=3, l2=0.7)
    standardised = (features - features.mean(0)) / features.std(0)
    surplus = softmax(fitted.logits(features)) - np.eye(3)[labels]
    assert np.abs(standardised.T @ surplus + 0.7 * fitted.weights).max() < 1e-4
    assert np.abs(surplus.sum(axis=0)).max() < 1e-4  # the bias is not held back


def test_blobs_are_told_apart():
    features, labels = blobs(90)
    logits = fit_linear(features[::2], labels[::2], num_classes=3).logits(features[1::2])
    assert (logits.argmax(axis=1) == labels[1::2]).mean() > 0.95


def test_a_constant_feature_and_an_absent_class_do_no_harm():
    features, labels = blobs(30)
    features[:, 0] = 7.0
    fitted = fit_linear(features, labels, num_classes=5)
    assert np.isfinite(fitted.weights).all()
    assert np.abs(fitted.weights[0]).max() < 1e-12
    assert set(fitted.logits(features).argmax(axis=1)) <= {0, 1, 2}


def test_more_l2_means_smaller_weights():
    features, labels = blobs(30)
    loose, tight = (np.abs(fit_linear(features, labels, num_classes=3, l2=l2).weights).sum() for l2 in (0.01, 100.0))
    assert tight < loose / 10
