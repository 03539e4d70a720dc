"""From decoded frames to the clip that a model is given at test time: the published views, and what they are made of.

Frames are uint8 `[T, H, W, 3]` in RGB; clips are float32 `[3, T, h, w]`, normalised. An image is a clip of one frame.
All of it is numpy, because an exported model predicts without torch. The views are those of torch's own operations to
1e-6 of the largest value, and take as long or less.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from morphmlp.config import InputConfig
from morphmlp.data.clips.resizing import resize_frame

if TYPE_CHECKING:
    from torch import Tensor


def eval_views(frames: np.ndarray, config: InputConfig, *, num_crops: int) -> "Tensor":
    """`view_arrays` as a tensor."""
    import torch

    return torch.from_numpy(view_arrays(frames, config, num_crops=num_crops))


def view_arrays(frames: np.ndarray, config: InputConfig, *, num_crops: int) -> np.ndarray:
    """The crops of one clip at test time: `[T, H, W, 3]` uint8 -> `[num_crops, 3, T, h, w]` float32.

    Frames are normalised, resized, then cropped, in the order of the released loaders; as all of it is linear, what is
    computed is the resized frame's normalisation. A clip that is stretched or kept whole shows all of the frame: it is
    one view.

    Images follow the same order, where torchvision's pipeline resizes first: it rounds the resized pixels to whole
    levels and clips what bicubic overshoots at hard edges; here neither happens. Its centre crop lies a pixel further
    right or down where the margin is 4k + 1 px: both round the half pixel, here up and there to the even side.
    """
    size = frames.shape[1:3]
    if config.fit == "stretch":
        return _normalised(frames, config, size=config.crop)[None]
    if config.fit == "whole":
        return _normalised(frames, config, size=whole_size(*size, short_side=config.resize))[None]
    height, width = config.crop
    short_side = config.resize if num_crops == 1 else height
    clip = _normalised(frames, config, size=resized_size(*size, short_side=short_side))
    offsets = crop_offsets(*clip.shape[-2:], crop=height)
    if num_crops == 1:
        offsets = [offsets[1 if config.one_crop == "center" else 0]]
    return np.stack([clip[..., top : top + height, left : left + width] for top, left in offsets])


def _normalised(frames: np.ndarray, config: InputConfig, *, size: tuple[int, int]) -> np.ndarray:
    """Resized and normalised, `[3, T, *size]`; frame by frame, so that one float frame is in memory beside the clip."""
    clip = np.empty((3, len(frames), *size), np.float32)
    mean, std = np.array(config.mean, np.float32), np.array(config.std, np.float32)
    for step, frame in enumerate(frames):
        pixels = resize_frame(frame, size, interpolation=config.interpolation, antialias=config.antialias)
        if config.channel_order == "bgr":
            pixels = pixels[..., ::-1]
        for channel in range(3):
            plane = clip[channel, step]
            np.divide(pixels[..., channel], np.float32(255), out=plane)
            plane -= mean[channel]
            plane /= std[channel]
    return clip


def resized_size(height: int, width: int, *, short_side: int) -> tuple[int, int]:
    """Height and width with the short side as given and the long one in proportion, rounded down.

    A frame whose short side fits already keeps its size, though the rounding of the quotient may lose a pixel.

    >>> resized_size(240, 320, short_side=256)
    (256, 341)
    """
    if min(height, width) == short_side:
        return height, width
    if height <= width:
        return short_side, math.floor(width / height * short_side)
    return math.floor(height / width * short_side), short_side


def whole_size(height: int, width: int, *, short_side: int, multiple: int = 32) -> tuple[int, int]:
    """Height and width with the short side as given, the ratio kept, and each side rounded up to a multiple.

    The long side is rounded to the nearest pixel first, so that 1024.3 px stay 1024 and do not become 1056.

    >>> whole_size(683, 1024, short_side=512)  # 512 x 767.6
    (512, 768)
    >>> whole_size(500, 400, short_side=500)  # 625 x 500
    (640, 512)
    """
    shortest = min(height, width)
    rounded = [(2 * side * short_side + shortest) // (2 * shortest) for side in (height, width)]
    return -(-rounded[0] // multiple) * multiple, -(-rounded[1] // multiple) * multiple


def crop_offsets(height: int, width: int, *, crop: int) -> list[tuple[int, int]]:
    """Top and left of the three crops along the long side: start, centre (rounded up, as released) and end.

    >>> crop_offsets(256, 341, crop=224)
    [(16, 0), (16, 59), (16, 117)]
    """
    top, left = math.ceil((height - crop) / 2), math.ceil((width - crop) / 2)
    if height > width:
        return [(0, left), (top, left), (height - crop, left)]
    return [(top, 0), (top, left), (top, width - crop)]


def normalise(clip: "Tensor", config: InputConfig) -> "Tensor":
    """`[3, T, H, W]` uint8 in RGB -> float32 in the channel order, mean and deviation that `config` names."""
    import torch

    if config.channel_order == "bgr":
        clip = clip.flip(0)
    mean = torch.tensor(config.mean, dtype=torch.float32, device=clip.device)[:, None, None, None]
    std = torch.tensor(config.std, dtype=torch.float32, device=clip.device)[:, None, None, None]
    return clip.float().div_(255).sub_(mean).div_(std)  # in place: a frame of full size can be large
