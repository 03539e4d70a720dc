"""A map over frames."""

import numpy as np

from morphmlp.display.heat import heated


def test_the_largest_value_glows_and_nothing_is_dark_on_one_scale_over_all_frames():
    frames = np.full((2, 8, 8, 3), 100, np.uint8)
    maps = np.zeros((2, 2, 2), np.float32)
    maps[0, 0, 0], maps[1, 1, 1] = 4.0, 2.0
    pictures = heated(frames, maps)
    assert pictures.shape == frames.shape
    assert pictures.dtype == np.uint8
    assert pictures[0, 0, 0].tolist() == [183, 185, 135]  # 0.55 of the last colour, 0.45 of the grey
    assert pictures[1, 7, 7].tolist() == [170, 95, 71]  # half of the largest value, the middle colour
    assert pictures[0, 7, 7].tolist() == [51, 50, 67]  # nothing


def test_a_map_of_zeros_is_dark_everywhere():
    pictures = heated(np.zeros((1, 4, 6, 3), np.uint8), np.zeros((1, 1, 1), np.float32))
    assert np.unique(pictures.reshape(-1, 3), axis=0).tolist() == [[6, 5, 22]]
