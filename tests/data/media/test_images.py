"""Images of every colour mode and orientation give the pixels that a person sees; the rest is one named error."""

import os
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from morphmlp.data.media import images
from morphmlp.data.media.images import IMAGE_SUFFIXES, read_image
from morphmlp.errors import MediaError

HEIGHT, WIDTH = 6, 8


def picture(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def grey(levels: np.ndarray) -> np.ndarray:
    """[H, W] -> [H, W, 3]"""
    return np.repeat(levels.astype(np.uint8)[..., None], 3, axis=2)


# Formats


LOSSY = {".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".webp", ".pbm", ".pgm", ".heic", ".heif", ".hif", ".avif"}


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES - LOSSY))
def test_a_lossless_format_gives_its_pixels(tmp_path: Path, suffix: str):
    pixels = read_image(saved(tmp_path / f"x{suffix}", Image.fromarray(picture())))
    assert np.array_equal(pixels, picture())
    assert (pixels.dtype, pixels.flags.writeable, pixels.flags.c_contiguous) == (np.uint8, True, True)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp", ".gif"])
def test_a_lossy_format_gives_about_its_pixels(tmp_path: Path, suffix: str):
    flat = np.broadcast_to(np.array([200, 90, 30], np.uint8), (16, 24, 3))
    assert np.abs(read_image(saved(tmp_path / f"x{suffix}", Image.fromarray(flat))).astype(int) - flat).max() <= 4


def test_the_content_tells_the_format_not_the_ending(tmp_path: Path):
    assert np.array_equal(read_image(saved(tmp_path / "x.jpg", Image.fromarray(picture()), format="PNG")), picture())


def test_a_path_may_be_text_and_hold_any_script(tmp_path: Path):
    path = saved(tmp_path / "挥手 (čaj).png", Image.fromarray(picture()))
    assert np.array_equal(read_image(str(path)), picture())


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".webp", ".png"])
def test_of_several_pictures_the_first_is_read(tmp_path: Path, suffix: str):
    pages = [Image.fromarray(grey(np.full((HEIGHT, WIDTH), level))) for level in (10, 250)]
    options = {"lossless": True} if suffix == ".webp" else {}
    path = saved(tmp_path / f"x{suffix}", pages[0], save_all=True, append_images=pages[1:], **options)
    assert np.array_equal(read_image(path), np.array(pages[0]))


# Colour modes


def test_grey_levels_become_equal_colours(tmp_path: Path):
    levels = picture()[..., 0]
    assert np.array_equal(read_image(saved(tmp_path / "x.png", Image.fromarray(levels))), grey(levels))


def test_one_bit_becomes_black_and_white(tmp_path: Path):
    bits = picture()[..., 0] > 127
    for name in ("x.png", "x.pbm", "x.tif"):
        assert np.array_equal(read_image(saved(tmp_path / name, Image.fromarray(bits))), grey(bits * 255))


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.pgm"])
def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path, name: str):
    levels = np.array([[0, 128, 129, 256, 257, 385, 386], [32767, 32768, 65407, 65406, 65534, 65535, 300]], np.uint16)
    expected = np.rint(levels / 65535 * 255)
    assert expected.tolist()[0] == [0, 0, 1, 1, 1, 1, 2]
    assert np.array_equal(read_image(saved(tmp_path / name, Image.fromarray(levels))), grey(expected))


def test_sixteen_bits_of_the_other_byte_order_are_the_same(tmp_path: Path):
    levels = np.array([[0, 257, 65535]], np.uint16)
    path = saved(tmp_path / "x.tif", Image.frombytes("I;16B", (3, 1), levels.astype(">u2").tobytes()))
    assert np.array_equal(read_image(path), grey(np.array([[0, 1, 255]])))


@pytest.mark.parametrize("levels", [np.array([[0, 70000]], np.int32), np.array([[0.0, 1.0]], np.float32)])
def test_grey_levels_of_an_unknown_range_are_refused(tmp_path: Path, levels: np.ndarray):
    with pytest.raises(MediaError, match=r"has grey levels that are not of 8 or 16 bits \(mode [IF]\)"):
        read_image(saved(tmp_path / "x.tif", Image.fromarray(levels)))


def test_a_palette_is_looked_up(tmp_path: Path):
    image = Image.fromarray(picture()).quantize(16)
    assert np.array_equal(read_image(saved(tmp_path / "x.png", image)), np.array(image.convert("RGB")))


def test_transparent_parts_become_white_and_half_transparent_ones_half(tmp_path: Path):
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[0], alpha[1] = 255, 128
    pixels = read_image(saved(tmp_path / "x.png", Image.fromarray(np.dstack([picture(), alpha]))))
    assert np.array_equal(pixels[0], picture()[0])
    assert np.abs(pixels[1] - (picture()[1] * (128 / 255) + 127)).max() <= 1
    assert (pixels[2:] == 255).all()


@pytest.mark.parametrize("transparency", [1, bytes([255, 0])], ids=["one colour", "table"])
def test_a_transparent_colour_of_a_palette_becomes_white(tmp_path: Path, transparency: int | bytes):
    image = Image.fromarray(np.array([[0, 1, 0, 1]], np.uint8))
    image.putpalette([10, 20, 30, 40, 50, 60])
    pixels = read_image(saved(tmp_path / "x.png", image, transparency=transparency))
    assert pixels[0].tolist() == [[10, 20, 30], [255, 255, 255]] * 2


def test_grey_with_transparency_is_filled_too(tmp_path: Path):
    image = Image.fromarray(np.array([[[40, 255], [40, 0]]], np.uint8))
    assert image.mode == "LA"
    assert read_image(saved(tmp_path / "x.png", image))[0].tolist() == [[40, 40, 40], [255, 255, 255]]


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_printing_colours_become_screen_colours(tmp_path: Path, suffix: str):
    cyan_ink = np.broadcast_to(np.array([255, 0, 0, 0], np.uint8), (16, 16, 4))
    pixels = read_image(saved(tmp_path / f"x{suffix}", Image.fromarray(cyan_ink, mode="CMYK")))
    assert np.abs(pixels.astype(int) - [0, 255, 255]).max() <= 2


# Orientation


def upright_corner(orientation: int) -> tuple[int, int]:
    """Where the pixel that is stored first is seen, as EXIF words it: 0th row at which side, 0th column at which."""
    top_or_left = {1: "tl", 2: "tr", 3: "br", 4: "bl", 5: "tl", 6: "tr", 7: "br", 8: "bl"}[orientation]
    return (0 if top_or_left[0] == "t" else -1, 0 if top_or_left[1] == "l" else -1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_an_orientation_is_undone(tmp_path: Path, orientation: int, suffix: str):
    stored = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    stored[0, 0], stored[0, -1] = (255, 0, 0), (0, 255, 0)  # the first pixel red, the end of the first row green
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == ".webp" else {}
    pixels = read_image(saved(tmp_path / f"x{suffix}", Image.fromarray(stored), exif=exif, **options))
    on_its_side = orientation >= 5
    assert pixels.shape == ((WIDTH, HEIGHT, 3) if on_its_side else (HEIGHT, WIDTH, 3))
    red = upright_corner(orientation)
    # The stored row runs along the columns that are seen, or, on its side, along the rows.
    green = (-1 - red[0], red[1]) if on_its_side else (red[0], -1 - red[1])
    assert pixels[red].tolist() == [255, 0, 0]
    assert pixels[green].tolist() == [0, 255, 0]
    assert pixels.sum() == 2 * 255


def test_a_photograph_is_turned_too(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    dark_left = np.zeros((32, 48, 3), np.uint8)
    dark_left[:, 24:] = 240
    pixels = read_image(saved(tmp_path / "x.jpg", Image.fromarray(dark_left), exif=exif))
    assert pixels.shape == (48, 32, 3)
    assert pixels[:20].max() < 20
    assert pixels[28:].min() > 220


@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12", b"Exif\0\0"])
def test_a_damaged_exif_block_is_passed_over(tmp_path: Path, exif: bytes):
    flat = Image.fromarray(grey(np.full((HEIGHT, WIDTH), 100)))
    assert np.abs(read_image(saved(tmp_path / "x.jpg", flat, exif=exif)).astype(int) - 100).max() <= 1


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_an_orientation_that_does_not_exist_is_passed_over(tmp_path: Path, orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(read_image(saved(tmp_path / "x.png", Image.fromarray(picture()), exif=exif)), picture())


# What cannot be read


def png_header(width: int, height: int) -> bytes:
    """A PNG file that claims a size, with a few bytes of pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def unusable_file(kind: str, path: Path) -> Path:
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("not an image\n" * 500)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "cut off":
        whole = saved(path, Image.fromarray(picture(64, 64))).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "no pixels":
        path.write_bytes(png_header(64, 64))
    elif kind == "above the limit":
        path.write_bytes(png_header(8192, 8193))
    elif kind == "Pillow warns":
        path.write_bytes(png_header(12_000, 12_000))
    elif kind == "Pillow refuses":
        path.write_bytes(png_header(60_000, 60_000))
    elif kind == "svg":
        path.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    return path


UNUSABLE = {
    "missing": "cannot be opened .No such file",
    "folder": "is a folder",
    "empty": "is empty .0 bytes.",
    "text": "is not an image that can be read .JPEG, PNG,",
    "svg": "is not an image",
    "pipe": "is not a regular file",
    "cut off": "cannot be decoded as an image .*truncated",
    "no pixels": "cannot be decoded as an image",
    "above the limit": "is 8192 x 8193 px, above the 67108864 pixels that are read; scale it down",
    "Pillow warns": "is 12000 x 12000 px, above the 67108864 pixels",
    "Pillow refuses": "shrink it first",
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_an_unusable_file_is_one_named_error(tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str):
    path = unusable_file(kind, tmp_path / "x.png")
    with pytest.raises(MediaError, match=UNUSABLE[kind]) as caught:
        read_image(path)
    assert caught.value.path == path
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_the_limit_itself_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = saved(tmp_path / "x.png", Image.fromarray(picture()))
    monkeypatch.setattr(images, "MOST_PIXELS", HEIGHT * WIDTH)
    assert np.array_equal(read_image(path), picture())
    monkeypatch.setattr(images, "MOST_PIXELS", HEIGHT * WIDTH - 1)
    with pytest.raises(MediaError, match="is 8 x 6 px, above the 47 pixels"):
        read_image(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.sampled_from(["jpg", "png", "gif", "tif", "webp", "bmp", "ppm"]), st.randoms(use_true_random=False))
def test_a_damaged_file_is_an_image_or_a_named_error_and_no_warning(folder: Path, suffix: str, random):
    path = saved(folder / f"x.{suffix}", Image.fromarray(picture(24, 24)))
    content = bytearray(path.read_bytes())
    for _ in range(random.randrange(1, 6)):
        content[random.randrange(len(content))] = random.randrange(256)
    path.write_bytes(content[: random.choice([len(content), random.randrange(1, len(content))])])
    with suppress(MediaError):
        assert read_image(path).shape[2] == 3


MEASURE_PEAK = """
import resource, sys
from morphmlp.data.media.images import read_image
from morphmlp.errors import MediaError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_image(sys.argv[1])
except MediaError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss differs")
def test_a_giant_image_is_refused_before_it_takes_memory(tmp_path: Path):
    path = unusable_file("Pillow warns", tmp_path / "x.png")
    command = [sys.executable, "-W", "error", "-c", MEASURE_PEAK, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(result.stdout) < 20_000  # in KiB; the picture is 420,000


@pytest.mark.skipif(sys.platform != "linux", reason="where Pillow keeps its libtiff differs")
@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_a_damaged_tiff_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str], compression: str):
    path = tmp_path / "x.tif"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(
        path, compression=compression
    )
    content = bytearray(path.read_bytes())
    content[12:600:7] = bytes(byte ^ 0x5A for byte in content[12:600:7])
    path.write_bytes(content)
    with pytest.raises(MediaError, match="cannot be decoded as an image"):
        read_image(path)
    assert capfd.readouterr() == ("", "")
