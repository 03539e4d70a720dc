"""What is tried, for how long, and what goes on."""

import math
from pathlib import Path

import tiny
from hypothesis import given
from hypothesis import strategies as st

from morphmlp.config import AugmentConfig
from morphmlp.training.halving import (
    STRENGTHS,
    Candidate,
    Cost,
    Space,
    Trial,
    best_of,
    cost_of,
    epochs_of_rung,
    num_affordable,
    num_rungs,
    strengthened,
)


def trial(score: float, loss: float = 1.0, lr: float = 0.1) -> Trial:
    return Trial(1, Candidate(None, lr), 5, score, loss, seconds=12.0, training_s=10.0)


def test_the_first_candidates_are_those_of_the_configuration():
    candidates = Space(("a", None)).candidates(["a", None], 0.3)
    assert len(candidates) == len(set(candidates)) == 18
    assert candidates[:2] == [Candidate("a", 0.3, "usual"), Candidate(None, 0.3, "usual")]
    fewest_changes = [(c.lr / 0.3, c.strength) for c in candidates[2:10:2]]
    assert fewest_changes == [(1, "light"), (3, "usual"), (1, "strong"), (1 / 3, "usual")]
    assert Space(("a",), lr=False, strength=False).candidates(["a"], 0.3) == [Candidate("a", 0.3)]


def test_a_candidate_keeps_the_schedule_valid(data: Path):
    config = tiny.run_config(data, lr=1e-3, min_lr=1e-4, warmup_lr=5e-4)
    changed = Candidate("start", 1e-5, "light").configured(config)
    assert (changed.init, changed.train.lr, changed.train.min_lr, changed.train.warmup_lr) == (
        "start",
        1e-5,
        1e-5,
        1e-5,
    )


@given(
    st.builds(
        AugmentConfig,
        crop_area=st.floats(0.01, 1),
        color=st.floats(0, 1),
        mixup=st.floats(0, 400),
        erase=st.floats(0, 1),
        rotate=st.floats(0, 180),
        time_warp=st.floats(0, 1),
        flip=st.floats(0, 1),
    )
)
def test_every_strength_is_a_valid_augmentation_and_none_flips_more(augment: AugmentConfig):
    light, usual, strong = (strengthened(augment, strength) for strength in ("light", "usual", "strong"))
    assert usual == augment
    assert light.flip == strong.flip == augment.flip
    assert light.crop_area >= usual.crop_area >= strong.crop_area
    assert light.color <= usual.color <= strong.color
    assert light.mixup <= usual.mixup <= strong.mixup
    assert light.erase <= usual.erase <= strong.erase
    assert light.rotate <= usual.rotate <= strong.rotate
    assert light.time_warp <= usual.time_warp <= strong.time_warp
    assert (usual.rotate > 0, usual.time_warp > 0) == (strong.rotate > 0, strong.time_warp > 0)
    assert set(STRENGTHS) == {"light", "usual", "strong"}


@given(st.integers(1, 27), st.floats(1, 10_000), st.floats(0.1, 100), st.integers(1, 20))
def test_the_planned_rungs_fit_into_the_time_unless_it_is_too_short_for_any(
    num: int, seconds: float, epoch_s: float, least: int
):
    cost = Cost(epoch_s, 2.0)
    tried = num_affordable(num, seconds=seconds, cost=cost, least_epochs=least)
    assert min(3, num) <= tried <= num
    left, count, spent, rungs = seconds, tried, 0.0, num_rungs(tried)
    for rung in range(rungs):
        epochs = epochs_of_rung(
            count, seconds=left, rungs_left=rungs - rung, cost=cost, least_epochs=least, most_epochs=10**6
        )
        assert epochs >= least
        spent += count * (cost.others_s + epochs * epoch_s)
        left, count = seconds - spent, math.ceil(count / 3)
    if tried > 3:
        assert spent <= seconds * (1 + 1e-9)


def test_the_best_third_goes_on_and_the_loss_decides_between_equals():
    trials = [trial(0.5), trial(0.6, loss=1.2, lr=0.2), trial(0.6, loss=1.1, lr=0.3), trial(0.1, loss=math.inf)]
    assert [found.candidate.lr for found in best_of(trials)] == [0.3, 0.2]
    assert cost_of(trials) == Cost(epoch_s=2.0, others_s=2.0)
