"""A map of values over frames, as a glow on their grey picture."""

import numpy as np

# From nothing over red and orange to nearly white; shares of the largest value, and RGB.
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_COLOURS = ((12, 10, 40), (120, 28, 109), (229, 92, 48), (251, 180, 26), (252, 255, 164))
_GLOW = 0.55  # how much of the picture the map is


def heated(frames: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Frames uint8 `[T, H, W, 3]` under maps `[T, h, w]` of 0 or more, on one scale over all frames: as the frames.

    >>> heated(np.zeros((1, 2, 2, 3), np.uint8), np.ones((1, 1, 1)))[0, 0, 0].tolist()  # 0.55 of the last colour
    [138, 140, 90]
    """
    from PIL import Image

    size = frames.shape[2], frames.shape[1]
    shares = np.asarray(maps, np.float32) / (maps.max() or 1)
    smooth = np.stack([np.asarray(Image.fromarray(share).resize(size, Image.Resampling.BILINEAR)) for share in shares])
    colours = np.stack([np.interp(smooth, _SHARES, channel) for channel in zip(*_COLOURS, strict=True)], axis=-1)
    grey = frames.mean(axis=-1, keepdims=True)
    return (_GLOW * colours + (1 - _GLOW) * grey).clip(0, 255).astype(np.uint8)
