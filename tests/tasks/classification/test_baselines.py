"""The baselines: the commonest class, and ridge regression with settings chosen on groups that it was not shown."""

import numpy as np
import pytest

from morphmlp.tasks.classification.baselines import commonest_class, fit_pixels, kernel, left_out


def test_of_equally_common_classes_the_first_is_taken():
    assert commonest_class([2, 1, 1, 2, 0], num_classes=4) == 1


def blobs(num: int, *, seed: int, centres: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Points around centres, of which centre i is of class i modulo 2, among features that say nothing."""
    generator = np.random.default_rng(seed)
    places = np.arange(num) % len(centres)
    features = generator.normal(size=(num, 6)) * 0.3
    features[:, :2] += np.array(centres)[places]
    return features.astype(np.float32), places % 2


def test_what_was_left_out_is_answered_as_if_the_rest_had_been_fitted_alone():
    features, labels = blobs(12, seed=0, centres=[(1, 0), (-1, 0)])
    targets = np.eye(2)[labels] - 0.5
    members = [np.array([0, 5]), np.array([1, 2, 3, 4]), np.arange(6, 12)]
    products = kernel(features, features, width=0.25)
    inverse = np.linalg.inv(products + 0.3 * np.eye(12))
    found = left_out(inverse, inverse @ targets, targets, members)
    for group in members:
        rest = np.setdiff1d(np.arange(12), group)
        weights = np.linalg.solve(products[np.ix_(rest, rest)] + 0.3 * np.eye(len(rest)), targets[rest])
        np.testing.assert_allclose(found[group], products[np.ix_(group, rest)] @ weights, atol=1e-9)


def test_classes_on_two_sides_are_told_apart_by_products():
    features, labels = blobs(60, seed=1, centres=[(1, 0), (-1, 0)])
    fitted = fit_pixels(features, labels, [str(i) for i in range(60)], num_classes=2)
    others, expected = blobs(40, seed=2, centres=[(1, 0), (-1, 0)])
    assert fitted.kernel == "linear"
    assert np.mean(fitted.predict(others) == expected) >= 0.95


def test_classes_in_crossed_corners_need_the_gaussian_kernel():
    corners = [(1.0, 1.0), (1.0, -1.0), (-1.0, -1.0), (-1.0, 1.0)]
    features, labels = blobs(80, seed=1, centres=corners)
    fitted = fit_pixels(features, labels, [str(i) for i in range(80)], num_classes=2)
    others, expected = blobs(40, seed=2, centres=corners)
    assert fitted.kernel == "Gaussian"
    assert np.mean(fitted.predict(others) == expected) >= 0.9


def test_copies_within_a_group_do_not_decide():
    """Labels are noise, but each sample is there twice: alone, a sample would be answered by its copy."""
    generator = np.random.default_rng(0)
    features = np.repeat(generator.normal(size=(60, 30)), 2, axis=0).astype(np.float32)
    labels = np.repeat(generator.integers(0, 2, 60), 2)
    alone = fit_pixels(features, labels, [str(i) for i in range(120)], num_classes=2)
    together = fit_pixels(features, labels, [str(i // 2) for i in range(120)], num_classes=2)
    assert alone.accuracy_left_out > 0.8
    assert together.accuracy_left_out < alone.accuracy_left_out - 0.2


def test_features_without_contrast_are_no_error():
    fitted = fit_pixels(np.zeros((4, 5), np.float32), np.array([0, 1, 1, 1]), list("abcd"), num_classes=3)
    assert fitted.predict(np.zeros((2, 5), np.float32)).tolist() == [1, 1]


def test_gaussian_kernel_is_one_of_equal_vectors_and_less_of_others():
    one = np.array([[0.0, 2.0], [2.0, 0.0]], np.float32)
    assert kernel(one, one, width=0.25) == pytest.approx(np.array([[1, np.exp(-1)], [np.exp(-1), 1]]))
    assert kernel(one, one, width=None).tolist() == [[2, 0], [0, 2]]
