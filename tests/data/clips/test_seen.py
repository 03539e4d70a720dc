"""Back to the pixels that people see."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from morphmlp.config import InputConfig
from morphmlp.data.clips.seen import seen_frames
from morphmlp.data.clips.views import eval_views


@given(st.sampled_from(["rgb", "bgr"]), st.integers(0, 2**32 - 1))
def test_seen_frames_are_the_pixels_before_normalisation(order: str, seed: int):
    config = InputConfig.from_dict({"crop": [32, 32], "resize": 32, "channel_order": order, "std": [0.2, 0.3, 0.4]})
    frames = np.random.default_rng(seed).integers(0, 256, (2, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(seen_frames(eval_views(frames, config, num_crops=1), config), frames)
