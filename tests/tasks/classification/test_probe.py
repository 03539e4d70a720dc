"""A linear probe: a head that is fitted to features, and a checkpoint like any other."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file
from torch import nn
from training.test_processes import run_processes

from morphmlp.config import AugmentConfig, RunConfig
from morphmlp.data.sets.read import read_training_sets
from morphmlp.errors import ConfigError, DataError
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.tasks.classification import probe
from morphmlp.tasks.classification.features.extractor import FeatureExtractor
from morphmlp.tasks.classification.linear import fit_linear
from morphmlp.tasks.classification.probe import (
    Rows,
    ViewFeatures,
    _held_out_parts,
    _rows,
    _score,
    fit_probe,
    probe_features,
    put_into_head,
)
from morphmlp.training.initial_weights import initial_model
from morphmlp.training.run import resume, train


def start(config: RunConfig) -> MorphMLP:
    sets = read_training_sets(config.data)
    return initial_model(config, sets[0].classes)[0]


def test_the_head_says_what_the_fitted_classifier_says():
    generator = np.random.default_rng(0)
    features = generator.normal(3.0, [1.0, 5.0, 0.2], size=(30, 3))
    classifier = fit_linear(features, generator.integers(0, 4, 30), num_classes=4)
    head = nn.Linear(3, 4)
    put_into_head(head, classifier)
    logits = head(torch.from_numpy(features).float()).detach().numpy()
    assert np.allclose(logits, classifier.logits(features), atol=1e-4)


def test_features_of_one_view_are_those_of_the_verb_features(data: Path, checkpoint: Path):
    config = tiny.run_config(data, init=checkpoint)
    train_set, val_set = read_training_sets(data)
    found = probe_features(start(config), config, (train_set, val_set))
    assert set(found) == {sample.path for sample in [*train_set.samples, *val_set.samples]}
    path = val_set.samples[0].path
    assert found[path].shape == (1, 16)
    assert np.allclose(found[path][0], FeatureExtractor(checkpoint)(path), atol=1e-5)


def test_features_are_computed_once_for_weights_input_and_files(
    data: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MORPHMLP_CACHE", str(tmp_path / "cache"))
    copy = tiny.copy_data(data, tmp_path / "set", classes=2)
    config = tiny.run_config(copy, init=checkpoint)
    sets = read_training_sets(copy)
    model = start(config)
    first = probe_features(model, config, sets)

    computed = []
    monkeypatch.setattr(ViewFeatures, "vectors", lambda *_: computed.append(1) or pytest.fail("computed again"))
    again = probe_features(model, config, (sets[1], sets[0]))  # another division of the same samples
    assert {path: value.tolist() for path, value in again.items()} == {p: v.tolist() for p, v in first.items()}
    nn.init.zeros_(model.head.weight)  # type: ignore[arg-type]
    probe_features(model, config, sets)  # the head has no part in it
    monkeypatch.undo()
    monkeypatch.setenv("MORPHMLP_CACHE", str(tmp_path / "cache"))

    entries = tmp_path / "cache" / "features"
    assert len(list(entries.iterdir())) == 1
    with torch.no_grad():
        next(model.stem.parameters()).add_(1.0)
    probe_features(model, config, sets)
    assert len(list(entries.iterdir())) == 2
    file = copy / "train" / sets[0].classes[0]
    next(file.iterdir()).touch()
    probe_features(model, config, sets)
    assert len(list(entries.iterdir())) == 3


def test_views_and_their_mirror_images_are_rows_of_their_own(data: Path, checkpoint: Path):
    config = tiny.run_config(data, init=checkpoint, augment=AugmentConfig(flip=0.5).to_dict())
    config = replace(config, input=replace(config.input, num_clips=2))
    train_set, val_set = read_training_sets(data)
    features = probe_features(start(config), config, (train_set, val_set))
    assert {vectors.shape for vectors in features.values()} == {(4, 16)}
    classes = ["left", "right", "turning left", "still"]
    samples = [replace(sample, label=label) for label, sample in enumerate(train_set.samples[:4])]
    rows = _rows(samples, features, classes, num_views=2)
    assert rows.labels.tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 2, 2, 3, 3, 3, 3]
    assert rows.plain.tolist() == [True, True, False, False] * 2 + [True, True] + [True, True, False, False]
    assert rows.samples.tolist() == [0] * 4 + [1] * 4 + [2] * 2 + [3] * 4


def test_the_validation_part_has_no_say(data: Path, checkpoint: Path):
    config = tiny.run_config(data, init=checkpoint)
    train_set, val_set = read_training_sets(data)
    wrong = replace(val_set, samples=[replace(s, label=(s.label + 1) % 10) for s in val_set.samples])
    models = [start(config), start(config)]
    fits = [fit_probe(model, config, (train_set, val)) for model, val in zip(models, (val_set, wrong), strict=True)]
    assert fits[0] == fits[1]
    assert torch.equal(models[0].head.weight, models[1].head.weight)  # type: ignore[arg-type]
    assert fits[0].num_samples == fits[0].num_rows == fits[0].num_held_out == 20


def test_whole_groups_are_held_out_and_samples_where_there_is_one_group(data: Path):
    samples = read_training_sets(data)[0].samples
    config = tiny.run_config(data)
    by_letter = replace(config, split=replace(config.split, group_pattern="^."))
    parts = _held_out_parts(samples, by_letter, num_rows=20)
    letters = [{Path(samples[number].path).name[0] for number in part} for part in parts]
    assert sorted(letter for part in letters for letter in part) == sorted({Path(s.path).name[0] for s in samples})
    one_group = replace(config, split=replace(config.split, group_pattern="mp4"))
    parts = _held_out_parts(samples, one_group, num_rows=20)
    assert len(parts) == 5
    assert sorted(number for part in parts for number in part) == list(range(20))
    assert len(_held_out_parts(samples, config, num_rows=probe.MOST_ROWS_IN_TURN + 1)) == 1


def separable(labels: list[int]) -> Rows:
    """Samples whose class is plain to see, a row each."""
    vectors = np.eye(3)[labels] + np.random.default_rng(0).normal(scale=0.01, size=(len(labels), 3))
    return Rows(vectors, np.array(labels), np.arange(len(labels)), np.ones(len(labels), dtype=bool))


def test_a_class_that_is_held_out_whole_does_not_choose_the_regularisation():
    """Nothing that was not learnt is answered rightly, and the strongest regularisation is wrong with least regret."""
    rows, parts = separable([0, 1, 0, 1, 2]), [[0, 1], [2, 3], [4]]
    scores = [_score(rows, parts, l2=l2, num_classes=3) for l2 in (0.1, 1e4)]
    assert [(score.num, score.top1) for score in scores] == [(4, 1.0), (4, 1.0)]
    assert scores[0].loss < scores[1].loss
    assert _score(separable([0, 1, 2]), [[0], [1], [2]], l2=1.0, num_classes=3).num == 0
    assert _score(separable([0]), [[0]], l2=1.0, num_classes=3).num == 0


def test_a_probe_of_one_clip_a_class_says_that_nothing_could_be_held_out(data: Path, checkpoint: Path, tmp_path: Path):
    copy = tiny.copy_data(data, tmp_path / "set", classes=3)
    for folder in (copy / "train").iterdir():
        sorted(folder.iterdir())[0].unlink()
    ended = tiny.run_command(
        *("train", copy, "--init", checkpoint, "--probe", "--workers", 0, "--out", tmp_path / "run", "--baseline=false")
    )
    assert ended.returncode == 0, ended.stderr
    assert "l2 1, as no class has videos of two groups to choose it by" in ended.stderr


def test_a_probe_is_a_run_whose_checkpoint_differs_from_the_start_in_its_head_alone(
    data: Path, checkpoint: Path, tmp_path: Path
):
    out = tmp_path / "run"
    ended = tiny.run_command("train", data, "--init", checkpoint, "--probe", "--workers", "0", "--out", out)
    assert ended.returncode == 0, ended.stderr
    assert "linear probe: the head is fitted to the features of 20 training videos (40 views); l2 " in ended.stderr
    assert "20 training and 10 validation videos of 10 classes; the head alone is fitted\n" in ended.stderr
    assert all(word not in ended.stderr for word in ("epoch", "mixup", "clips/s", "steps"))  # which a probe has not
    before, after = (load_file(folder / "model.safetensors") for folder in (checkpoint, out / "best"))
    assert {name for name, value in before.items() if not torch.equal(value, after[name])} == {
        "head.weight",
        "head.bias",
    }
    score = tiny.evaluate_checkpoint(out / "best", data, workers=0).accuracy()
    assert f"top-1 {score:.3f} on 10 validation videos" in ended.stdout
    assert resume(out).best_score == pytest.approx(score)


def test_a_probe_refuses_what_it_would_ignore_but_for_what_a_recipe_says(data: Path, tmp_path: Path):
    options = ["train", data, "--init", "nowhere", "--probe", "--out", tmp_path / "run"]
    refused = tiny.run_command(*options, "--epochs", "3", "--lr=1e-3")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "error: --probe fits the head without steps: leave out --epochs, --lr, or --probe\n"
    of_recipe = tiny.run_command(*options, "--recipe", "demo")
    assert "nowhere is no checkpoint folder" in of_recipe.stderr


def test_a_probe_beats_a_random_head_on_what_it_was_fitted_to(data: Path, checkpoint: Path, tmp_path: Path):
    train(tiny.run_config(data, init=checkpoint, probe=True), tmp_path / "run")
    fitted = tiny.evaluate_checkpoint(tmp_path / "run" / "best", data, split="train", workers=0).loss()
    assert fitted < 0.9 * tiny.evaluate_checkpoint(checkpoint, data, split="train", workers=0).loss()


def test_training_videos_that_cannot_be_read_are_left_out_and_too_many_are_refused(
    data: Path, checkpoint: Path, tmp_path: Path
):
    copy = tiny.copy_data(data, tmp_path / "set", classes=4)
    files = sorted((copy / "train").rglob("*.mp4"))
    files[0].write_bytes(b"nothing")
    config = tiny.run_config(copy, init=checkpoint)
    assert fit_probe(start(config), config, read_training_sets(copy)).num_samples == 7
    for file in files[:5]:
        file.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"5 of 8 training videos cannot be read: more than 10% \(--max_broken\)"):
        fit_probe(start(config), config, read_training_sets(copy))


def test_other_parts_than_the_backbone_cannot_be_frozen_for_a_probe(data: Path, checkpoint: Path):
    with pytest.raises(ConfigError, match=r"train\.freeze is 2; allowed: 'backbone' with probe"):
        tiny.run_config(data, init=checkpoint, probe=True, freeze=2)


@pytest.mark.slow
def test_two_processes_fit_the_same_head_as_one(data: Path, checkpoint: Path, tmp_path: Path):
    settings = {"probe": True, "batch_size": 4}
    train(tiny.run_config(data, init=checkpoint, **settings), tmp_path / "one")
    ended = run_processes(2, "train", data, tmp_path / "two", init=str(checkpoint), **settings)
    assert not any(ended.codes), ended.err[-3000:]
    one, two = (load_file(tmp_path / name / "best" / "model.safetensors") for name in ("one", "two"))
    assert all(torch.allclose(value, two[name], atol=1e-4) for name, value in one.items())
