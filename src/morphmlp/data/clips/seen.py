"""Back from the clip that a model is given to the pixels that people see. It needs no torch."""

from typing import Any

import numpy as np

from morphmlp.config import InputConfig


def seen_frames(clip: Any, config: InputConfig) -> np.ndarray:
    """Undoes `data.clips.views.normalise`: `[1, 3, T, H, W]`, an array or a tensor, -> uint8 `[T, H, W, 3]` in RGB."""
    frames = np.asarray(clip, dtype=np.float32)[0].transpose(1, 2, 3, 0)  # [T, H, W, 3]
    frames = (frames * np.asarray(config.std, np.float32) + np.asarray(config.mean, np.float32)) * np.float32(255)
    if config.channel_order == "bgr":
        frames = frames[..., ::-1]
    return np.ascontiguousarray(frames.round().clip(0, 255).astype(np.uint8))
