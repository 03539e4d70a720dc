"""What a file may ask for before it is refused; who needs more sets the environment variable that the message names.

Variables, because they reach worker processes and every verb alike; the option for damage sets its variable.
"""

import os

from morphmlp.errors import ConfigError, MediaError

# 8192 x 8192: reading, normalising and resizing it takes 1.8 GB at the peak. A photograph of 64 megapixels fits.
MOST_PIXELS = 2**26

# 8192 x 4320, the largest that cameras record. A decoder holds up to 17 frames of 1.5 bytes a pixel, 0.9 GB.
MOST_FRAME_PIXELS = 8192 * 4320

# A video is broken if this share of its packets, or more, cannot be decoded.
MOST_DAMAGE = 0.5

# Of the frames that a window of a stream holds, as they were decoded: 43 s of 1920 x 1080 px at 30 frames a second.
MOST_WINDOW_BYTES = 2**32

# Of the copies of files at addresses, in GB of 10^9 bytes.
MOST_CACHE_GB = 50.0

CACHE_SIZE_VARIABLE = "MORPHMLP_CACHE_GB"
WINDOW_VARIABLE = "MORPHMLP_MAX_WINDOW_BYTES"
PIXELS_VARIABLE = "MORPHMLP_MAX_PIXELS"
DAMAGE_VARIABLE = "MORPHMLP_MAX_DAMAGE"


def most_pixels(default: int) -> int:
    """The most pixels of an image or a frame: `default`, or what the environment says.

    Raises:
        ConfigError: the variable holds no number above 0.
    """
    return int(_from_environment(PIXELS_VARIABLE, default, highest=2**31))


def refuse_giant(path: str | os.PathLike[str], width: int, height: int, *, default: int, what: str) -> None:
    """Raises MediaError where a picture has more pixels than `most_pixels(default)`.

    Args:
        what: that is read, for the message.
    """
    limit = most_pixels(default)
    if width * height > limit:
        raise MediaError(
            path,
            f"is {width} x {height} px, above the {limit} {what} that are read; scale it down, or set "
            f"{PIXELS_VARIABLE}={width * height} if there is the memory",
        )


def refuse_giant_window(path: str | os.PathLike[str], num_frames: int, num_bytes: int) -> None:
    """Raises MediaError where the frames of a window take more memory than is taken for them."""
    if num_bytes > (limit := _from_environment(WINDOW_VARIABLE, MOST_WINDOW_BYTES, highest=2**50)):
        raise MediaError(
            path,
            f"{num_frames} frames of one window take {num_bytes / 1e9:.3g} GB, above {limit / 1e9:.3g}; give a shorter "
            f"--length, or set {WINDOW_VARIABLE} if there is the memory",
        )


def most_damage() -> float:
    """The share of packets that cannot be decoded from which on a video is broken.

    Raises:
        ConfigError: the variable holds no number above 0 and up to 1.
    """
    return _from_environment(DAMAGE_VARIABLE, MOST_DAMAGE, highest=1)


def set_most_damage(share: float | None) -> None:
    """Sets what `most_damage` says in this process and in those that it starts; None leaves it as it is.

    Raises:
        ConfigError: the share is not above 0 and up to 1.
    """
    if share is None:
        return
    if not 0 < share <= 1:
        raise ConfigError(f"max_damage is {share}; allowed: above 0, up to 1")
    os.environ[DAMAGE_VARIABLE] = str(share)


def most_cache_bytes() -> float:
    """How many bytes the copies may have.

    Raises:
        ConfigError: the variable holds no number above 0.
    """
    return _from_environment(CACHE_SIZE_VARIABLE, MOST_CACHE_GB, highest=1e6) * 1e9


def set_cache_size(size_gb: float | None) -> None:
    """Sets what `most_cache_bytes` says in this process and in those that it starts; None leaves it as it is.

    Raises:
        ConfigError: the size is not above 0.
    """
    if size_gb is None:
        return
    if not 0 < size_gb <= 1e6:
        raise ConfigError(f"cache_gb is {size_gb:g}; allowed: above 0, up to 1,000,000")
    os.environ[CACHE_SIZE_VARIABLE] = str(size_gb)


def _from_environment(name: str, default: float, *, highest: float) -> float:
    text = os.environ.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= highest:
        raise ConfigError(f"{name}={text!r}: expected a number above 0, up to {highest}")
    return value
