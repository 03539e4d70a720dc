"""Image and mask together: the random crops that a segmentation model is trained on, and the whole image of its test.

Images are uint8 `[H, W, 3]` in RGB; masks are uint8 `[H, W]`: the class of each pixel, or `IGNORED`. Both are sampled
at the same points, the centres of the new pixels: the image between its pixels (bilinear), the mask at the nearest one.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from morphmlp.config import AugmentConfig, InputConfig
from morphmlp.data.clips.views import eval_views, normalise
from morphmlp.tasks.segmentation.annotations import IGNORED

MOST_CROP_DRAWS = 10
LONGEST_SIDE = 4  # times the short one, in training: the 2048 x 512 px of the ADE20K recipe


def training_crop(
    image: np.ndarray, mask: np.ndarray, config: InputConfig, augment: AugmentConfig, *, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """One random crop: float32 `[3, *crop]`, normalised, and uint8 `[*crop]` (the train transform of Sec. 4.4).

    Scale, crop, flip, colours, in this order. Where the scaled image is smaller than the crop, zeros (the mean colour)
    and `IGNORED` fill the right and the bottom. The result depends on the arguments alone.
    """
    factor = generator.uniform(*augment.scale)
    size = scaled_size(*mask.shape, short_side=max(1, round(config.resize * factor)))
    labels = resize_mask(mask, size)
    top, left = _draw_corner(labels, config.crop, augment.max_class_share, generator)
    window = np.s_[..., top : top + config.crop[0], left : left + config.crop[1]]
    pixels, labels = _resize_image(image, size, config)[window], torch.from_numpy(labels[window])
    if generator.random() < augment.flip:
        pixels, labels = pixels.flip(-1), labels.flip(-1)
    pixels = _distort_colors(pixels, augment.color, generator)
    pixels = normalise(pixels[:, None], config)[:, 0]  # as a clip of one frame, [3, 1, h, w]
    return _padded(pixels, config.crop, value=0), _padded(labels, config.crop, value=IGNORED)


def whole_image(image: np.ndarray, config: InputConfig) -> Tensor:
    """The test transform of `fit="whole"`: `[H, W, 3]` uint8 -> `[1, 3, h, w]` float32, h and w multiples of 32.

    The mask stays as it is: a model's scores are brought to its size.
    """
    return eval_views(image[None], config, num_crops=1)[:, :, 0]


def scaled_size(height: int, width: int, *, short_side: int) -> tuple[int, int]:
    """Height and width with the short side as given, in proportion, and to the nearest pixel.

    The long side ends at `LONGEST_SIDE` times `short_side`; a longer image gets a smaller short side.

    >>> scaled_size(364, 500, short_side=512)  # 512 x 703.3
    (512, 703)
    >>> scaled_size(100, 1000, short_side=512)  # 2048 px at most
    (205, 2048)
    """
    factor = min(short_side / min(height, width), LONGEST_SIDE * short_side / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`[H, W]` -> `size`: each new pixel takes the old one that its centre lies in.

    >>> resize_mask(np.array([[0, 1, 2, 3]]), (1, 2))  # centres at 1 and 3 of 4, on the borders of pixels
    array([[1, 3]])
    """
    rows, columns = (_nearest(old, new) for old, new in zip(mask.shape, size, strict=True))
    return mask[rows][:, columns]


def _nearest(old: int, new: int) -> np.ndarray:
    """Old index of each new one, floor((i + 1/2) * old / new) in whole numbers."""
    return (2 * np.arange(new) + 1) * old // (2 * new)


def _resize_image(image: np.ndarray, size: tuple[int, int], config: InputConfig) -> Tensor:
    """`[H, W, 3]` uint8 -> `[3, *size]` uint8: in whole levels, which takes less than half the time of floats."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]  # [H, W, 3] -> [1, 3, H, W]
    mode, antialias = config.interpolation, config.antialias
    return F.interpolate(pixels, size=size, mode=mode, align_corners=False, antialias=antialias)[0]


def _draw_corner(
    labels: np.ndarray, crop: tuple[int, int], max_class_share: float, generator: np.random.Generator
) -> tuple[int, int]:
    """Top and left of a crop that no class fills, or of the last one drawn."""
    height, width = crop
    rooms = (max(labels.shape[0] - height, 0), max(labels.shape[1] - width, 0))
    corners = generator.integers(0, rooms, size=(MOST_CROP_DRAWS, 2), endpoint=True).tolist()
    for top, left in corners:
        if _is_varied(labels[top : top + height, left : left + width], max_class_share):
            return top, left
    return corners[-1]


def _is_varied(labels: np.ndarray, max_class_share: float) -> bool:
    """Whether no class covers more than its share of the pixels that have one; False where none has."""
    counts = np.bincount(labels.ravel(), minlength=IGNORED + 1)[:IGNORED]
    return 0 < counts.max() <= max_class_share * counts.sum()


def _distort_colors(pixels: Tensor, strength: float, generator: np.random.Generator) -> Tensor:
    """`[3, h, w]` uint8 -> float32 in 0..255: random brightness, contrast, saturation and hue, each in half the cases.

    Strength 1/2 gives the ranges that ADE20K is usually trained with: brightness +-32 of 255, contrast and saturation
    times 0.5 to 1.5, hue +-1/10 of a turn. Hue is turned about the grey axis of RGB instead of HSV's hexagon; so all
    four are one 3 x 3 matrix and a shift, which takes a tenth of the time.
    """
    if not strength:
        return pixels.float()
    is_on = generator.random(4) < 0.5
    brightness, contrast, saturation, hue = generator.uniform(-strength, strength, size=4) * is_on
    matrix = (1 + contrast) * _hue_matrix(turns=hue / 5) @ _saturation_matrix(1 + saturation)
    changed = torch.from_numpy(matrix).float() @ pixels.flatten(1).float() + brightness * 255 / 4
    return changed.clamp(0, 255).view(pixels.shape)


def _saturation_matrix(factor: float) -> np.ndarray:
    """Mixes a colour with the grey of its brightness (ITU-R BT.601); factor 0 leaves the grey, 1 the colour."""
    brightness = np.array([0.299, 0.587, 0.114])
    return factor * np.eye(3) + (1 - factor) * brightness  # the same row three times


def _hue_matrix(turns: float) -> np.ndarray:
    """Rotation about the grey axis (Rodrigues' formula); 1/3 of a turn makes red green, green blue, and blue red."""
    angle = 2 * math.pi * turns
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)  # cross product with (1, 1, 1) / sqrt(3)
    return math.cos(angle) * np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) / 3


def _padded(pixels: Tensor, size: tuple[int, int], *, value: float) -> Tensor:
    """`[..., h, w]` -> `[..., *size]`, filled at the right and the bottom."""
    height, width = pixels.shape[-2:]
    return F.pad(pixels, (0, size[1] - width, 0, size[0] - height), value=value)
