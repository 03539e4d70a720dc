"""The turns and mirrorings by which a stored picture is shown: eight, as a picture has that many upright places."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Turn(NamedTuple):
    """What makes a stored picture [H, W, 3] upright: a counter-clockwise turn, and perhaps a mirroring."""

    degrees: int
    apply: Callable[[np.ndarray], np.ndarray]

    @property
    def exchanges_sides(self) -> bool:
        return self.degrees in (90, 270)


# By the number of the orientation (EXIF 2.3, Sec. 4.6.4); 2, 4, 5 and 7 mirror.
UPRIGHT = Turn(0, lambda pixels: pixels)
TURNS = {
    1: UPRIGHT,
    2: Turn(0, lambda pixels: pixels[:, ::-1]),
    3: Turn(180, lambda pixels: pixels[::-1, ::-1]),
    4: Turn(180, lambda pixels: pixels[::-1]),
    5: Turn(270, lambda pixels: pixels.transpose(1, 0, 2)),
    6: Turn(270, lambda pixels: np.rot90(pixels, k=-1)),
    7: Turn(90, lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2)),
    8: Turn(90, lambda pixels: np.rot90(pixels)),
}

_QUARTERS = [TURNS[1], TURNS[8], TURNS[3], TURNS[6]]  # counter-clockwise

# Whether x and y change places, and which of the new x and y run backwards.
_ORIENTATIONS = {
    (False, False, False): 1,
    (False, True, False): 2,
    (False, True, True): 3,
    (False, False, True): 4,
    (True, False, False): 5,
    (True, True, False): 6,
    (True, True, True): 7,
    (True, False, True): 8,
}


def turn_of_degrees(degrees: float) -> Turn:
    """The turn nearest to so many degrees counter-clockwise.

    >>> turn_of_degrees(-91).degrees
    270
    """
    return _QUARTERS[round(degrees / 90) % 4]


def turn_of_matrix(matrix: np.ndarray) -> Turn:
    """The turn nearest to a display matrix of a video, 3 x 3 as FFmpeg holds it; none where it has no direction.

    Such a matrix (a, b, _), (c, d, _), _ sends a point to x' = ax + cy, y' = bx + dy, with y counted downwards. So
    a = -1, d = 1 mirrors left and right, and b = 1, c = -1 turns clockwise by a quarter:

    >>> turn_of_matrix(np.array([[0, 65536, 0], [-65536, 0, 0], [0, 0, 1 << 30]])).degrees
    270
    """
    (a, b), (c, d) = matrix[:2, :2].astype(np.int64).tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return TURNS[_ORIENTATIONS[False, a < 0, d < 0]]
    return TURNS[_ORIENTATIONS[True, c < 0, b < 0]]
