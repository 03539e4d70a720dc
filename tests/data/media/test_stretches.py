"""Where a stretch begins and ends: at which frame, past the end, between frames, and of what it can be."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from encoding import copy_video, moving_frames, with_times, write_video
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from stretch_oracle import decode

from morphmlp.data.media.clock import Clock
from morphmlp.data.media.sources import TarMember
from morphmlp.data.media.streams import Stream
from morphmlp.data.media.stretches import Stretch, microseconds
from morphmlp.data.media.video import count_decodable, frame_times, probe, read_clip, read_frames
from morphmlp.errors import MediaError

NUM_FRAMES = 50  # 2 s at 25 a second


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "x.mp4"
    return write_video(path, moving_frames(NUM_FRAMES), options={"x264-params": "keyint=10:bframes=2"})


def numbers_in(whole: np.ndarray, stretch: Stretch, notes: list[str] | None = None) -> list[int]:
    """Which frames of a video a stretch has."""
    clip = read_clip(stretch, lambda n, fps: range(n), incomplete=(notes if notes is not None else []).append)
    return [next(n for n, picture in enumerate(whole) if np.array_equal(picture, frame)) for frame in clip]


@pytest.mark.parametrize(
    ("start", "end", "unit", "expected"),
    [
        (0, 0.12, "seconds", [0, 1, 2]),  # frames are at 0, 0.04, 0.08, ...; the end is exclusive
        (0.04, 0.121, "seconds", [1, 2, 3]),
        (0.05, 0.079, "seconds", [1]),  # between two frames: the one that is shown
        (0.08, 0.0800001, "seconds", [2]),
        (3 * 0.04, 0.2, "seconds", [3, 4]),
        (1.93, 2.0, "seconds", [49]),
        (1.99, 2.0, "seconds", [49]),
        (7, 9, "frames", [7, 8]),
        (49, 50, "frames", [49]),
    ],
)
def test_a_stretch_has_the_frames_from_its_start_to_before_its_end(video: Path, start, end, unit, expected):
    stretch = Stretch(video, start, end, unit)
    notes: list[str] = []
    assert numbers_in(read_frames(video, range(NUM_FRAMES)), stretch, notes) == expected
    assert notes == []
    assert probe(stretch).num_frames == count_decodable(stretch) == len(frame_times(stretch)) == len(expected)
    assert (probe(stretch).height, probe(stretch).width, probe(stretch).fps) == (48, 64, 25)
    np.testing.assert_array_equal(read_frames(stretch, [0, 0]), read_frames(video, [expected[0]] * 2))


@pytest.mark.parametrize("ending", ["mp4", "avi"])
@pytest.mark.parametrize(
    ("end", "unit", "note"),
    [
        (2.5, "seconds", "its video ends at 2 s, 0.5 s before the end of the stretch"),
        (3, "seconds", "its video ends at 2 s, 1 s before the end of the stretch"),
        (2.03, "seconds", None),  # no frame is missing
        (60, "frames", "the file has 50 frames (the first is 0), 0.4 s before the end of the stretch"),
    ],
)
def test_up_to_a_second_past_the_end_is_cut_off_and_said(video: Path, tmp_path: Path, ending, end, unit, note):
    path = video if ending == "mp4" else write_video(tmp_path / "x.avi", moving_frames(NUM_FRAMES), codec="mpeg4")
    notes: list[str] = []
    stretch = Stretch(path, 48 if unit == "frames" else 1.9, end, unit)
    assert numbers_in(read_frames(path, range(NUM_FRAMES)), stretch, notes) == [48, 49]
    assert notes == ([note] if note else [])


@pytest.mark.parametrize("ending", ["mp4", "avi", "mkv"])
@pytest.mark.parametrize(
    ("start", "end", "unit", "reason"),
    [
        (1, 3.5, "seconds", r"ends 1\.5 s after the end, as its video ends at 2 s; up to 1 s is cut off"),
        (2, 3, "seconds", r"starts after the end, as its video ends at 2 s; correct the stretch, or leave it out"),
        (36000, 36001, "seconds", r"starts after the end, as its video ends at 2 s"),
        (50, 60, "frames", r"starts after the end, as the file has 50 frames \(the first is 0\)"),
        (0, 100, "frames", r"ends 2 s after the end, as the file has 50 frames"),
    ],
)
def test_what_is_farther_past_the_end_is_refused_in_one_line(video: Path, tmp_path, ending, start, end, unit, reason):
    path = video
    if ending == "avi":
        path = write_video(tmp_path / "x.avi", moving_frames(NUM_FRAMES), codec="mpeg4")
    if ending == "mkv":
        path = copy_video(video, tmp_path / "x.mkv")
    stretch = Stretch(path, start, end, unit)
    for read in (probe, count_decodable, frame_times, lambda s: read_clip(s, lambda n, fps: [0])):
        with pytest.raises(MediaError, match=rf"^[^\n]*x\.{ending} \({stretch.part}\): {reason}[^\n]*$") as caught:
            read(stretch)
        assert caught.value.path == path


def test_a_frame_that_a_stretch_does_not_have_is_an_error_that_names_it(video: Path):
    with pytest.raises(MediaError, match=r"x\.mp4 \(0 to 0\.2 s\): holds 5 frames, so there is no frame 5"):
        read_frames(Stretch(video, 0, 0.2), [0, 5])
    with pytest.raises(ValueError, match="give one or more frame numbers"):
        read_frames(Stretch(video, 0, 0.2), [])


def test_what_is_wrong_with_the_file_is_said_of_the_stretch(tmp_path: Path):
    (tmp_path / "x.mp4").write_bytes(b"no video" * 100)
    for source in (tmp_path / "x.mp4", tmp_path / "gone.mp4"):
        for read in (probe, count_decodable, frame_times, lambda s: read_clip(s, lambda n, fps: [0])):
            with pytest.raises(MediaError, match=r"\.mp4 \(1 to 2 s\): cannot be opened"):
                read(Stretch(source, 1, 2))


def test_a_stretch_of_a_member_of_a_shard_is_read_where_it_lies(video: Path, tmp_path: Path):
    content = video.read_bytes()
    (tmp_path / "0.tar").write_bytes(bytes(700) + content + bytes(300))
    member = TarMember(tmp_path / "0.tar", "a/x.mp4", 700, len(content))
    clip = read_clip(Stretch(member, 1, 1.2), lambda n, fps: range(n))
    np.testing.assert_array_equal(clip, read_frames(video, range(25, 30)))
    with pytest.raises(MediaError, match=r"0\.tar/a/x\.mp4 \(5 to 6 s\): starts after the end"):
        probe(Stretch(member, 5, 6))


def test_a_stretch_of_a_folder_or_an_animation_is_counted_in_frames(tmp_path: Path):
    pictures = [Image.new("RGB", (8, 6), (40 * number, 0, 0)) for number in range(6)]
    (tmp_path / "clip").mkdir()
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / "clip" / f"{number}.png")
    pictures[0].save(tmp_path / "x.gif", save_all=True, append_images=pictures[1:], duration=100)
    for path, kind in ((tmp_path / "clip", "a folder of frames"), (tmp_path / "x.gif", "an image")):
        stretch = Stretch(path, 2, 5, "frames")
        right = read_frames(path, [2, 4])
        np.testing.assert_array_equal(read_clip(stretch, lambda n, fps: [0, n - 1]), right)
        assert probe(stretch).num_frames == count_decodable(stretch) == 3
        with pytest.raises(MediaError, match=rf"\(1 to 2 s\): is {kind}, whose frames have no times; give the stretch"):
            read_clip(Stretch(path, 1, 2), lambda n, fps: [0])
        with pytest.raises(MediaError, match=r"\(frames 6 to 6\): starts after the end, as the file has 6 frames"):
            probe(Stretch(path, 6, 7, "frames"))


def test_times_count_from_where_players_start_and_not_from_the_first_timestamp(video: Path, tmp_path: Path):
    """The sound starts at 3 s and the pictures at 3.5 s, so that the first frame is shown at 0.5 s."""
    path = tmp_path / "x.mkv"
    with av.open(str(video)) as original, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(original.streams.video[0])
        sound = container.add_stream("aac", rate=16000, layout="mono")
        for number in range(16):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16000, 48000 + 1024 * number, Fraction(1, 16000)
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
        for packet in original.demux(video=0):
            if packet.size and packet.pts is not None and packet.dts is not None and packet.time_base is not None:
                shift = round(Fraction(7, 2) / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                container.mux(packet)
    with av.open(str(path)) as container:
        offset_s = (container.streams.video[0].start_time or 0) / 1000 - container.start_time / 1e6
    assert offset_s == pytest.approx(0.5, abs=0.1)  # sound begins with some silence of its own
    whole = read_frames(path, range(NUM_FRAMES))
    assert numbers_in(whole, Stretch(path, offset_s + 0.2, offset_s + 0.3)) == [5, 6, 7]
    assert numbers_in(whole, Stretch(path, 0.1, 0.2)) == [0]  # nothing is shown yet: the first


def test_a_damaged_stretch_is_read_from_the_beginning_and_another_is_not(video, tmp_path, monkeypatch):
    path = copy_video(video, tmp_path / "x.mp4", lambda number, data: b"\xff" * len(data) if number == 20 else data)
    decoded = decode(path)
    assert len(decoded.pictures) < NUM_FRAMES
    for stretch in (Stretch(path, 0.7, 1.2), Stretch(path, 0.1, 0.3), Stretch(path, 1.6, 1.8)):
        np.testing.assert_array_equal(read_clip(stretch, lambda n, fps: range(n)), decoded.of(stretch))
    monkeypatch.setattr("morphmlp.data.media.video.number_frames", None)
    assert len(read_clip(Stretch(path, 1.6, 1.8), lambda n, fps: range(n))) == 5


TIME_BASES = st.sampled_from([Fraction(1, rate) for rate in (1, 25, 240, 1000, 12800, 90000, 10**7, 10**9)])


@given(
    time_base=TIME_BASES,
    origin=st.integers(-(10**6), 10**12),
    start=st.integers(0, 36_000_000_000),
    length=st.integers(1, 10**9),
)
def test_ticks_are_those_whose_microseconds_are_in_the_stretch(time_base, origin, start: int, length: int):
    clock = Clock(origin, time_base)
    stretch = Stretch(Path("x"), start / 1e6, (start + length) / 1e6)
    ticks = clock.ticks(stretch.start, stretch.end)
    for tick in (ticks.start - 1, ticks.start, ticks.start + 1, ticks.end - 1, ticks.end):
        assert (ticks.start <= tick < ticks.end) is stretch.contains(clock.seconds(tick), 0)
    assert microseconds(clock.seconds(ticks.at_start)) <= start < microseconds(clock.seconds(ticks.at_start + 1))


def test_ten_hours_in_are_read_as_the_beginning(video: Path, tmp_path: Path):
    """A recording of 10 hours whose frames are 12 minutes apart: a last frame is shown up to the end of the file."""
    path = tmp_path / "x.mp4"
    with av.open(str(video)) as original, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(original.streams.video[0])
        for packet in original.demux(video=0):
            if packet.size and packet.pts is not None and packet.dts is not None:
                packet.pts, packet.dts, packet.duration = 18000 * packet.pts, 18000 * packet.dts, 18000 * 512
                packet.stream = stream
                container.mux(packet)
    whole = read_frames(path, range(NUM_FRAMES))
    assert numbers_in(whole, Stretch(path, 35_000, 35_010)) == [48]
    assert numbers_in(whole, Stretch(path, 34_000, 36_000)) == [48, 49]
    assert probe(Stretch(path, 34_000, 36_000)).fps == pytest.approx(1 / 720)


def test_a_pause_between_frames_is_not_added_to_the_end(tmp_path: Path):
    # Stored is how long it takes to the next packet: 30 s before the frame that is decoded early, and shown later.
    path = with_times(tmp_path / "x.mp4", [*range(24), *range(384, 408)])
    info = probe(path)
    assert (info.end_s, info.duration_s) == (pytest.approx(34, abs=0.1), pytest.approx(34, abs=0.1))
    assert list(Stream(path).frames())[-1].run.end_s == pytest.approx(34, abs=0.1)


def test_pictures_that_begin_after_the_sound_end_later_by_as_much(tmp_path: Path):
    info = probe(with_times(tmp_path / "x.mkv", range(24, 60), sound_s=5))
    assert (info.duration_s, info.end_s) == (3, pytest.approx(5, abs=0.01))
    assert len(read_frames(Stretch(tmp_path / "x.mkv", 4, 5), [0])) == 1
