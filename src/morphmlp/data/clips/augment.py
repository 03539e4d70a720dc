"""From decoded frames to a random training clip: rand-augment, crop, flip, colours, turn, erased box; all frames alike.

Frames are uint8 `[T, H, W, 3]` in RGB; clips are float32 `[3, T, h, w]`, normalised. An image is a clip of one frame.
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from morphmlp.config import AugmentConfig, InputConfig
from morphmlp.data.clips.rand_augment import Box, apply_steps, draw_steps
from morphmlp.data.clips.views import normalise


class TrainingClip(NamedTuple):
    """A random clip, float32 `[3, T, h, w]`, and whether left and right were exchanged."""

    clip: Tensor
    flipped: bool


def training_clip(
    frames: np.ndarray, config: InputConfig, augment: AugmentConfig, *, seed: int, may_flip: bool = True
) -> TrainingClip:
    """One random clip of `[T, H, W, 3]` uint8; all frames are changed alike.

    With `augment.rand_augment` the order is that of the released loaders: rand-augment on whole frames, normalise, crop
    and resize in floats, flip, erase. Here a frame is cropped and resized before it is normalised: these are linear, so
    the values are the same to rounding. With `augment.crop_first`, and without rand-augment, frames are cropped and
    resized to whole levels first.

    The result depends on the arguments alone: the frameworks' random states are left as they were. `may_flip` changes
    nothing but the flip.
    """
    steps = []
    if augment.rand_augment is not None:
        steps = draw_steps(augment.rand_augment, fill=_fill(config, len(frames)), seed=seed)
    crop_last = augment.rand_augment is not None and not augment.crop_first
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would seed the accelerators too
        crop = _random_crop(_crop_ratio(frames.shape[1:3], config), config, augment.crop_area, augment.crop_ratio)
        if crop_last:
            clip = _as_images(apply_steps(frames, steps, box=_draw_box(crop, _as_images(frames))))
        else:
            clip = crop(_as_images(frames))
            if steps:
                clip = _as_images(apply_steps(clip.permute(0, 2, 3, 1).contiguous().numpy(), steps))
        flipped = bool(torch.rand(1) < augment.flip) and may_flip
        if flipped:
            clip = clip.flip(-1)
        if augment.color or augment.gray:
            clip = _color_changes(augment.color, augment.gray)(clip)
        if crop_last:
            clip = _resized(clip, config)
        if augment.rotate:
            degrees = torch.empty(()).uniform_(-augment.rotate, augment.rotate).item()
            clip = _turned(clip, -degrees if flipped else degrees)  # a flipped clip is the mirror image in this, too
        clip = normalise(clip.transpose(0, 1).contiguous(), config)  # [T, 3, h, w] -> [3, T, h, w]
        if torch.rand(()) < augment.erase:
            _erase_box(clip)
    return TrainingClip(clip, flipped)


def _fill(config: InputConfig, num_frames: int) -> tuple[int, ...]:
    """The colour (RGB) that rand-augment's turns and shifts let in: grey in videos as released, in images the mean."""
    if num_frames > 1:
        return (128, 128, 128)
    mean = config.mean if config.channel_order == "rgb" else config.mean[::-1]
    return tuple(min(255, round(255 * value)) for value in mean)


def _as_images(frames: np.ndarray) -> Tensor:
    return torch.from_numpy(frames).permute(0, 3, 1, 2)  # [T, H, W, 3] -> [T, 3, H, W], as torchvision takes videos


def _crop_ratio(frame_size: tuple[int, ...], config: InputConfig) -> float:
    """Width over height of a random crop that is not distorted in the clip."""
    height, width = frame_size if config.fit == "stretch" else config.crop
    return width / height


@lru_cache(maxsize=64)  # building a module costs as much as a small image's crop; it keeps no state
def _random_crop(ratio: float, config: InputConfig, smallest_area: float, largest_ratio: float) -> Any:
    from torchvision.transforms import v2  # takes seconds to import

    return v2.RandomResizedCrop(
        config.crop,
        scale=(smallest_area, 1.0),
        ratio=(ratio / largest_ratio, ratio * largest_ratio),
        interpolation=v2.InterpolationMode(config.interpolation),
        antialias=config.antialias,
    )


def _draw_box(crop: Any, clip: Tensor) -> Box:
    """The part of the frames that a random crop takes.

    torchvision's draw is that of the released loaders: ten tries of an area and, on a logarithmic scale, a ratio; then
    the largest box in the middle.
    """
    box = crop.make_params([clip])
    return Box(box["top"], box["left"], box["height"], box["width"])


@lru_cache(maxsize=64)
def _color_changes(strength: float, gray: float) -> Any:
    """Random colour changes on uint8 `[T, 3, H, W]`."""
    from torchvision.transforms import v2

    steps: list[Any] = []
    if strength:
        steps.append(v2.ColorJitter(*[strength] * 3))
    if gray:
        steps.append(v2.RandomGrayscale(gray))
    return v2.Compose(steps)


def _resized(clip: Tensor, config: InputConfig) -> Tensor:
    """`[T, 3, H, W]` uint8 -> float32 `[T, 3, *crop]`, levels between the whole ones."""
    mode, antialias = config.interpolation, config.antialias
    return F.interpolate(clip.float(), size=config.crop, mode=mode, align_corners=False, antialias=antialias)


def _turned(clip: Tensor, degrees: float) -> Tensor:
    """`[T, 3, h, w]` turned about its middle -> float32; what is beyond the edge is its mirror image."""
    height, width = clip.shape[-2:]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # Both sides are -1 to 1 for `affine_grid`, so a turn in pixels is a skew there.
    turn = torch.tensor([[cosine, -sine * height / width, 0.0], [sine * width / height, cosine, 0.0]])
    grid = F.affine_grid(turn[None], [1, 1, height, width], align_corners=False)
    frames = clip.reshape(1, -1, height, width).float()  # all frames as channels: one grid for them
    return F.grid_sample(frames, grid, padding_mode="reflection", align_corners=False).view(clip.shape)


def _erase_box(clip: Tensor) -> None:
    """Overwrites one box of 2 % to 1/3 of the area with noise, the same over time (random erasing)."""
    height, width = clip.shape[-2:]
    area = height * width * torch.empty(()).uniform_(0.02, 1 / 3).item()
    ratio = math.exp(torch.empty(()).uniform_(math.log(0.3), math.log(1 / 0.3)).item())
    box_height = min(height, max(1, round(math.sqrt(area * ratio))))
    box_width = min(width, max(1, round(math.sqrt(area / ratio))))
    top = int(torch.randint(height - box_height + 1, ()))
    left = int(torch.randint(width - box_width + 1, ()))
    noise = torch.randn(clip.shape[0], 1, box_height, box_width)
    clip[..., top : top + box_height, left : left + box_width] = noise
