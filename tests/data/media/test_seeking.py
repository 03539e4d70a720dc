"""Frames that are read from the key frames before them are those of a full decode, whatever the stream refers to."""

from collections.abc import Callable
from ctypes import string_at
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from encoding import copy_video, moving_frames, write_video
from hypothesis import given, settings
from hypothesis import strategies as st
from stretch_oracle import Decoded, decode

from morphmlp.data.media import syntax
from morphmlp.data.media import video as reading
from morphmlp.data.media.open_video import opened
from morphmlp.data.media.seeking import _Groups, plan
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.media.syntax import Syntax
from morphmlp.data.media.video import read_clip

NUM_FRAMES = 50


def x264(parameters: str) -> dict[str, str]:
    return {"x264-params": f"scenecut=0:{parameters}"}


def x265(parameters: str) -> dict[str, str]:
    return {"x265-params": f"log-level=none:scenecut=0:{parameters}"}


# Name of the file: codec, options. All are read from clean starts, and but for those of the last group, whole groups of
# pictures are left out.
ENCODINGS: dict[str, tuple[str, dict[str, str]]] = {
    "closed.mp4": ("libx264", x264("keyint=12:bframes=3")),
    "pyramid.mkv": ("libx264", x264("keyint=15:b-pyramid=normal:bframes=5:ref=5")),
    "open.mp4": ("libx264", x264("open-gop=1:keyint=12:bframes=3:b-pyramid=normal:ref=4:direct=temporal")),
    "open.mkv": ("libx264", x264("open-gop=1:keyint=9:bframes=5:b-pyramid=strict:ref=16:weightb=1:weightp=2")),
    "one_key_frame.mp4": ("libx264", x264("keyint=infinite:bframes=3")),
    "intra_refresh.mp4": ("libx264", x264("intra-refresh=1:keyint=12")),
    "fields.mp4": ("libx264", x264("tff=1:keyint=12:bframes=2")),
    "cra.mp4": ("libx265", x265("open-gop=1:keyint=12:bframes=4")),
    "idr.mkv": ("libx265", x265("open-gop=0:keyint=12:bframes=3")),
    "vp9.webm": ("libvpx-vp9", {"g": "12", "auto-alt-ref": "6", "lag-in-frames": "12", "cpu-used": "8"}),
    "av1.mp4": ("libsvtav1", {"g": "15", "preset": "12"}),
    "vp8.webm": ("libvpx", {"g": "12"}),
    "mpeg4.mp4": ("mpeg4", {"g": "12", "bf": "2"}),
    "mpeg2.mkv": ("mpeg2video", {"g": "12", "bf": "2"}),
    "jpeg.mkv": ("mjpeg", {}),
}
# Files whose containers hold no times of their own, or that are not known well enough: decoded from the beginning.
FROM_THE_BEGINNING: dict[str, tuple[str, dict[str, str]]] = {
    "b_frames.avi": ("mpeg4", {"g": "12", "bf": "2"}),
    "h264.avi": ("libx264", x264("keyint=12:bframes=3")),
    "h264.ts": ("libx264", x264("keyint=12:bframes=3")),
    "mpeg2.mpg": ("mpeg2video", {"g": "12", "bf": "2"}),
}


def shifted(source: Path, path: Path, by: Fraction, options: dict[str, str] | None = None) -> Path:
    """The packets of a video, earlier by this time in seconds: an MP4 file gets an edit list that hides the first."""
    with av.open(str(source)) as original, av.open(str(path), "w", options=options or {}) as container:
        theirs = original.streams.video[0]
        stream = container.add_stream_from_template(theirs)
        ticks = round(by / (theirs.time_base or Fraction(1)))
        for packet in original.demux(theirs):
            if packet.pts is not None and packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - ticks, packet.dts - ticks, stream
                container.mux(packet)
    return path


def with_times(path: Path, times: list[int], frames: np.ndarray) -> Path:
    """Frames that are shown at these times, in milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=x264("keyint=8:bframes=3"))
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time, array in zip(times, frames, strict=True):
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def uneven_times() -> list[int]:
    return np.cumsum(np.random.default_rng(0).choice([20, 33, 40, 200, 500], NUM_FRAMES)).tolist()


def from_key_frame(source: Path, path: Path, number: int) -> Path:
    """The packets from a key frame on: what is stored after it and shown before it cannot be decoded."""
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    first = [index for index, packet in enumerate(packets) if packet.is_keyframe][number]
    return copy_video(source, path, lambda index, data: data if index >= first else None)


# Made from the files above.
DERIVED: dict[str, Callable[[Path, Path], Path]] = {
    "edit_list.mp4": lambda folder, path: shifted(folder / "closed.mp4", path, Fraction(7, 25)),
    "edit_list_open.mp4": lambda folder, path: shifted(folder / "open.mp4", path, Fraction(17, 25)),
    "edit_list_cra.mov": lambda folder, path: shifted(folder / "cra.mp4", path, Fraction(20, 25)),
    "edit_list_one_key.mp4": lambda folder, path: shifted(folder / "one_key_frame.mp4", path, Fraction(9, 25)),
    "late.mp4": lambda folder, path: shifted(folder / "closed.mp4", path, Fraction(-5)),
    "late.mkv": lambda folder, path: shifted(folder / "pyramid.mkv", path, Fraction(-5)),
    "fragments.mp4": lambda folder, path: shifted(
        folder / "closed.mp4", path, Fraction(0), {"movflags": "frag_keyframe+empty_moov"}
    ),
    "cra_first.mp4": lambda folder, path: from_key_frame(folder / "cra.mp4", path, 2),
    "open_first.mkv": lambda folder, path: from_key_frame(folder / "open.mkv", path, 2),
    "uneven.mp4": lambda folder, path: with_times(path, uneven_times(), moving_frames(NUM_FRAMES)),
    "uneven.mkv": lambda folder, path: with_times(path, uneven_times(), moving_frames(NUM_FRAMES)),
    "one_a_second.mp4": lambda folder, path: with_times(path, [1000 * n for n in range(20)], moving_frames(20)),
    "fast.mp4": lambda folder, path: with_times(path, [4 * n for n in range(NUM_FRAMES)], moving_frames(NUM_FRAMES)),
}
SEEN_THROUGH = (*ENCODINGS, *DERIVED)
ALL = (*SEEN_THROUGH, *FROM_THE_BEGINNING)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Decoded]]:
    folder = tmp_path_factory.mktemp("files")
    noise = np.random.default_rng(0).integers(-20, 20, (NUM_FRAMES, 48, 64, 3))
    frames = np.clip(moving_frames(NUM_FRAMES) + noise, 0, 255).astype(np.uint8)
    for name, (codec, options) in (ENCODINGS | FROM_THE_BEGINNING).items():
        write_video(folder / name, frames, codec=codec, options=options)
    for name, make in DERIVED.items():
        make(folder, folder / name)
    return {name: (folder / name, decode(folder / name)) for name in ALL}


def stretch_of(path: Path, decoded: Decoded, *, place: int, length: int, how: str) -> Stretch:
    """A stretch that begins at a place of a thousand, at or between frames, and has a length in milliseconds."""
    num_frames, last_s = len(decoded.pictures), decoded.times_s[-1]
    if how == "frames":
        first = place * num_frames // 1000
        return Stretch(path, first, min(first + 1 + length // 40, num_frames), "frames")
    start = decoded.times_s[place * num_frames // 1000] if how == "at a frame" else last_s * place / 1000
    return Stretch(path, start, max(min(start + length / 1000, last_s), start) + 1e-3)


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    place=st.integers(0, 999),
    length=st.integers(0, 1500),
    how=st.sampled_from(["at a frame", "between", "frames"]),
    wanted=st.lists(st.integers(0, 999), min_size=1, max_size=4),
)
def test_a_stretch_is_the_same_as_in_a_full_decode(files, name: str, place: int, length: int, how: str, wanted):
    path, decoded = files[name]
    stretch = stretch_of(path, decoded, place=place, length=length, how=how)
    right = decoded.of(stretch)
    counts = []

    def sample(num_frames: int, fps: float) -> list[int]:
        counts.append((num_frames, fps))
        return [share * num_frames // 1000 for share in wanted]

    clip = read_clip(stretch, sample)
    np.testing.assert_array_equal(clip, right[[share * len(right) // 1000 for share in wanted]])
    info = reading.probe(stretch)
    assert (info.num_frames, info.fps) == counts[-1]
    assert info.num_frames == len(right)


@pytest.mark.parametrize("name", SEEN_THROUGH)
def test_neither_a_stretch_nor_a_clip_needs_all_to_be_decoded(files, name: str, monkeypatch: pytest.MonkeyPatch):
    path, decoded = files[name]
    monkeypatch.setattr(reading, "number_frames", None)  # the slow ways
    monkeypatch.setattr(reading, "_decode", None)
    whole = Stretch(path, 0, decoded.times_s[-1] + 0.001)
    for stretch in (whole, Stretch(path, decoded.times_s[-4], decoded.times_s[-2])):
        np.testing.assert_array_equal(read_clip(stretch, lambda n, fps: range(n)), decoded.of(stretch))
    with opened(path) as video:
        if Syntax(video.stream).can_skip:
            chosen = [len(decoded.pictures) - 2, 1]
            np.testing.assert_array_equal(read_clip(path, lambda n, fps: chosen), decoded.pictures[chosen])


@pytest.mark.parametrize("name", ["open.mp4", "cra.mp4", "vp9.webm", "av1.mp4", "mpeg2.mkv", "one_key_frame.mp4"])
def test_each_frame_alone_is_the_same_as_in_a_full_decode(files, name: str):
    path, decoded = files[name]
    for number, time_s in enumerate(decoded.times_s):
        frame = read_clip(Stretch(path, time_s, time_s + 0.001), lambda n, fps: [0])
        np.testing.assert_array_equal(frame[0], decoded.pictures[number], err_msg=f"frame {number}")


@pytest.mark.parametrize(
    ("name", "num_starts"), [("intra_refresh.mp4", 1), ("open.mp4", 5), ("cra.mp4", 5), ("one_key_frame.mp4", 1)]
)
def test_a_decoder_starts_at_open_groups_and_not_within_an_intra_refresh(files, name: str, num_starts: int):
    with opened(files[name][0]) as video:
        rules = Syntax(video.stream)
        packets = [packet for packet in video.container.demux(video.stream) if packet.size]
    assert sum(map(rules.is_clean_start, packets)) == num_starts
    assert all(map(rules.is_whole_picture, packets)) is rules.can_skip
    if name == "intra_refresh.mp4":
        assert sum(packet.is_keyframe for packet in packets) > 3


def test_headers_are_read_from_a_packet_with_room_after_it(files, monkeypatch: pytest.MonkeyPatch):
    """FFmpeg reads up to 64 bytes past the end of what it parses, and asks that they be there and 0."""
    after: list[bytes] = []

    class Filter:
        def __init__(self, name: str, stream: av.VideoStream):
            pass

        def filter(self, packet: av.Packet) -> None:
            after.append(string_at(packet.buffer_ptr + packet.size, 64))

    monkeypatch.setattr(syntax, "BitStreamFilterContext", Filter)
    with opened(files["closed.mp4"][0]) as video:
        rules = Syntax(video.stream)
        assert all(rules.is_whole_picture(packet) for packet in video.container.demux(video.stream) if packet.size)
    assert after == [bytes(64)] * NUM_FRAMES


def test_the_rest_of_the_file_is_not_read(files, tmp_path: Path):
    """All packets but those of the first group and of two seconds' worth around the stretch are overwritten."""
    source = shifted(files["closed.mp4"][0], tmp_path / "x.mp4", Fraction(0))
    decoded = decode(source)
    with av.open(str(source)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(source.read_bytes())
    for number, (position, size) in enumerate(packets):
        if 5 <= number < 12 or number >= 40:
            content[position : position + size] = b"\xff" * size
    source.write_bytes(content)
    stretch = Stretch(source, 13 / 25, 21 / 25)
    np.testing.assert_array_equal(read_clip(stretch, lambda n, fps: range(n)), decoded.of(stretch))


def test_groups_without_a_wanted_frame_are_not_decoded(files):
    """Of five groups of 12 frames, the first gives its first frame, and the fourth what is needed for frame 40."""
    path, decoded = files["closed.mp4"]
    with opened(path) as video:
        found = plan(video, None)
        assert found is not None
        frames = list(_Groups(video, found, {found.times[40]}).frames())
    numbers = [found.times.index(frame.pts) for frame in frames if frame is not None]
    assert len(numbers) == len(frames) < 16
    assert {number // 12 for number in numbers} == {0, 3}
    np.testing.assert_array_equal(read_clip(path, lambda n, fps: [40]), decoded.pictures[[40]])


def test_a_whole_file_as_a_stretch_has_the_same_count_and_rate(files):
    for name in SEEN_THROUGH:
        path, decoded = files[name]
        whole, part = reading.probe(path), reading.probe(Stretch(path, 0, decoded.times_s[-1] + 0.001))
        if whole.num_frames == len(decoded.pictures):  # others have packets that give no picture
            assert part == replace(whole, num_missing=0, end_s=whole.duration_s), name
