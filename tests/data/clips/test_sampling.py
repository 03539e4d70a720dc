"""Frame sampling: the indices recorded from the released test code, and what holds for every video."""

import json
import math
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from morphmlp.data.clips.sampling import (
    dense_indices,
    frames_at_rate,
    random_dense_indices,
    random_sparse_indices,
    sparse_indices,
    warped_clock,
)
from morphmlp.errors import ConfigError

RECORDED = json.loads((Path(__file__).parents[2] / "recorded" / "sampling.json").read_text())

lengths = st.integers(1, 3000)
clip_frames = st.integers(1, 70)
strides = st.integers(1, 8)
rates = st.one_of(st.sampled_from([12.5, 15, 24, 25, 29.97, 30, 50, 60]), st.floats(1, 240))
seeds = st.integers(0, 2**32 - 1)
clip_of_clips = st.integers(1, 10).flatmap(lambda total: st.tuples(st.integers(0, total - 1), st.just(total)))


# How often FFmpeg 9.0 shows each of 47 frames with `-r 30`: of a WebM of 12 frames a second, and of an MP4 of 50.
SHOWN_AT_30 = {
    12.0: "23322323322323322323322323322323322323322323322",
    50.0: "11111010110101101011010110101101011010110101101",
}


@pytest.mark.parametrize("fps", SHOWN_AT_30)
def test_frames_on_another_clock_are_those_of_an_extraction(fps: float):
    shown = frames_at_rate(47, fps=fps, rate=30)
    assert "".join(str(shown.count(frame)) for frame in range(47)) == SHOWN_AT_30[fps]
    assert shown == sorted(shown)


@pytest.mark.parametrize(("fps", "repeats"), [(30.0, 1), (15.0, 2), (10.0, 3), (30000 / 1001, 1)])
def test_at_a_whole_ratio_each_frame_is_shown_equally_often(fps: float, repeats: int):
    assert frames_at_rate(40, fps=fps, rate=30) == [frame for frame in range(40) for _ in range(repeats)]


@given(num_frames=st.integers(1, 300), fps=st.floats(1, 240), rate=st.floats(1, 240))
def test_a_copy_at_another_rate_lasts_as_long(num_frames: int, fps: float, rate: float):
    shown = frames_at_rate(num_frames, fps=fps, rate=rate)
    assert shown
    assert set(shown) <= set(range(num_frames))
    assert abs(len(shown) - num_frames * rate / fps) < 3


@pytest.mark.parametrize("case", RECORDED["dense"])
def test_dense_sampling_gives_the_recorded_indices(case):
    indices = dense_indices(
        case["video_frames"],
        fps=case["fps"],
        frames=case["frames"],
        stride=case["sampling_rate"],
        clip=case["clip"],
        num_clips=case["clips"],
        target_fps=case["target_fps"],
    )
    assert indices == case["indices"]


@pytest.mark.parametrize("case", RECORDED["sparse"])
def test_sparse_sampling_gives_the_recorded_indices(case):
    indices = sparse_indices(case["video_frames"], frames=case["frames"], clip=case["clip"], num_clips=case["clips"])
    assert indices == case["indices"]


@pytest.mark.parametrize("frames", [8, 16, 32, 64])
@pytest.mark.parametrize("fps", [12.5, 25, 29.97, 30, 60])
def test_dense_sampling_rounds_as_a_float32_linspace(frames, fps):
    for num_frames in range(1, 800, 11):
        for clip, num_clips in [(0, 1), (1, 4), (3, 4), (9, 10)]:
            span = frames * 4 * fps / 30
            room = max(num_frames - span, 0)
            start = math.floor(room / 2) if num_clips == 1 else clip * math.floor(room / (num_clips - 1))
            points = torch.linspace(start, start + span - 1, frames)
            expected = torch.clamp(points, 0, num_frames - 1).long().tolist()
            given_indices = dense_indices(num_frames, fps=fps, frames=frames, stride=4, clip=clip, num_clips=num_clips)
            assert given_indices == expected


def test_dense_sampling_keeps_float32_rounding_at_a_whole_number():
    # The seventh of 8 points from 39 to 64.67 is 61 exactly, but 60.999996 in float32.
    exact = 39 + (Fraction(8 * 4 * 25, 30) - 1) * Fraction(6, 7)
    assert exact == 61
    assert dense_indices(67, fps=25, frames=8, stride=4, clip=3, num_clips=4)[6] == 60


@given(lengths, rates, clip_frames, strides, clip_of_clips)
def test_dense_indices_rise_within_the_video(num_frames, fps, frames, stride, clip):
    indices = dense_indices(num_frames, fps=fps, frames=frames, stride=stride, clip=clip[0], num_clips=clip[1])
    assert_rising_within(indices, num_frames=num_frames, frames=frames)


@given(lengths, rates, clip_frames, strides, seeds)
def test_random_dense_indices_rise_within_the_video(num_frames, fps, frames, stride, seed):
    generator = np.random.default_rng(seed)
    indices = random_dense_indices(num_frames, fps=fps, frames=frames, stride=stride, generator=generator)
    assert_rising_within(indices, num_frames=num_frames, frames=frames)


@given(lengths, clip_frames, clip_of_clips)
def test_sparse_indices_rise_within_the_video(num_frames, frames, clip):
    indices = sparse_indices(num_frames, frames=frames, clip=clip[0], num_clips=clip[1])
    assert_rising_within(indices, num_frames=num_frames, frames=frames)


@given(lengths, clip_frames, seeds)
def test_random_sparse_indices_rise_within_the_video(num_frames, frames, seed):
    indices = random_sparse_indices(num_frames, frames=frames, generator=np.random.default_rng(seed))
    assert_rising_within(indices, num_frames=num_frames, frames=frames)


@given(lengths, clip_frames, st.floats(0, 1), seeds)
def test_a_warped_clock_rises_within_the_video_and_has_ticks_enough(num_frames, frames, strength, seed):
    generator = np.random.default_rng(seed)
    clock = warped_clock(num_frames, frames=frames, strength=strength, generator=generator)
    assert_rising_within(clock, num_frames=num_frames, frames=max(num_frames, 8 * frames))


def test_a_clock_that_is_not_warped_shows_each_frame_equally_often():
    clock = warped_clock(5, frames=10, strength=0, generator=np.random.default_rng(0))
    assert clock == [frame for frame in range(5) for _ in range(16)]


def test_a_warped_clock_hurries_at_either_end_and_cuts_no_more_than_said():
    clocks = [warped_clock(100, frames=8, strength=0.5, generator=np.random.default_rng(seed)) for seed in range(300)]
    middles = [clock[50] for clock in clocks]
    # The middle of the ticks shows 0.5 ** e ** -0.5 = 0.66 to 0.5 ** e ** 0.5 = 0.32 of what is left between the cuts.
    assert 28 <= min(middles) < 36
    assert 60 < max(middles) <= 70
    assert 8 <= max(clock[0] for clock in clocks) <= 10 + 6  # e ** -0.5 hurries at once, from the first tick on
    assert 89 <= min(clock[-1] for clock in clocks) <= 91
    assert min(clock[0] for clock in clocks) == 0
    assert max(clock[-1] for clock in clocks) == 99


@pytest.mark.parametrize("strength", [-0.1, 1.1, math.nan])
def test_a_strength_out_of_range_is_refused(strength):
    with pytest.raises(ConfigError, match=f"strength={strength}: give 0 to 1"):
        warped_clock(10, frames=8, strength=strength, generator=np.random.default_rng(0))


@given(st.integers(2, 10), st.integers(0, 2000))
def test_dense_clips_reach_from_the_first_frame_to_the_last(num_clips, room):
    num_frames = 64 + room  # a clip of 16 frames with stride 4 spans 64
    clips = [
        dense_indices(num_frames, fps=30, frames=16, stride=4, clip=clip, num_clips=num_clips)
        for clip in range(num_clips)
    ]
    assert clips[0][0] == 0
    # The room is shared out in whole frames: up to num_clips - 2 frames stay over, none when it divides.
    left_over = num_frames - 1 - clips[-1][-1]
    assert left_over == room % (num_clips - 1)


def test_dense_clip_spans_the_same_seconds_at_any_frame_rate():
    slow = dense_indices(300, fps=30, frames=16, stride=4, clip=0, num_clips=4)
    fast = dense_indices(600, fps=60, frames=16, stride=4, clip=0, num_clips=4)
    assert slow[-1] / 30 == pytest.approx(fast[-1] / 60, abs=1 / 30)


def test_a_single_dense_clip_lies_in_the_middle():
    assert dense_indices(164, fps=30, frames=2, stride=32, clip=0, num_clips=1) == [50, 113]


@given(lengths, clip_frames, clip_of_clips)
def test_sparse_sampling_covers_every_segment(num_frames, frames, clip):
    length = Fraction(num_frames - 1, frames)
    indices = sparse_indices(num_frames, frames=frames, clip=clip[0], num_clips=clip[1])
    for segment, index in enumerate(indices):  # whole frames reach half a frame over a segment's ends
        assert length * segment - Fraction(1, 2) <= index <= length * (segment + 1) + Fraction(1, 2)


@given(lengths, clip_frames, seeds)
def test_random_sparse_sampling_takes_one_frame_of_each_segment(num_frames, frames, seed):
    length = Fraction(num_frames - 1, frames)
    indices = random_sparse_indices(num_frames, frames=frames, generator=np.random.default_rng(seed))
    for segment, index in enumerate(indices):
        assert length * segment - Fraction(1, 2) <= index <= length * (segment + 1) + Fraction(1, 2)
    if num_frames > frames:
        assert len(set(indices)) == frames


def test_random_sparse_sampling_reaches_every_frame():
    generator = np.random.default_rng(0)
    seen = {index for _ in range(300) for index in random_sparse_indices(33, frames=8, generator=generator)}
    assert seen == set(range(33))


def test_random_dense_sampling_reaches_both_ends():
    generator = np.random.default_rng(0)
    clips = [random_dense_indices(40, fps=30, frames=8, stride=4, generator=generator) for _ in range(300)]
    assert min(clip[0] for clip in clips) == 0
    assert max(clip[-1] for clip in clips) >= 38


def test_the_same_generator_state_gives_the_same_clip():
    first, second = (
        (
            random_dense_indices(500, fps=25, frames=16, stride=4, generator=generator),
            random_sparse_indices(500, frames=16, generator=generator),
        )
        for generator in (np.random.default_rng(7), np.random.default_rng(7))
    )
    assert first == second


def test_the_worked_examples_are_right():
    assert dense_indices(300, fps=30, frames=8, stride=4, clip=1, num_clips=3) == [
        *(134, 138, 142, 147, 151, 156, 160, 165),
    ]
    assert random_dense_indices(300, fps=30, frames=8, stride=4, generator=np.random.default_rng(0)) == [
        *(170, 175, 179, 183, 188, 192, 197, 201),
    ]
    assert sparse_indices(33, frames=8) == [2, 6, 10, 14, 18, 22, 26, 30]
    assert random_sparse_indices(33, frames=8, generator=np.random.default_rng(0)) == [3, 6, 10, 13, 17, 20, 24, 28]


DENSE = {"num_frames": 100, "fps": 30, "frames": 16, "stride": 4, "clip": 0, "num_clips": 4}


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_frames": 0},
        {"frames": 0},
        {"stride": 0},
        {"num_clips": 0},
        {"clip": 4},
        {"clip": -1},
        {"fps": 0},
        {"fps": math.nan},
        {"fps": math.inf},
        {"target_fps": -30},
    ],
)
def test_dense_sampling_names_the_wrong_argument(wrong):
    arguments = DENSE | wrong
    with pytest.raises(ConfigError, match=f"^{next(iter(wrong))}="):
        dense_indices(arguments.pop("num_frames"), **arguments)


@pytest.mark.parametrize("wrong", [{"num_frames": 0}, {"frames": 0}, {"num_clips": 0}, {"clip": 1}])
def test_sparse_sampling_names_the_wrong_argument(wrong):
    arguments = {"num_frames": 100, "frames": 16} | wrong
    with pytest.raises(ConfigError, match=f"^{next(iter(wrong))}="):
        sparse_indices(arguments.pop("num_frames"), **arguments)


@pytest.mark.parametrize("wrong", [{"num_frames": 0}, {"frames": 0}])
def test_random_sampling_names_the_wrong_argument(wrong):
    arguments = {"num_frames": 100, "frames": 16, "generator": np.random.default_rng(0)} | wrong
    num_frames = arguments.pop("num_frames")
    with pytest.raises(ConfigError, match=f"^{next(iter(wrong))}="):
        random_sparse_indices(num_frames, **arguments)
    with pytest.raises(ConfigError, match=f"^{next(iter(wrong))}="):
        random_dense_indices(num_frames, fps=30, stride=4, **arguments)


def assert_rising_within(indices, *, num_frames, frames):
    assert len(indices) == frames
    assert all(type(index) is int for index in indices)
    assert indices[0] >= 0
    assert indices[-1] <= num_frames - 1
    assert all(earlier <= later for earlier, later in pairwise(indices))
