"""A clip as a picture: frames side by side."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image


def film_strip(frames: np.ndarray, *, count: int = 8, height: int = 96) -> "Image":
    """Evenly spaced frames of a clip, uint8 `[T, H, W, 3]`, side by side; `height` in pixels.

    Of 24 frames, `count=4` shows 0, 8, 15 and 23. A clip with fewer than `count` frames shows each of them once.

    >>> film_strip(np.zeros((24, 80, 96, 3), np.uint8)).size
    (934, 96)

    Raises:
        ValueError: `frames` has another dtype or shape, or is empty.
    """
    from PIL import Image

    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size:
        raise ValueError(f"frames are {frames.dtype} {list(frames.shape)}; give uint8 [T, H, W, 3], none of them 0")
    gap = 2
    width = max(1, round(height * frames.shape[2] / frames.shape[1]))
    shown = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
    strip = Image.new("RGB", (len(shown) * (width + gap) - gap, height), (22, 24, 28))
    for position, index in enumerate(shown):
        frame = Image.fromarray(np.ascontiguousarray(frames[index]))
        strip.paste(frame.resize((width, height), Image.Resampling.LANCZOS), (position * (width + gap), 0))
    return strip
