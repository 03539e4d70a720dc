"""Frames and views of a clip at test time, whatever it was read from."""

from dataclasses import replace

import numpy as np

from morphmlp.config import InputConfig
from morphmlp.data.clips.protocol import clip_indices, views_of
from morphmlp.data.clips.sampling import dense_indices, sparse_indices
from morphmlp.data.clips.views import view_arrays

CONFIG = InputConfig(crop=(32, 32), resize=40, num_clips=2)


def test_the_clips_of_a_video_follow_one_another():
    sparse = [index for clip in (0, 1) for index in sparse_indices(50, frames=4, clip=clip, num_clips=2)]
    assert clip_indices(50, 25.0, frames=4, config=CONFIG) == sparse
    dense = replace(CONFIG, sampling="dense", stride=2)
    expected = [dense_indices(50, fps=25, frames=4, stride=2, clip=clip, num_clips=2) for clip in (0, 1)]
    assert clip_indices(50, 25.0, frames=4, config=dense) == expected[0] + expected[1]


def test_each_clip_gives_its_crops_in_turn():
    frames = np.random.default_rng(0).integers(0, 256, (8, 48, 64, 3), dtype=np.uint8)
    views = views_of(frames, replace(CONFIG, num_crops=3))
    assert views.shape == (6, 3, 4, 32, 32)
    assert np.array_equal(views[3:], view_arrays(frames[4:], CONFIG, num_crops=3))
