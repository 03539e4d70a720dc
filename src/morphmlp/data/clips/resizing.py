"""Resizing of a frame in numpy: the same pixels as `torch.nn.functional.interpolate` gives, without torch.

Along each axis a new pixel is the weighted sum of a few old ones, its taps. Their positions are computed as torch does,
in float32 with fused multiply-adds: a position near 1,000 px is off by 6e-5 px there, and so it is here.
"""

from functools import lru_cache
from typing import Any

import numpy as np

TAPS = {"bilinear": 2, "bicubic": 4}  # old pixels for each new one, where a frame is enlarged


def resize_frame(frame: np.ndarray, size: tuple[int, int], *, interpolation: str, antialias: bool) -> np.ndarray:
    """`[H, W, 3]` -> float32 `[*size, 3]`, with values between and, for "bicubic", beyond those of the frame.

    The centres of the pixels are at halves. The cubic kernel is Pillow's (a = -0.5) with antialiasing and OpenCV's
    (a = -0.75) without.
    """
    height, width, channels = frame.shape
    rows = frame.reshape(height, width * channels)
    if size[0] != height:
        indices, weights = _taps(height, size[0], interpolation, antialias)
        rows = _weighted_sum(rows, indices, weights[:, :, None], axis=0)
    rows = rows.astype(np.float32, copy=False)
    if size[1] != width:
        indices, weights = _taps(width, size[1], interpolation, antialias)
        # Column x of channel c is number 3 x + c of a row.
        by_channel = (indices[:, None] * channels + np.arange(channels)[:, None]).reshape(-1, indices.shape[1])
        rows = _weighted_sum(rows, by_channel, weights.repeat(channels, axis=0), axis=1)
    return rows.reshape(*size, channels)


def _weighted_sum(rows: np.ndarray, indices: np.ndarray, weights: np.ndarray, *, axis: int) -> np.ndarray:
    """The sum over the taps of `rows` at `indices[:, tap]` along an axis, times `weights[:, tap]`."""
    total = rows.take(indices[:, 0], axis) * weights[:, 0]
    for tap in range(1, indices.shape[1]):
        total += rows.take(indices[:, tap], axis) * weights[:, tap]
    return total


@lru_cache(maxsize=64)
def _taps(old: int, new: int, interpolation: str, antialias: bool) -> tuple[np.ndarray, np.ndarray]:
    """Indices of old pixels and float32 weights, each `[new, taps]`, along an axis of `old` pixels.

    4 pixels to 2, bilinear: new pixel 0 has its centre at 0.5 * 4 / 2 - 0.5 = 0.5, between the old ones 0 and 1.

    >>> _taps(4, 2, "bilinear", False)
    (array([[0, 1], [2, 3]]), array([[0.5, 0.5], [0.5, 0.5]], dtype=float32))
    """
    scale = np.float32(old) / np.float32(new)
    if antialias:
        return _averaging_taps(old, new, scale, interpolation)
    return _picking_taps(old, new, scale, interpolation)


def _picking_taps(old: int, new: int, scale: np.float32, interpolation: str) -> tuple[np.ndarray, np.ndarray]:
    places = (np.float64(scale) * (np.arange(new) + 0.5) - 0.5).astype(np.float32)
    if interpolation == "bilinear":
        places = places.clip(0)
    first = np.floor(places).astype(np.int64)
    part = places - first.astype(np.float32)
    if interpolation == "bilinear":
        indices, weights = first[:, None] + np.arange(2), np.stack([1 - part, part], axis=1)
    else:
        indices = first[:, None] + np.arange(-1, 3)
        distances = np.stack([part + 1, part, 1 - part, 2 - part], axis=1)
        weights = _cubic(distances, np.float32(-0.75))
    return indices.clip(0, old - 1), weights.astype(np.float32)


def _averaging_taps(old: int, new: int, scale: np.float32, interpolation: str) -> tuple[np.ndarray, np.ndarray]:
    """The kernel as wide as a new pixel, where that is wider than an old one."""
    stretch = max(scale, np.float32(1))
    support = np.float32(TAPS[interpolation] / 2) * stretch
    centres = (np.float64(scale) * (np.arange(new) + 0.5)).astype(np.float32)
    first = np.maximum((centres - support + np.float32(0.5)).astype(np.int64), 0)
    end = np.minimum((centres + support + np.float32(0.5)).astype(np.int64), old)
    indices = first[:, None] + np.arange((end - first).max())
    distances = np.abs((indices - centres[:, None].astype(np.float64) + 0.5) * (np.float32(1) / stretch))
    weights = np.maximum(1 - distances, 0) if interpolation == "bilinear" else _cubic(distances, np.float32(-0.5))
    weights = np.where(indices < end[:, None], weights, 0)
    return indices.clip(0, old - 1), (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _cubic(distances: np.ndarray, a: np.float32) -> np.ndarray:
    """The cubic convolution kernel (Keys, 1981) at distances of 0 to 2 pixels, in the order of operations of torch."""
    x = np.float64(distances)

    def fused(product: Any, addend: np.float32) -> np.ndarray:
        """One rounding after both operations, where the distances are float32."""
        return (product + np.float64(addend)).astype(distances.dtype).astype(np.float64)

    near = fused((a + 2) * x, -(a + 3))
    near = fused(near * x * x, np.float32(1))
    far = fused(fused(fused(a * x, -5 * a) * x, 8 * a) * x, -4 * a)
    return np.where(x <= 1, near, np.where(x < 2, far, 0))
