"""From an image file to RGB pixels as a person sees them: upright, with transparency filled in.

Decoding is Pillow's. Whatever is wrong with a file is one `MediaError` that names it, and none of Pillow's warnings.
"""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError, features
from PIL.TiffImagePlugin import TiffImageFile

from morphmlp.data.media.formats import HEAD_BYTES, head_of, heif_kind, require_filled_file
from morphmlp.data.media.libtiff import silence_libtiff
from morphmlp.data.media.limits import MOST_PIXELS, refuse_giant
from morphmlp.data.media.remote import on_disk
from morphmlp.data.media.turns import TURNS, UPRIGHT, Turn
from morphmlp.errors import MediaError

_HEIF_SUFFIXES = frozenset([".heic", ".heif", ".hif", ".avif"])
IMAGE_SUFFIXES = _HEIF_SUFFIXES.union(
    [".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".webp", ".tif", ".tiff"],
    [".gif", ".pbm", ".pgm", ".ppm", ".pnm"],
)

_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")  # others run programs (EPS), or are no pictures
_EXIF_ORIENTATION = 0x0112
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257


class ImageInfo(NamedTuple):
    """What the header of an image says: its size in pixels as displayed, its format, such as "jpeg", and its turn.

    `rotation_degrees` is counter-clockwise, as that of a video: 0, 90, 180 or 270.
    """

    height: int
    width: int
    format: str
    rotation_degrees: int


def is_image_name(path: str | os.PathLike[str]) -> bool:
    """Whether the ending of a name is that of an image."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


def read_image(path: str | os.PathLike[str], *, content: bytes | None = None) -> np.ndarray:
    """Read an image of any colour mode; the format is told by the content, not by the file's ending.

    Transparent parts are filled with white, the page that most drawings are made for. 16-bit grey levels are divided
    by 257, so that 65535 becomes 255. Of an animation or a document of several pages, the first picture is read.

    Args:
        content: the bytes, where `path` is only the name in messages.

    Returns:
        [H, W, 3] RGB, uint8, turned upright as the EXIF orientation says.

    Raises:
        MediaError: the file is missing, empty, not an image, cut off, or has more than `MOST_PIXELS` pixels. The
            pixels are counted before any is decoded.

    >>> read_image("photograph.jpg").shape
    (1536, 2048, 3)
    """
    with opened_image(path, content) as image:
        refuse_giant_image(path, *image.size)
        image.load()
        return np.ascontiguousarray(_turn(image).apply(image_to_rgb(path, image)))


def describe_image(path: str | os.PathLike[str]) -> ImageInfo:
    """Describe the picture that `read_image` gives; no pixel is decoded.

    Raises:
        MediaError: the file is missing, empty or not an image.
    """
    with opened_image(path, None) as image:
        (width, height), turn = _stored_size(image), _turn(image)
        if turn.exchanges_sides:
            height, width = width, height
        return ImageInfo(height, width, (image.format or "").lower(), turn.degrees)


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """Width and height before the turn; of a TIFF, Pillow gives those after it in some versions."""
    if isinstance(image, TiffImageFile):
        return image.tag_v2.get(_TIFF_WIDTH, image.width), image.tag_v2.get(_TIFF_HEIGHT, image.height)
    return image.size


@contextmanager
def opened_image(path: str | os.PathLike[str], content: bytes | None) -> Iterator[Image.Image]:
    """An image whose header is read; whatever goes wrong until it is closed becomes one `MediaError`."""
    if content is None:
        require_filled_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which does not matter here, and of the size: see below
            file = on_disk(path) if content is None else io.BytesIO(content)
            with Image.open(file, formats=_formats(path, content)) as image:
                if isinstance(image, TiffImageFile):
                    silence_libtiff()
                yield image
    except MediaError:
        raise
    except UnidentifiedImageError:
        raise MediaError(path, f"is not an image that can be read ({', '.join(_FORMATS)})") from None
    except Image.DecompressionBombError:
        raise MediaError(path, f"has more than {MOST_PIXELS:,} pixels; shrink it first") from None
    except Exception as error:  # a damaged file makes Pillow's decoders raise almost anything
        cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise MediaError(path, f"cannot be decoded as an image ({cause})") from None


def _formats(path: str | os.PathLike[str], content: bytes | None) -> tuple[str, ...]:
    """Pillow's names of the formats that a file may have.

    Raises:
        MediaError: it is of one that needs a package which is not installed.
    """
    kind = heif_kind(head_of(path) if content is None else content[:HEAD_BYTES])
    if kind is None:
        return _FORMATS
    if kind == "AVIF" and features.check("avif"):
        return ("AVIF",)
    try:
        import_module("pillow_heif").register_heif_opener()
    except ImportError:
        raise MediaError(
            path, f"is a {kind} image, which needs pillow-heif: pip install 'morphmlp[heif]', or save it as JPEG"
        ) from None
    return ("HEIF",)


def refuse_giant_image(path: str | os.PathLike[str], width: int, height: int) -> None:
    """Raises MediaError where an image has more pixels than are read."""
    refuse_giant(path, width, height, default=MOST_PIXELS, what="pixels")


def image_to_rgb(path: str | os.PathLike[str], image: Image.Image) -> np.ndarray:
    """[H, W, 3] uint8 from any of Pillow's modes, as stored: not yet upright."""
    if image.mode.startswith(("I", "F")):
        return _from_deep_grey(path, image)
    if image.has_transparency_data:
        page = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(page, image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def _from_deep_grey(path: str | os.PathLike[str], image: Image.Image) -> np.ndarray:
    """Grey levels of more than 8 bits, whichever type Pillow keeps them in; `convert` would clip them at 255."""
    levels = np.asarray(image)
    if image.mode == "F" or levels.min() < 0 or levels.max() > 65535:
        raise MediaError(path, f"has grey levels that are not of 8 or 16 bits (mode {image.mode}); convert it")
    grey = ((levels.astype(np.int32) + 128) // 257).astype(np.uint8)  # to the nearest: 65535 = 255 * 257
    return np.repeat(grey[..., None], 3, axis=2)


def _turn(image: Image.Image) -> Turn:
    """The turn that the EXIF block asks for; none where the block is missing or damaged."""
    try:
        return TURNS.get(image.getexif().get(_EXIF_ORIENTATION, 1), UPRIGHT)
    except Exception:  # parsing what is damaged raises almost anything
        return UPRIGHT
