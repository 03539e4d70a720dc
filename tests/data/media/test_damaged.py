"""Damaged videos: what cannot be decoded is left out and counted, and every read gives the same frames."""

import struct
from pathlib import Path

import numpy as np
import pytest
from encoding import copy_video, moving_frames, write_video
from hypothesis import given, settings
from hypothesis import strategies as st

from morphmlp.config import InputConfig
from morphmlp.data.batches.loaders import TestClips, collate
from morphmlp.data.media import video as reading
from morphmlp.data.media.limits import set_most_damage
from morphmlp.data.media.streams import Stream
from morphmlp.data.media.video import count_decodable, probe, read_clip, read_frames
from morphmlp.data.sets.labelled import Sample
from morphmlp.errors import ConfigError, MediaError

NUM_FRAMES = 40
NO_B_FRAMES = {"bf": "0", "g": "1"}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "key.mp4", moving_frames(NUM_FRAMES), options=NO_B_FRAMES)


def damaged(source: Path, path: Path, numbers: set[int]) -> Path:
    return copy_video(source, path, lambda number, data: b"\xff" * len(data) if number in numbers else data)


@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
def test_one_packet_that_cannot_be_decoded_is_left_out(tmp_path: Path, codec: str):
    options = NO_B_FRAMES if codec == "libx264" else {}
    whole = write_video(tmp_path / "whole.mkv", moving_frames(NUM_FRAMES), codec=codec, options=options)
    path = damaged(whole, tmp_path / "x.mkv", {17})
    assert count_decodable(path) == NUM_FRAMES - 1
    kept = [number for number in range(NUM_FRAMES) if number != 17]
    right = read_frames(whole, kept)
    np.testing.assert_array_equal(read_frames(path, range(NUM_FRAMES - 1)), right)
    np.testing.assert_array_equal(read_clip(path, lambda n, fps: [0, 17, n - 1]), right[[0, 17, -1]])
    with pytest.raises(MediaError, match="holds 39 frames, so there is no frame 39"):
        read_frames(path, [39])


def test_a_recording_without_a_first_key_frame_begins_where_it_can(tmp_path: Path):
    options = {"g": "10", "keyint_min": "10", "auto-alt-ref": "0"}
    whole = write_video(tmp_path / "whole.webm", moving_frames(NUM_FRAMES), codec="libvpx-vp9", options=options)
    path = copy_video(whole, tmp_path / "x.webm", lambda number, data: None if number == 0 else data)
    np.testing.assert_array_equal(read_frames(path, range(30)), read_frames(whole, range(10, 40)))
    assert count_decodable(path) == 30


def test_half_of_the_packets_are_too_many_and_the_limit_can_be_raised(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = damaged(video, tmp_path / "x.mp4", set(range(10, 30)))
    with pytest.raises(
        MediaError,
        match=r"breaks after 11 good frame.*: 20 of 40 packets are damaged; --max_damage 1 \(or MORPHMLP_MAX",
    ):
        read_frames(path, [10])
    monkeypatch.setenv("MORPHMLP_MAX_DAMAGE", "0.6")
    np.testing.assert_array_equal(read_frames(path, [9, 10]), read_frames(video, [9, 30]))
    set_most_damage(0.4)
    with pytest.raises(MediaError, match="20 of 40 packets are damaged"):
        read_frames(path, [10])
    with pytest.raises(ConfigError, match="max_damage is 0; allowed: above 0, up to 1"):
        set_most_damage(0)
    monkeypatch.setenv("MORPHMLP_MAX_DAMAGE", "2")
    with pytest.raises(ConfigError, match="MORPHMLP_MAX_DAMAGE='2': expected a number above 0, up to 1"):
        read_frames(path, [10])


def test_what_the_header_states_beyond_the_packets_is_counted(video: Path, tmp_path: Path):
    assert probe(video).num_missing == 0
    whole = copy_video(video, tmp_path / "whole.mkv")
    content = whole.read_bytes()
    (tmp_path / "half.mkv").write_bytes(content[: len(content) // 2])
    info = probe(tmp_path / "half.mkv")
    assert info.num_frames < 25
    assert info.num_frames + info.num_missing == NUM_FRAMES


PYRAMID = {"bf": "5", "x264-params": "b-pyramid=normal:keyint=12"}


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("pyramid") / "x.mp4", moving_frames(NUM_FRAMES), options=PYRAMID)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    place=st.floats(0.02, 0.98),
    damage=st.sampled_from([b"\x00", b"\x00" * 90, b"\xff" * 40, b"\x41\x9e\x07" * 9]),
    wanted=st.lists(st.floats(0, 0.999), min_size=1, max_size=5),
)
def test_the_quick_read_of_a_damaged_file_is_the_full_one(pyramid: Path, place: float, damage: bytes, wanted):
    content = bytearray(pyramid.read_bytes())
    start = int(place * len(content))
    content[start : start + len(damage)] = damage
    path = pyramid.with_name("damaged.mp4")
    path.write_bytes(content)

    def sample(num_frames: int, fps: float) -> list[int]:
        return [int(share * num_frames) for share in wanted]

    try:
        quick = reading._decode_wanted(path, sample)
    except MediaError:
        quick = None
    if quick is not None:
        np.testing.assert_array_equal(quick, _read_fully(path, sample))


def _read_fully(path: Path, sample) -> np.ndarray:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_decode_wanted", lambda *_: None)
        return read_clip(path, sample)


@pytest.mark.parametrize("byte", [4, 5])
def test_an_unreferenced_picture_with_a_damaged_header_is_not_left_out(pyramid: Path, tmp_path: Path, byte: int):
    numbers = []

    def change(number: int, data: bytes) -> bytes:
        if data[4] >> 5 or number < 12 or numbers:
            return data
        numbers.append(number)
        return data[:byte] + b"\x00" + data[byte + 1 :]

    path = copy_video(pyramid, tmp_path / "x.mp4", change)
    assert numbers
    assert reading._decode_wanted(path, lambda num_frames, fps: [num_frames - 1]) is None
    asked = []
    read_clip(path, lambda num_frames, fps: asked.append((num_frames, fps)) or [num_frames - 1])
    assert len(asked) == len(set(asked)), "the same counts ask for the same frames, so random numbers are drawn once"


def test_clips_of_an_incomplete_video_say_what_is_missing(video: Path, tmp_path: Path):
    whole = copy_video(video, tmp_path / "whole.mkv")
    half = tmp_path / "half.mkv"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    gaps = damaged(video, tmp_path / "gaps.mp4", {3, 4})
    paths = [whole, half, gaps]
    clips = TestClips([Sample(path, 0) for path in paths], 4, InputConfig(crop=(32, 32), resize=32))
    batch = collate([clips[index] for index in range(3)])
    readable = probe(half).num_frames
    assert batch.incomplete[1] == f"{readable} of 40 frames can be read"
    assert set(batch.incomplete) <= {1, 2}
    notes = []
    read_clip(gaps, lambda num_frames, fps: [num_frames - 1], incomplete=notes.append)
    assert notes == ["38 of 40 frames can be read"]


def with_edit(path: Path, num_shown: int, to: Path) -> Path:
    """An MP4 file whose edit list shows its first frames only, of 25 a second."""
    content = bytearray(path.read_bytes())
    start = content.index(b"elst") + 4 + 8  # after version, flags and the number of edits: its length in milliseconds
    content[start : start + 4] = struct.pack(">I", 40 * num_shown)
    to.write_bytes(content)
    return to


@pytest.mark.parametrize("num_shown", [70, 40])
def test_what_an_edit_list_hides_is_not_missing(tmp_path: Path, num_shown: int):
    whole = write_video(tmp_path / "x.mp4", moving_frames(100), options={"g": "12", "bf": "2"})
    path, notes = with_edit(whole, num_shown, tmp_path / "cut.mp4"), []
    info = probe(path)
    assert (info.num_frames, info.num_missing) == (num_shown, 0)
    read_clip(path, lambda num_frames, fps: [num_frames - 1], incomplete=notes.append)
    assert not notes


def test_of_half_a_file_with_an_edit_list_those_are_missing_that_it_shows(tmp_path: Path):
    options = {"g": "12", "bf": "0"}
    first = {"movflags": "faststart"}  # the header, which the half has then
    whole = write_video(tmp_path / "x.mp4", moving_frames(100), options=options, container_options=first)
    path = with_edit(whole, 88, tmp_path / "cut.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    info = probe(path)
    assert 40 < info.num_frames < 80
    assert info.num_frames + info.num_missing == 89  # FFmpeg keeps one more in its index


@pytest.mark.parametrize(
    ("numbers", "share", "note"), [({3, 4}, 1, "38 of 40 frames can be read"), (set(), 0.5, None), (set(), 1, "")]
)
def test_a_file_that_is_read_to_its_end_as_a_stream_says_what_is_missing(
    video: Path, tmp_path: Path, numbers: set[int], share: float, note: str | None
):
    path, said = damaged(video, tmp_path / "x.mkv", numbers), []
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert list(Stream(path, say=said.append).frames())
    expected = probe(path).incomplete if note is None else note
    assert said == ([f"incomplete: {path}: {expected}"] if expected else [])
    assert expected is not None
