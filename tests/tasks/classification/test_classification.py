"""Metrics against torchmetrics, views and mixing by hand, the learning rate and the parameter groups."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch import Tensor, nn
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_confusion_matrix,
    multiclass_precision,
    multiclass_recall,
)

from morphmlp.config import AugmentConfig, TrainConfig
from morphmlp.tasks.classification.evaluation import Evaluation, SamplePrediction
from morphmlp.tasks.classification.losses import soft_cross_entropy
from morphmlp.tasks.classification.prediction import join_views
from morphmlp.tasks.classification.report import summary
from morphmlp.tasks.classification.training import ClipMixer
from morphmlp.training.optim import lr_at, make_optimizer
from morphmlp.training.seeding import seed_step

over_cases = settings(max_examples=40, deadline=None, derandomize=True)


@st.composite
def evaluations(draw: DrawFn) -> tuple[Evaluation, Tensor, Tensor]:
    """An evaluation without ties, and its probabilities `[videos, classes]` and labels `[videos]`."""
    num_classes, num_videos = draw(st.integers(2, 7)), draw(st.integers(1, 30))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    probabilities = generator.dirichlet(np.ones(num_classes), size=num_videos).astype(np.float32)
    labels = generator.integers(num_classes, size=num_videos)
    predictions = [
        SamplePrediction(Path(f"{i}.mp4"), int(label), row)
        for i, (label, row) in enumerate(zip(labels, probabilities, strict=True))
    ]
    names = [f"class {i}" for i in range(num_classes)]
    return Evaluation(names, predictions), torch.from_numpy(probabilities), torch.from_numpy(labels)


def evaluation_of(rows: list[tuple[int, list[float]]]) -> Evaluation:
    predictions = [SamplePrediction(Path("v.mp4"), label, np.array(row)) for label, row in rows]
    return Evaluation([chr(ord("a") + i) for i in range(len(rows[0][1]))], predictions)


@over_cases
@given(evaluations())
def test_top_k_accuracy_is_that_of_torchmetrics(case: tuple[Evaluation, Tensor, Tensor]):
    evaluation, probabilities, labels = case
    num_classes = len(evaluation.labels)
    for k in range(1, num_classes + 1):
        expected = multiclass_accuracy(probabilities, labels, num_classes, top_k=k, average="micro")
        assert evaluation.accuracy(k) == pytest.approx(expected.item(), abs=1e-6)


def test_accuracy_of_single_views_is_over_all_views():
    ranks = [np.array([0, 3, 0]), np.array([1, 1, 7])]
    predictions = [SamplePrediction(Path("v.mp4"), 0, np.array([1.0, 0.0]), view_ranks) for view_ranks in ranks]
    evaluation = Evaluation(["a", "b"], predictions)
    assert [evaluation.view_accuracy(k) for k in (1, 2, 5)] == [2 / 6, 4 / 6, 5 / 6]
    assert evaluation.num_views == 3


def test_views_that_are_not_known_have_no_accuracy():
    evaluation = Evaluation(["a", "b"], [SamplePrediction(Path("v.mp4"), 0, np.array([1.0, 0.0]))])
    assert np.isnan(evaluation.view_accuracy())
    assert evaluation.num_views is None


@over_cases
@given(evaluations())
def test_the_confusion_matrix_is_that_of_torchmetrics(case: tuple[Evaluation, Tensor, Tensor]):
    evaluation, probabilities, labels = case
    expected = multiclass_confusion_matrix(probabilities, labels, len(evaluation.labels))
    assert np.array_equal(evaluation.confusion(), expected.numpy())


@over_cases
@given(evaluations())
def test_recall_and_precision_of_each_class_are_those_of_torchmetrics(case: tuple[Evaluation, Tensor, Tensor]):
    evaluation, probabilities, labels = case
    num_classes = len(evaluation.labels)
    recall = multiclass_recall(probabilities, labels, num_classes, average="none").tolist()
    precision = multiclass_precision(probabilities, labels, num_classes, average="none").tolist()
    rows = evaluation.per_class()
    # torchmetrics says 0 where there is nothing to divide.
    assert [row["recall"] or 0.0 for row in rows] == pytest.approx(recall, abs=1e-6)
    assert [row["precision"] or 0.0 for row in rows] == pytest.approx(precision, abs=1e-6)
    assert [row["class"] for row in rows] == evaluation.labels
    assert [row["samples"] for row in rows] == torch.bincount(labels, minlength=num_classes).tolist()


@over_cases
@given(evaluations())
def test_the_loss_is_the_mean_negative_log_likelihood(case: tuple[Evaluation, Tensor, Tensor]):
    evaluation, probabilities, labels = case
    expected = nn.functional.nll_loss(probabilities.double().clamp(min=1e-12).log(), labels)
    assert evaluation.loss() == pytest.approx(expected.item(), rel=1e-5)


def test_a_class_without_videos_or_predictions_has_no_recall_or_precision():
    rows = evaluation_of([(0, [0.7, 0.2, 0.1]), (0, [0.1, 0.8, 0.1])]).per_class()
    assert [(row["class"], row["samples"], row["recall"], row["precision"]) for row in rows] == [
        ("a", 2, 0.5, 1.0),
        ("b", 0, None, 0.0),
        ("c", 0, None, None),
    ]


def test_the_confusion_matrix_has_the_label_first():
    assert evaluation_of([(0, [0.2, 0.8])]).confusion().tolist() == [[0, 1], [0, 0]]


def test_without_videos_accuracy_and_loss_are_nan_and_the_confusion_is_zero():
    empty = Evaluation(["a", "b"], [], broken=[(Path("v.mp4"), "is empty")])
    assert math.isnan(empty.accuracy())
    assert math.isnan(empty.loss())
    assert empty.confusion().tolist() == [[0, 0], [0, 0]]


def test_more_classes_asked_for_than_there_are_gives_all():
    evaluation = evaluation_of([(2, [0.5, 0.3, 0.2])])
    assert evaluation.predictions[0].top(5) == [0, 1, 2]
    assert evaluation.accuracy(5) == 1.0


def test_of_equal_probabilities_the_first_class_is_taken():
    prediction = SamplePrediction(Path("v.mp4"), 0, np.array([0.2, 0.4, 0.4]))
    assert prediction.predicted == 1
    assert prediction.top(3) == [1, 2, 0]


def test_a_probability_of_zero_has_a_finite_loss():
    assert evaluation_of([(1, [1.0, 0.0])]).loss() == pytest.approx(-math.log(1e-12))


def test_logits_are_joined_by_the_softmax_of_their_mean():
    # Two videos of two views; the means are [1, 3] and [0, 0].
    logits = np.array([[0.0, 4.0], [2.0, 2.0], [-1.0, 5.0], [1.0, -5.0]])
    joined = join_views(logits, num_videos=2, aggregation="logits")
    e = math.exp
    expected = [[e(1) / (e(1) + e(3)), e(3) / (e(1) + e(3))], [0.5, 0.5]]
    assert joined == pytest.approx(np.array(expected), abs=1e-6)


def test_probabilities_are_joined_by_their_mean():
    # softmax([0, ln 3]) = [1/4, 3/4] and softmax([0, ln 1]) = [1/2, 1/2]; their mean is [3/8, 5/8].
    logits = np.array([[0.0, math.log(3)], [0.0, 0.0]])
    joined = join_views(logits, num_videos=1, aggregation="probabilities")
    assert joined == pytest.approx(np.array([[0.375, 0.625]]), abs=1e-6)


def test_logits_are_divided_by_the_temperature_before_any_softmax():
    # At temperature 2, [0, 2 ln 3] is [0, ln 3], whose softmax is [1/4, 3/4]; [0, 0] stays [1/2, 1/2].
    logits = np.array([[0.0, 2 * math.log(3)], [0.0, 0.0]])
    joined = join_views(logits, num_videos=1, aggregation="probabilities", temperature=2.0)
    assert joined == pytest.approx(np.array([[0.375, 0.625]]), abs=1e-6)
    root = math.sqrt(3)  # of the mean logits [0, ln 3] at temperature 2
    joined = join_views(logits, num_videos=1, aggregation="logits", temperature=2.0)
    assert joined == pytest.approx(np.array([[1, root]]) / (1 + root), abs=1e-6)


@pytest.mark.parametrize("aggregation", ["logits", "probabilities"])
def test_a_temperature_of_one_changes_no_bit(aggregation: str):
    logits = torch.randn(12, 7, generator=torch.Generator().manual_seed(0))
    views = logits.unflatten(0, (4, 3))
    plain = views.mean(1).softmax(-1) if aggregation == "logits" else views.softmax(-1).mean(1)
    joined = join_views(logits.numpy(), num_videos=4, aggregation=aggregation, temperature=1.0)
    assert np.array_equal(joined, join_views(logits.numpy(), num_videos=4, aggregation=aggregation))
    np.testing.assert_allclose(joined, plain, rtol=1e-6)


def test_what_is_below_the_threshold_is_refused_and_the_rest_has_a_precision():
    rows = [(1, [0.1, 0.9]), (0, [0.2, 0.8]), (0, [0.6, 0.4]), (1, [0.45, 0.55])]
    evaluation = replace(evaluation_of(rows), threshold=0.8)
    assert (evaluation.share_refused(), evaluation.precision_of_rest()) == (0.5, 0.5)
    assert evaluation.accuracy() == evaluation_of(rows).accuracy() == 0.75  # the figures for all know no threshold
    assert replace(evaluation, threshold=0.95).share_refused() == 1
    assert math.isnan(replace(evaluation, threshold=0.95).precision_of_rest())
    assert summary(evaluation).items() >= {"threshold": 0.8, "share_refused": 0.5, "precision_of_rest": 0.5}.items()
    assert summary(evaluation_of(rows)).keys() == summary(evaluation).keys() - {
        "threshold",
        "share_refused",
        "precision_of_rest",
    }


@over_cases
@given(st.integers(1, 3), st.integers(1, 5), st.integers(2, 6), st.integers(0, 2**32))
def test_joined_logits_rank_the_classes_as_their_sum_does(videos: int, views: int, classes: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(-40, 40, (videos * views, classes), generator=generator) / 8
    joined = torch.from_numpy(join_views(logits.numpy(), num_videos=videos, aggregation="logits"))
    total = logits.reshape(videos, views, classes).sum(1)
    assert torch.equal(joined.argsort(descending=True, stable=True), total.argsort(descending=True, stable=True))
    assert torch.allclose(joined.sum(1), torch.ones(videos))


@pytest.mark.parametrize("aggregation", ["logits", "probabilities"])
def test_one_view_is_its_softmax_in_float32_whatever_the_precision(aggregation: str):
    logits = np.array([[1.0, 2.0, -1.0]], dtype=np.float16)
    joined = join_views(logits, num_videos=1, aggregation=aggregation)
    assert joined.dtype == np.float32
    np.testing.assert_allclose(joined, torch.from_numpy(logits).float().softmax(1), rtol=1e-6)


def batch(size: int = 4, *, frames: int = 3, height: int = 6, width: int = 10) -> tuple[Tensor, Tensor]:
    clips = torch.rand(size, 3, frames, height, width, generator=torch.Generator().manual_seed(7))
    return clips, torch.arange(size) % 4


@pytest.mark.parametrize("seed", range(5))
def test_mixup_blends_each_clip_and_label_with_its_neighbour_by_the_same_share(seed: int):
    clips, labels = batch()
    seed_step(seed, 0)
    mixed, soft_labels = ClipMixer(AugmentConfig(mixup=0.8, cutmix=0), num_classes=4)(clips, labels)
    share = soft_labels[0, 0]
    one_hot = torch.eye(4)[labels]
    assert torch.allclose(soft_labels, share * one_hot + (1 - share) * one_hot.roll(1, 0))
    assert torch.allclose(mixed, share * clips + (1 - share) * clips.roll(1, 0), atol=1e-6)
    assert 0 < share < 1


@pytest.mark.parametrize("seed", range(8))
def test_cutmix_replaces_one_box_of_all_frames_and_weighs_the_label_by_its_area(seed: int):
    clips, labels = batch()
    seed_step(seed, 1)
    mixed, soft_labels = ClipMixer(AugmentConfig(mixup=0, cutmix=1.0), num_classes=4)(clips, labels)
    replaced = mixed != clips
    assert torch.equal(mixed, torch.where(replaced, clips.roll(1, 0), clips))
    box = replaced[0, 0, 0]  # [H, W]
    assert torch.equal(replaced, box.expand_as(replaced))
    rows, columns = box.any(1), box.any(0)
    assert torch.equal(box, rows[:, None] & columns[None])
    for line in (rows, columns):  # without a gap
        assert line.int().diff(prepend=torch.zeros(1), append=torch.zeros(1)).abs().sum() in (0, 2)
    share = 1 - box.float().mean()
    one_hot = torch.eye(4)[labels]
    assert torch.allclose(soft_labels, share * one_hot + (1 - share) * one_hot.roll(1, 0), atol=1e-6)


def test_with_both_on_each_is_drawn_about_half_of_the_time():
    clips, labels = batch(2, frames=1, height=32, width=32)
    mixer = ClipMixer(AugmentConfig(mixup=0.8, cutmix=1.0), num_classes=2)
    num_cut = 0
    for step in range(200):
        seed_step(0, step)
        mixed, _ = mixer(clips, labels)
        num_cut += bool(torch.isin(mixed, clips).all())  # cutmix makes no new value
    assert 70 <= num_cut <= 130


def test_mixing_is_repeated_by_the_seed_of_the_step():
    clips, labels = batch()
    mixer = ClipMixer(AugmentConfig(mixup=0.8, cutmix=1.0), num_classes=4)

    def mix(seed: int, step: int) -> Tensor:
        seed_step(seed, step)
        return mixer(clips, labels)[0]

    assert torch.equal(mix(0, 5), mix(0, 5))
    assert not torch.equal(mix(0, 5), mix(0, 6))
    assert not torch.equal(mix(0, 5), mix(1, 5))


@pytest.mark.parametrize(("size", "augment"), [(4, AugmentConfig(mixup=0, cutmix=0)), (1, AugmentConfig(mixup=0.8))])
def test_with_mixing_off_or_a_single_clip_nothing_is_mixed(size: int, augment: AugmentConfig):
    clips, labels = batch(size)
    mixed, soft_labels = ClipMixer(augment, num_classes=5)(clips, labels)
    assert mixed is clips
    assert torch.equal(soft_labels, torch.eye(5)[labels])


def test_mixing_leaves_the_given_clips_as_they_are():
    clips, labels = batch()
    before = clips.clone()
    for augment in (AugmentConfig(mixup=0.8, cutmix=0), AugmentConfig(mixup=0, cutmix=1.0)):
        seed_step(0, 0)
        ClipMixer(augment, num_classes=4)(clips, labels)
        assert torch.equal(clips, before)


def test_soft_cross_entropy_is_the_hand_computed_one():
    # Logits [0, ln 3]: log-probabilities ln 1/4 and ln 3/4. Labels [0.2, 0.8] smoothed by 0.1: [0.23, 0.77].
    logits, soft_labels = torch.tensor([[0.0, math.log(3)]]), torch.tensor([[0.2, 0.8]])
    plain = soft_cross_entropy(logits, soft_labels, label_smoothing=0.0)
    smooth = soft_cross_entropy(logits, soft_labels, label_smoothing=0.1)
    assert plain.item() == pytest.approx(-(0.2 * math.log(0.25) + 0.8 * math.log(0.75)))
    assert smooth.item() == pytest.approx(-(0.23 * math.log(0.25) + 0.77 * math.log(0.75)))


def test_soft_cross_entropy_is_the_mean_over_the_batch_in_float32():
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]]).bfloat16()
    soft_labels = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    loss = soft_cross_entropy(logits, soft_labels, label_smoothing=0.0)
    first = math.log(1 + math.exp(logits[0, 1].item()))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx((first + math.log(2)) / 2)


SCHEDULE = TrainConfig(epochs=10, warmup_epochs=2.0, lr=1e-3, min_lr=1e-5)


@pytest.mark.parametrize(
    ("step", "lr"),
    [
        (0, 1e-5),
        (10, (1e-5 + 1e-3) / 2),  # the middle of the warm-up
        (20, 1e-3),  # its end
        (40, 1e-5 + (1e-3 - 1e-5) * (0.5 + math.sqrt(2) / 4)),  # a quarter of the cosine
        (60, (1e-5 + 1e-3) / 2),  # half of it
        (99, 1e-5 + (1e-3 - 1e-5) * 0.5 * (1 - math.cos(math.pi / 80))),  # the last step
        (100, 1e-5),
        (1000, 1e-5),
    ],
)
def test_the_learning_rate_is_that_of_linear_warm_up_and_cosine(step: int, lr: float):
    assert lr_at(step, SCHEDULE, steps_per_epoch=10) == pytest.approx(lr, rel=1e-12)


def test_without_warm_up_the_first_step_has_the_peak_rate():
    config = TrainConfig(epochs=2, warmup_epochs=0)
    assert lr_at(0, config, steps_per_epoch=5) == config.lr


def test_a_warm_up_longer_than_the_run_is_cut_off_by_its_end():
    config = TrainConfig(epochs=1, warmup_epochs=2.0, lr=1e-3, min_lr=0)
    assert [lr_at(step, config, steps_per_epoch=4) for step in range(4)] == pytest.approx([0, 1.25e-4, 2.5e-4, 3.75e-4])


@over_cases
@given(st.integers(1, 20), st.floats(0, 25), st.integers(1, 30))
def test_the_learning_rate_rises_then_falls_and_keeps_within_its_bounds(epochs: int, warmup: float, steps: int):
    config = TrainConfig(epochs=epochs, warmup_epochs=warmup)
    rates = [lr_at(step, config, steps_per_epoch=steps) for step in range(epochs * steps + 1)]
    peak = int(np.argmax(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert config.min_lr <= min(rates) <= max(rates) <= config.lr * (1 + 1e-12)


def test_weight_decay_spares_biases_and_normalisation():
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Conv3d(4, 2, 1), nn.BatchNorm3d(2))
    optimizer = make_optimizer(model, TrainConfig(weight_decay=0.3, lr=0.01))
    decayed, others = optimizer.param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    assert [id(p) for p in decayed["params"]] == [id(model[0].weight), id(model[2].weight)]
    assert len(others["params"]) == 6
    assert all(parameter.dim() == 1 for parameter in others["params"])
    assert {group["lr"] for group in optimizer.param_groups} == {0.01}
    assert {group["eps"] for group in optimizer.param_groups} == {1e-8}
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.999)}
