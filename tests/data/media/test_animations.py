"""Images that move are videos where videos are wanted, and images by content are images whatever their ending."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from morphmlp.data.media.animations import is_animation
from morphmlp.data.media.images import describe_image, read_image
from morphmlp.data.media.video import probe, read_clip, read_frames
from morphmlp.data.sets.find import expand_paths
from morphmlp.data.sets.read import read_set
from morphmlp.errors import DataError, MediaError

LEVELS = [0, 60, 120, 180, 240]


def write_animation(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = [Image.new("RGB", (8, 6), (level,) * 3) for level in LEVELS]
    lossless = {"lossless": True} if path.suffix == ".webp" else {}
    first.save(path, save_all=True, append_images=others, duration=50, **lossless)
    return path


@pytest.mark.parametrize("name", ["x.gif", "x.webp", "x.png"])
def test_an_animation_is_a_video_and_its_first_picture_an_image(tmp_path: Path, name: str):
    path = write_animation(tmp_path / name)
    info = probe(path)
    assert (info.num_frames, info.fps, info.height, info.width) == (5, 20.0, 6, 8)
    clip = read_clip(path, lambda num_frames, fps: [num_frames - 1, 0, 2, 2])
    assert clip[:, 0, 0, 0].tolist() == [240, 0, 120, 120]
    np.testing.assert_array_equal(read_frames(path, [4, 0, 2, 2]), clip)
    assert read_clip(path, lambda num_frames, fps: [num_frames - 1], stills=True)[0, 0, 0, 0] == 0
    with pytest.raises(MediaError, match="holds 5 frames, so there is no frame 5"):
        read_frames(path, [5])


def test_a_still_is_no_animation(tmp_path: Path):
    Image.new("RGB", (8, 6)).save(tmp_path / "x.gif")
    assert not is_animation(tmp_path / "x.gif")
    assert not is_animation(tmp_path / "missing.gif")
    with pytest.raises(MediaError, match="is an image, so there is no frame 1"):
        read_frames(tmp_path / "x.gif", [1])


def test_class_folders_of_animations_are_videos_and_of_stills_images(tmp_path: Path):
    for number in range(6):
        write_animation(tmp_path / f"moving/{'ab'[number % 2]}/{number}.gif")
        still = tmp_path / f"still/{'ab'[number % 2]}/{number}.gif"
        still.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(still)
    assert read_set(tmp_path / "moving").kind == "video"
    assert read_set(tmp_path / "still").kind == "image"
    assert [path.name for path in expand_paths([str(tmp_path / "moving" / "a")], "video")] == [
        "0.gif",
        "2.gif",
        "4.gif",
    ]


def test_an_address_among_paths_is_refused_before_it_loses_a_slash():
    with pytest.raises(DataError, match=r"https://host/a\.mp4 is an address, and only files are read"):
        expand_paths(["https://me:secret@host/a.mp4?token=1"], "video")


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_described_as_it_is_read_and_frames_keep_its_shape(tmp_path: Path, orientation: int):
    (tmp_path / "clip").mkdir()
    path = tmp_path / "clip" / "0.tif"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)).save(path, exif=exif(orientation))
    picture = read_image(path)
    info = describe_image(path)
    assert (info.height, info.width) == picture.shape[:2]
    np.testing.assert_array_equal(read_frames(tmp_path / "clip", [0])[0], picture)


@pytest.mark.parametrize("name", ["x.photo", "x", "x.mp4"])
def test_an_image_is_told_by_its_content(tmp_path: Path, name: str):
    Image.new("RGB", (8, 6), (200, 0, 0)).save(tmp_path / "x.jpg", exif=exif(6))
    shutil.copy(tmp_path / "x.jpg", tmp_path / name)
    assert read_clip(tmp_path / name, lambda *_: [0]).shape == (1, 8, 6, 3)  # upright, as FFmpeg would not
    assert (probe(tmp_path / name).num_frames, probe(tmp_path / name).codec) == (1, "jpeg")


@pytest.mark.parametrize("name", ["x.heic", "x.photo", "x.jpg"])
def test_a_heic_image_needs_a_package_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MediaError, match=r"is a HEIC image, which needs pillow-heif: pip install 'morphmlp\[heif\]'"):
        read_clip(tmp_path / name, lambda *_: [0])


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_an_avif_image_is_read(tmp_path: Path):
    Image.new("RGB", (40, 30), (200, 0, 0)).save(tmp_path / "x.avif")
    assert np.abs(read_image(tmp_path / "x.avif")[15, 20].astype(int) - [200, 0, 0]).max() < 5
