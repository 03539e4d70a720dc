"""Rendered motions: exact reversals in time, the same from the same seed, as different as they are meant to be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphmlp.demo.motions.render import FRAMES, MOTIONS, REVERSED_MOTIONS, SIDES, render_motion
from morphmlp.demo.motions.things import DOWN, place
from morphmlp.errors import DataError

# Of clips with the generator [1, number of the motion, 0]: the shape, and the mean colours of the first and last frame.
# The weights of the start were trained on clips of this very rendering.
RECORDED = {
    "left": ((20, 80, 82, 3), [96.3, 105.8, 87.1], [93.2, 101.1, 83.9]),
    "right_then_up": ((9, 90, 102, 3), [111.5, 120.3, 110.8], [111.8, 120.6, 111.0]),
    "merging": ((11, 98, 64, 3), [113.1, 129.4, 125.0], [108.2, 125.8, 119.7]),
    "cooling": ((21, 82, 76, 3), [118.6, 72.4, 107.1], [100.2, 73.8, 126.4]),
    "panning_down": ((10, 78, 112, 3), [63.8, 63.1, 79.0], [64.9, 64.5, 81.4]),
    "hiding": ((29, 66, 66, 3), [47.3, 53.9, 67.5], [48.2, 54.9, 69.7]),
    "flapping_twice": ((30, 88, 108, 3), [88.9, 129.7, 92.9], [84.8, 123.8, 88.5]),
    "trembling": ((10, 80, 68, 3), [116.2, 115.4, 110.7], [109.8, 109.0, 104.7]),
}


def clip_of(motion: str, *seed: int) -> np.ndarray:
    return render_motion(motion, np.random.default_rng(seed))


@pytest.mark.parametrize("motion", RECORDED)
def test_a_motion_is_rendered_as_it_was_when_the_start_was_trained(motion: str):
    clip, (shape, first, last) = clip_of(motion, 1, MOTIONS.index(motion), 0), RECORDED[motion]
    assert clip.shape == shape
    # Not a digest: the sines of another processor may differ in their last bit.
    assert clip[0].mean(axis=(0, 1)) == pytest.approx(first, abs=0.06)
    assert clip[-1].mean(axis=(0, 1)) == pytest.approx(last, abs=0.06)


def test_there_are_27_pairs_and_9_motions_that_are_their_own_reverse():
    assert len(MOTIONS) == len(set(MOTIONS)) == 63
    assert len(REVERSED_MOTIONS) == 54
    assert all(REVERSED_MOTIONS[REVERSED_MOTIONS[name]] == name != REVERSED_MOTIONS[name] for name in REVERSED_MOTIONS)


@pytest.mark.parametrize("motion", list(REVERSED_MOTIONS)[::2])
def test_a_pair_is_the_same_scene_forwards_and_backwards(motion: str):
    forward, backward = clip_of(motion, 3), clip_of(REVERSED_MOTIONS[motion], 3)
    assert np.array_equal(forward[::-1], backward)
    assert not np.array_equal(forward, backward)


@settings(max_examples=25)
@given(st.sampled_from(MOTIONS), st.integers(0, 2**32))
def test_a_clip_depends_on_its_generator_alone_and_can_be_encoded(motion: str, seed: int):
    clip = clip_of(motion, seed)
    assert clip.dtype == np.uint8
    assert FRAMES[0] <= len(clip) <= FRAMES[1]
    assert all(SIDES[0] <= side <= SIDES[1] and side % 2 == 0 for side in clip.shape[1:3])
    assert clip.shape[3] == 3
    assert np.array_equal(clip, clip_of(motion, seed))


@pytest.mark.parametrize("motion", sorted(set(MOTIONS) - set(REVERSED_MOTIONS)))
def test_a_motion_without_a_reverse_is_rendered_too(motion: str):
    assert clip_of(motion, 0).std() > 1


def test_no_two_clips_look_alike():
    means = {round(float(clip_of("right", seed).mean()), 3) for seed in range(8)}
    assert len(means) == 8


def test_a_warming_thing_turns_red_and_a_brightening_scene_bright():
    warmth = [np.diff(clip.mean(axis=(1, 2))[[0, -1]], axis=0)[0] for clip in (clip_of("warming", s) for s in range(8))]
    assert np.mean([change[0] - change[2] for change in warmth]) > 5  # red rises against blue
    light = [clip[-1].mean() / clip[0].mean() for clip in (clip_of("brightening", seed) for seed in range(8))]
    assert min(light) > 1.5


def test_a_place_is_given_by_its_distance_and_direction():
    assert place(0.5, DOWN, x=0.1) == pytest.approx((0.1, 0.5))
    assert place(2.0, np.pi, y=1.0) == pytest.approx((-2.0, 1.0))


def test_an_unknown_motion_is_refused_with_those_that_there_are():
    with pytest.raises(DataError, match=r"'sideways' is unknown; known: right, left"):
        render_motion("sideways", np.random.default_rng(0))
