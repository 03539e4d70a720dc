"""Folders of images as videos: which images are frames, their order, and their pixels."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from morphmlp.data.media.frame_folders import list_frames
from morphmlp.data.media.sources import FrameFolder
from morphmlp.data.media.video import VideoInfo, probe, read_clip, read_frames
from morphmlp.errors import MediaError


def write_frames(folder: Path, names: list[str], *, size: tuple[int, int] = (8, 6)) -> Path:
    """Frame t has the grey level t; `size` is width and height."""
    folder.mkdir(parents=True, exist_ok=True)
    for level, name in enumerate(names):
        Image.new("RGB", size, (level, level, level)).save(folder / name)
    return folder


def levels(frames: np.ndarray) -> list[int]:
    return frames[:, 0, 0, 0].tolist()


def names_of(folder: Path | FrameFolder) -> list[str]:
    return [Path(file).name for file in list_frames(folder)]


def touch(folder: Path, names: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    "names",
    [
        ["1.jpg", "2.jpg", "10.jpg", "100.jpg"],
        ["00001.jpg", "00002.jpg", "00010.jpg"],
        ["img_9.png", "img_10.png", "img_11.PNG"],
        ["v2 t=0.5 f1.jpg", "v2 t=0.5 f2.jpg", "v2 t=1.25 f3.jpg"],
        ["frame1_000007.jpg", "frame2_000003.jpg"],
        ["9.jpg", "10.jpg", "a.jpg", "b2.jpg", "b10.jpg"],
        ["01.jpg", "1.jpg", "2.jpg"],
    ],
)
def test_frames_come_in_the_order_of_the_numbers_in_their_names(tmp_path: Path, names: list[str]):
    assert names_of(touch(tmp_path / "clip", names[::-1])) == names


def test_what_is_no_frame_is_left_out(tmp_path: Path):
    names = ["flow_x_1.jpg", "flow_y_1.jpg", "img_1.jpg", "img_2.jpg", ".img_3.jpg", "Thumbs.db", "sound.wav"]
    assert names_of(touch(tmp_path / "clip", names)) == ["img_1.jpg", "img_2.jpg"]


def test_a_folder_of_flow_alone_is_read(tmp_path: Path):
    assert names_of(touch(tmp_path / "clip", ["flow_x_1.jpg"])) == ["flow_x_1.jpg"]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.sets(st.integers(0, 2000), min_size=1, max_size=30), st.sampled_from(["{}.jpg", "{:05d}.jpg", "v2_{}_v3.jpg"])
)
def test_any_numbers_are_put_in_order(tmp_path_factory: pytest.TempPathFactory, numbers: set[int], pattern: str):
    folder = touch(tmp_path_factory.mktemp("clip"), [pattern.format(number) for number in numbers])
    assert names_of(folder) == [pattern.format(number) for number in sorted(numbers)]


# What a list states


@pytest.mark.parametrize("first", [0, 1, 38])
def test_a_stated_count_takes_the_first_frames_wherever_they_start(tmp_path: Path, first: int):
    folder = touch(tmp_path / "clip", [f"{first + i:05d}.jpg" for i in range(12)])
    assert names_of(FrameFolder(folder, None, 10)) == [f"{first + i:05d}.jpg" for i in range(10)]


@pytest.mark.parametrize("pattern", ["img_{:05d}.jpg", "clip2_{}.jpg", "{:03d}_v2.jpg", "7x{}x7.jpg"])
def test_a_stated_first_frame_is_found_by_its_number(tmp_path: Path, pattern: str):
    folder = touch(tmp_path / "clip", [pattern.format(i) for i in range(1, 31)])
    assert names_of(FrameFolder(folder, 13, 5)) == [pattern.format(i) for i in range(13, 18)]


def test_fewer_frames_than_stated_are_refused_with_both_numbers(tmp_path: Path):
    folder = touch(tmp_path / "clip", [f"{i}.jpg" for i in range(1, 10)])
    with pytest.raises(MediaError, match="clip: holds 9 frames, but its list states 10"):
        list_frames(FrameFolder(folder, None, 10))
    reason = "holds 4 of the 5 frames that its list states, numbered 6 to 10; those in the folder are numbered 1 to 9"
    with pytest.raises(MediaError, match=reason):
        list_frames(FrameFolder(folder, 6, 5))


def test_a_gap_in_the_numbers_is_refused(tmp_path: Path):
    folder = touch(tmp_path / "clip", ["1.jpg", "2.jpg", "4.jpg", "5.jpg"])
    with pytest.raises(MediaError, match="holds 3 of the 4 frames"):
        list_frames(FrameFolder(folder, 1, 4))


def test_a_stated_first_frame_needs_numbers(tmp_path: Path):
    with pytest.raises(MediaError, match=r"its frames have no numbers that tell them apart, such as a1\.jpg"):
        list_frames(FrameFolder(touch(tmp_path / "clip", ["a1.jpg", "b1.jpg"]), 1, 2))


# Pixels


def test_a_folder_is_probed_without_a_rate_of_its_own(tmp_path: Path):
    folder = write_frames(tmp_path / "clip", [f"{i}.png" for i in range(15)])
    assert probe(folder) == VideoInfo(
        num_frames=15, fps=30.0, height=6, width=8, rotation_degrees=0, duration_s=0.5, end_s=0.5, codec="frames"
    )
    assert probe(FrameFolder(folder, 4, 3)).num_frames == 3


def test_frames_come_in_the_order_asked_for(tmp_path: Path):
    folder = write_frames(tmp_path / "clip", [f"{i}.png" for i in range(15)])
    frames = read_frames(folder, [14, 0, 3, 3])
    assert (frames.shape, frames.dtype) == ((4, 6, 8, 3), np.uint8)
    assert levels(frames) == [14, 0, 3, 3]
    assert levels(read_frames(str(folder), [2])) == [2]
    assert levels(read_frames(FrameFolder(folder, 4, 3), [0, 2])) == [4, 6]


def test_only_wanted_frames_are_read_and_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = write_frames(tmp_path / "clip", [f"{i}.png" for i in range(15)])
    (folder / "7.png").write_bytes(b"broken")
    opened = []
    read = Image.Image.load
    monkeypatch.setattr(Image.Image, "load", lambda self: opened.append(1) or read(self))
    assert levels(read_frames(folder, [6, 8, 6, 8])) == [6, 8, 6, 8]
    opened.clear()
    read_frames(folder, [6])
    once = len(opened)
    opened.clear()
    read_frames(folder, [6] * 9)
    assert len(opened) == once


def test_a_clip_is_sampled_from_the_frames_of_a_folder(tmp_path: Path):
    folder = write_frames(tmp_path / "clip", [f"{i}.png" for i in range(15)])
    calls = []

    def sample(num_frames: int, fps: float) -> list[int]:
        calls.append((num_frames, fps))
        return [0, num_frames - 1]

    assert levels(read_clip(folder, sample)) == [0, 14]
    assert levels(read_clip(FrameFolder(folder, 4, 3), sample)) == [4, 6]
    assert calls == [(15, 30.0), (3, 30.0)]


def test_frames_of_another_size_are_scaled_to_the_first(tmp_path: Path):
    folder = write_frames(tmp_path / "clip", ["0.png", "1.png"])
    write_frames(folder, ["2.png", "3.png"], size=(16, 12))
    assert read_frames(folder, [3, 0]).shape == (2, 6, 8, 3)
    assert read_frames(folder, [3]).shape == (1, 6, 8, 3)  # also when no small frame is wanted
    assert levels(read_frames(folder, [3])) == [1]


def test_the_size_of_a_frame_that_lies_on_its_side_is_that_of_the_upright_one(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "clip").mkdir()
    for i in range(2):
        Image.new("RGB", (8, 6)).save(tmp_path / "clip" / f"{i}.jpg", exif=exif)
    assert (probe(tmp_path / "clip").height, probe(tmp_path / "clip").width) == (8, 6)
    assert read_frames(tmp_path / "clip", [1]).shape == (1, 8, 6, 3)


def test_a_frame_that_is_broken_is_named_in_the_error_of_its_folder(tmp_path: Path):
    folder = write_frames(tmp_path / "clip", [f"{i}.png" for i in range(5)])
    (folder / "3.png").write_bytes(b"no picture")
    with pytest.raises(MediaError, match=r"clip: frame 3\.png is not an image that can be read") as caught:
        read_frames(folder, [0, 3])
    assert caught.value.path == folder
    (folder / "0.png").write_bytes(b"")
    for read in (lambda: probe(folder), lambda: read_clip(folder, lambda *_: [1])):
        with pytest.raises(MediaError, match=r"clip: frame 0\.png is empty"):
            read()


def test_a_frame_after_the_end_is_an_error_that_gives_the_count(tmp_path: Path):
    folder = write_frames(tmp_path / "clip", [f"{i}.png" for i in range(5)])
    with pytest.raises(MediaError, match="holds 5 frames, so there is no frame 5"):
        read_frames(folder, [5])
    with pytest.raises(ValueError, match="indices="):
        read_frames(folder, [-1])


def test_a_missing_folder_and_one_without_images_are_named_errors(tmp_path: Path):
    with pytest.raises(MediaError, match=r"clip: cannot be listed \(No such file"):
        probe(FrameFolder(tmp_path / "clip", None, 3))
    with pytest.raises(MediaError, match="clip: is a folder without images"):
        probe(touch(tmp_path / "clip", ["notes.txt"]))


# Other series beside the frames

BESIDE = {
    "flow of TSN": ["img_{}.jpg", "x_{}.jpg", "y_{}.jpg"],
    "flow by its name": ["{}.jpg", "flow_x_{}.jpg", "flow_y_{}.jpg"],
    "flow at the end": ["img_{}.jpg", "img_{}_flow.jpg"],
    "an unknown series": ["frame_{}.png", "probability_{}.png"],
    "masks": ["{}.jpg", "{}_mask.png"],
}


@pytest.mark.parametrize("patterns", BESIDE.values(), ids=BESIDE)
def test_one_series_of_images_is_the_frames(tmp_path: Path, patterns: list[str]):
    folder = touch(tmp_path / "clip", [pattern.format(f"{i:05d}") for pattern in patterns for i in range(1, 6)])
    assert names_of(folder) == [patterns[0].format(f"{i:05d}") for i in range(1, 6)]


def test_two_series_of_which_none_is_called_frames_are_refused(tmp_path: Path):
    folder = touch(tmp_path / "clip", [f"{side}_{i}.jpg" for side in ("left", "right") for i in range(1, 6)])
    with pytest.raises(MediaError, match=r"two series of images side by side, left_#\.jpg and right_#\.jpg"):
        list_frames(folder)


def test_series_without_common_numbers_are_parts_of_one_video(tmp_path: Path):
    names = ["a_1.jpg", "a_2.jpg", "b_3.jpg", "b_4.jpg"]
    assert names_of(touch(tmp_path / "clip", names)) == names
