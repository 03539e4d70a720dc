"""Decoding, on videos that the tests encode themselves; a frame's grey level tells which frame it is."""

import io
import os
import struct
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from morphmlp.data.media.open_video import opened
from morphmlp.data.media.packets import packet_of
from morphmlp.data.media.sources import TarMember
from morphmlp.data.media.video import VideoInfo, probe, read_clip, read_frames
from morphmlp.errors import MediaError

HEIGHT, WIDTH = 48, 64


def grey_frames(num_frames, *, height=HEIGHT, width=WIDTH):
    levels = 20 + 7 * np.arange(num_frames) % 210
    return np.broadcast_to(levels[:, None, None, None], (num_frames, height, width, 3)).astype(np.uint8)


def levels_of(frames):
    return frames.mean(axis=(1, 2, 3))


def encode(path, frames, *, codec="libx264", rate=25, pixel_format="yuv420p", options=None, timestamps=None):
    """Write [T, H, W, 3] frames; `timestamps` are in units of 1/1000 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixel_format
        if timestamps is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
            if timestamps is not None:
                frame.pts, frame.time_base = timestamps[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def encode_sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def patch(path, marker, offset, data):
    """Overwrite bytes at `offset` after the first `marker` of a file."""
    content = bytearray(path.read_bytes())
    start = content.index(marker) + offset
    content[start : start + len(data)] = data
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def grey_video(tmp_path_factory):
    """30 frames at 25 a second, with frames coded out of order."""
    return encode(tmp_path_factory.mktemp("video") / "grey.mp4", grey_frames(30), options={"bf": "2", "crf": "10"})


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_motion_jpeg_with_exif_is_read_upright(tmp_path, orientation: int):
    """Cameras write such files; PyAV has no name for the EXIF block."""
    ramp = np.add.outer(2 * np.arange(48), np.arange(64)).astype(np.uint8)  # darkest at the top left
    image, exif, jpeg = Image.fromarray(ramp).convert("RGB"), Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image.save(jpeg, "JPEG", exif=exif, quality=95, subsampling=0)
    path = tmp_path / "x.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj444p"
        for number in range(3):
            packet = packet_of(jpeg.getvalue())
            packet.stream, packet.pts, packet.dts = stream, number, number
            packet.time_base, packet.is_keyframe = Fraction(1, 10), True
            container.mux(packet)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(jpeg)))
    [frame] = read_clip(path, lambda num_frames, fps: [2])
    assert frame.shape == upright.shape
    assert np.abs(frame.astype(int) - upright).mean() < 2


def test_the_rate_of_frames_is_known_after_their_file_is_closed(tmp_path):
    # Frames are read ahead: the last ones of a file are counted when it is closed, and its stream says nothing then.
    path = encode(tmp_path / "uneven.mp4", grey_frames(6), timestamps=[0, 40, 80, 500, 540, 580])
    with opened(path) as video:
        packets = video.count()
        rate = video.average_fps(packets)
    assert video.average_fps(packets) == rate
    assert 8 < rate < 12


def test_nothing_of_a_closed_file_can_be_read(grey_video):
    # PyAV's stream would answer from memory that was given back, and its packets would end the process.
    with opened(grey_video) as video:
        frames = video.frames()
        first = next(frames)
    with opened(grey_video) as other:
        packets = other.packets_from_here()
        next(packets)
    for read in (video.count, video.incomplete, lambda: video.has_plain_times):
        with pytest.raises(AttributeError):
            read()
    for begun in (frames, packets):
        with pytest.raises(AssertionError, match="the file is closed"):
            list(begun)
    assert video.to_rgb(first).shape == (48, 64, 3)


def test_probe_describes_the_video(grey_video):
    assert probe(grey_video) == VideoInfo(
        num_frames=30, fps=25.0, height=48, width=64, rotation_degrees=0, duration_s=1.2, end_s=1.2, codec="h264"
    )


def test_frames_come_in_the_order_asked_for(grey_video):
    indices = [29, 0, 7, 7, 12, 0]
    frames = read_frames(grey_video, indices)
    assert frames.shape == (6, HEIGHT, WIDTH, 3)
    assert frames.dtype == np.uint8
    np.testing.assert_allclose(levels_of(frames), levels_of(grey_frames(30)[indices]), atol=3)


def test_any_frame_is_the_same_as_in_a_full_read(grey_video):
    all_frames = read_frames(grey_video, range(30))
    for index in range(30):
        np.testing.assert_array_equal(read_frames(grey_video, [index])[0], all_frames[index])


def test_a_path_may_be_text(grey_video):
    assert read_frames(str(grey_video), [1]).shape == (1, HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    "name", ["a b.mp4", "12:30.mp4", "concat:x.mp4", "%03d.mp4", "日本.mp4", os.fsdecode(b"caf\xe9.mp4")]
)
def test_any_file_name_can_be_read(grey_video, tmp_path, monkeypatch, name):
    try:
        (tmp_path / name).write_bytes(grey_video.read_bytes())
    except OSError:
        pytest.skip("this file system does not take the name")
    monkeypatch.chdir(tmp_path)
    assert probe(name).num_frames == 30


@pytest.mark.parametrize("indices", [[], [-1, 3]])
def test_impossible_indices_are_refused(grey_video, indices):
    with pytest.raises(ValueError, match="indices="):
        read_frames(grey_video, indices)


def test_a_frame_after_the_end_is_an_error_that_gives_the_count(grey_video):
    with pytest.raises(MediaError, match="holds 30 frames, so there is no frame 30"):
        read_frames(grey_video, [0, 30])


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mkv", "libx264"), (".avi", "mpeg4"), (".mov", "mpeg4"), (".mp4", "libx265")]
)
def test_other_containers_and_codecs_are_read(tmp_path, suffix, codec):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {"bf": "2"}
    path = encode(tmp_path / f"video{suffix}", grey_frames(20), codec=codec, options=options)
    info = probe(path)
    assert (info.num_frames, info.fps) == (20, pytest.approx(25, rel=0.01))
    np.testing.assert_allclose(levels_of(read_frames(path, range(20))), levels_of(grey_frames(20)), atol=5)


def test_a_wrong_count_in_the_header_is_ignored(tmp_path):
    path = encode(tmp_path / "video.avi", grey_frames(20), codec="mpeg4")
    patch(path, b"strh", 8 + 32, struct.pack("<I", 999))  # dwLength, in frames
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 999
    assert probe(path).num_frames == 20
    assert probe(path).fps == 25


def test_variable_frame_rate_gives_the_average(tmp_path):
    timestamps = [0, 10, 20, 30, 500, 510, 520, 900, 910, 1000]  # in ms; nominally 25 a second
    path = encode(tmp_path / "video.mkv", grey_frames(10), timestamps=timestamps)
    info = probe(path)
    assert info.num_frames == 10
    assert info.fps == pytest.approx(10, rel=0.1)
    assert info.duration_s == pytest.approx(1.0, rel=0.1)
    np.testing.assert_allclose(levels_of(read_frames(path, range(10))), levels_of(grey_frames(10)), atol=3)


def test_an_edit_list_cuts_off_frames(tmp_path):
    path = encode(tmp_path / "video.mp4", grey_frames(20), options={"bf": "0"})
    with av.open(str(path)) as container:
        time_base = container.streams.video[0].time_base
    cut = int(Fraction(5, 25) / time_base)  # five frames
    patch(path, b"elst", 4 + 8 + 4, struct.pack(">i", cut))  # the start of the first edit, in the media's time
    info = probe(path)
    assert (info.num_frames, info.num_missing) == (15, 0)
    np.testing.assert_allclose(levels_of(read_frames(path, range(15))), levels_of(grey_frames(20)[5:]), atol=3)


ONE = 1 << 16  # 16.16 fixed point
QUARTER_TURNS = {  # the matrix (a, b, c, d) that turns the picture clockwise when shown, by numpy's quarter turns
    0: (ONE, 0, 0, ONE),
    3: (0, ONE, -ONE, 0),
    2: (-ONE, 0, 0, -ONE),
    1: (0, -ONE, ONE, 0),
}


@pytest.mark.parametrize("quarter_turns", QUARTER_TURNS)
def test_display_rotation_is_applied(tmp_path, quarter_turns):
    picture = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    picture[: HEIGHT // 2, : WIDTH // 2] = 240  # bright at the top left
    path = encode(tmp_path / "video.mp4", np.stack([picture] * 3))
    a, b, c, d = QUARTER_TURNS[quarter_turns]
    patch(path, b"tkhd", 44, struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30))
    expected = np.rot90(picture, k=quarter_turns)
    info = probe(path)
    assert info.rotation_degrees == 90 * quarter_turns
    assert (info.height, info.width) == expected.shape[:2]
    decoded = read_frames(path, [0, 2])
    assert decoded.shape[1:] == expected.shape
    assert np.abs(decoded.astype(int) - expected).mean() < 4


@pytest.mark.parametrize(
    ("pixel_format", "codec"), [("yuv420p", "libx264"), ("yuvj420p", "mjpeg"), ("yuv420p10le", "libx264")]
)
def test_full_range_and_ten_bits_give_the_same_colours(tmp_path, pixel_format, codec):
    dark = np.full((3, HEIGHT, WIDTH, 3), 30, dtype=np.uint8)  # 42 if full range is not noticed, or 16 the other way
    path = encode(tmp_path / "video.mkv", dark, codec=codec, pixel_format=pixel_format)
    assert read_frames(path, [1]).mean() == pytest.approx(30, abs=2.5)


def test_colours_are_rgb(tmp_path):
    red = np.zeros((3, HEIGHT, WIDTH, 3), dtype=np.uint8)
    red[..., 0] = 200
    path = encode(tmp_path / "red.mp4", red)
    np.testing.assert_allclose(read_frames(path, [0])[0].mean(axis=(0, 1)), [200, 0, 0], atol=6)


def test_frames_of_another_size_are_scaled_to_the_first(tmp_path):
    small = encode(tmp_path / "small.h264", grey_frames(5))
    large = encode(tmp_path / "large.h264", grey_frames(5, height=96, width=128))
    path = tmp_path / "both.h264"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    frames = read_frames(path, range(10))
    assert frames.shape == (10, HEIGHT, WIDTH, 3)
    np.testing.assert_allclose(levels_of(frames), np.tile(levels_of(grey_frames(5)), 2), atol=4)
    assert read_frames(path, [7]).shape == (1, HEIGHT, WIDTH, 3)  # also when no small frame is wanted


def test_read_clip_gives_the_sampler_count_and_rate(grey_video):
    calls = []

    def sample(num_frames, fps):
        calls.append((num_frames, fps))
        return [0, num_frames - 1]

    np.testing.assert_array_equal(read_clip(grey_video, sample), read_frames(grey_video, [0, 29]))
    assert calls == [(30, 25.0)]


@pytest.mark.parametrize("name", ["picture.png", "PICTURE.TIFF"])
def test_an_image_is_a_video_of_one_frame(tmp_path, name):
    picture = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / name)
    calls = []

    def sample(num_frames, fps):
        calls.append((num_frames, fps))
        return [0, 0, 0]

    np.testing.assert_array_equal(read_clip(str(tmp_path / name), sample), np.stack([picture] * 3))
    assert calls == [(1, 30.0)]


def test_what_is_wrong_with_an_image_is_said_of_an_image(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"no picture" * 100)
    with pytest.raises(MediaError, match="is not an image that can be read"):
        read_clip(tmp_path / "x.jpg", lambda num_frames, fps: [0])


def inside(path, shard, *, before=b"x" * 700, after=b"y" * 900):
    """The file as a part of a larger one, as a tar archive holds it."""
    content = path.read_bytes()
    shard.write_bytes(before + content + after)
    return TarMember(shard, f"deep/{path.name}", len(before), len(content))


@pytest.mark.parametrize("name", ["0.tar", "we:ird, na%me?.tar", os.fsdecode(b"caf\xe9.tar")])
def test_a_member_of_a_shard_is_read_as_the_file_is(grey_video, tmp_path, name):
    try:
        member = inside(grey_video, tmp_path / name)
    except OSError:
        pytest.skip("this file system does not take the name")
    assert probe(member) == probe(grey_video)
    np.testing.assert_array_equal(read_frames(member, [29, 0, 7]), read_frames(grey_video, [29, 0, 7]))
    clips = [read_clip(source, lambda num_frames, fps: [0, num_frames - 1]) for source in (member, grey_video)]
    np.testing.assert_array_equal(*clips)


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "libx264"), (".avi", "mpeg4"), (".ts", "libx264")])
def test_members_of_other_containers_are_read(tmp_path, suffix, codec):
    path = encode(tmp_path / f"video{suffix}", grey_frames(20), codec=codec, options={"bf": "2"})
    video = encode(tmp_path / "next.mp4", grey_frames(5))
    member = inside(path, tmp_path / "0.tar", after=video.read_bytes())  # the neighbour is no part of it
    assert probe(member) == probe(path)
    np.testing.assert_array_equal(read_frames(member, range(20)), read_frames(path, range(20)))


def test_an_image_in_a_shard_is_a_video_of_one_frame(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    member = inside(tmp_path / "picture.png", tmp_path / "0.tar")
    np.testing.assert_array_equal(read_clip(member, lambda *_: [0, 0]), np.stack([picture] * 2))
    with pytest.raises(MediaError, match=r"0\.tar/deep/picture\.png: cannot be decoded as an image|is not an image"):
        read_clip(TarMember(member.shard, member.name, 0, 600), lambda *_: [0])


def test_a_member_that_is_broken_or_past_the_end_of_its_shard_is_one_named_error(grey_video, tmp_path, capfd):
    member = inside(grey_video, tmp_path / "0.tar")
    nonsense = TarMember(member.shard, "x.mp4", 0, 600)
    with pytest.raises(MediaError, match=r"^[^\n]*0\.tar/x\.mp4: cannot be opened as a video"):
        read_frames(nonsense, [0])
    os.truncate(member.shard, 1000)
    with pytest.raises(MediaError, match=r"0\.tar is cut off: 1000 bytes, but the member ends at byte") as caught:
        probe(member)
    assert caught.value.path == tmp_path / "0.tar/deep/grey.mp4"
    assert capfd.readouterr() == ("", "")


# The quick way of `read_clip`, which leaves out frames that no other refers to

LAYOUTS = {
    "pyramid": ("mp4", {"bf": "5", "x264-params": "b-pyramid=normal:keyint=12"}),
    "open_gop": ("mkv", {"bf": "3", "x264-params": "open-gop=1:keyint=9"}),
    "no_b_frames": ("mp4", {"bf": "0"}),
    "key_frames_only": ("mp4", {"g": "1"}),
    "no_timestamps": ("avi", {"bf": "2"}),
}


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    """A moving pattern in each layout: frames that differ everywhere, so that a wrong reference would be seen."""
    folder = tmp_path_factory.mktemp("layouts")
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    pattern = [(np.sin(x / 3 + t) * np.cos(y / 4 - 2 * t) * 100 + 128).astype(np.uint8) for t in range(40)]
    frames = np.repeat(np.stack(pattern)[..., None], 3, axis=-1)
    return {name: encode(folder / f"{name}.{end}", frames, options=given) for name, (end, given) in LAYOUTS.items()}


@pytest.mark.parametrize("layout", LAYOUTS)
@given(indices=st.lists(st.integers(0, 39), min_size=1, max_size=8))
def test_any_clip_is_the_same_as_in_a_full_read(layouts, layout, indices):
    whole = read_frames(layouts[layout], range(40))
    clip = read_clip(layouts[layout], lambda num_frames, fps: indices)
    np.testing.assert_array_equal(clip, whole[indices])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_frame_alone_is_the_same_as_in_a_full_read(layouts, layout):
    whole = read_frames(layouts[layout], range(40))
    for index in range(40):
        frame = read_clip(layouts[layout], lambda num_frames, fps, index=index: [index])
        np.testing.assert_array_equal(frame[0], whole[index], err_msg=f"frame {index}")


@pytest.mark.parametrize("layout", ["pyramid", "open_gop", "no_b_frames"])
def test_an_ordinary_file_is_read_the_quick_way(layouts, layout, monkeypatch):
    monkeypatch.setattr("morphmlp.data.media.video._decode", None)  # the slow way
    assert read_clip(layouts[layout], lambda num_frames, fps: [3, num_frames - 1]).shape == (2, HEIGHT, WIDTH, 3)


def hide_last_frames(source, path, *, num_shown):
    """Copy a VP8 video and clear the "show this frame" bit of all packets from `num_shown` on."""
    with av.open(str(source)) as original, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(original.streams.video[0])
        for number, packet in enumerate(original.demux(video=0)):
            if packet.size:
                data = bytearray(bytes(packet))
                if number >= num_shown:
                    data[0] &= ~0x10
                copy = packet_of(bytes(data))
                copy.stream, copy.pts, copy.dts, copy.time_base = stream, packet.pts, packet.dts, packet.time_base
                copy.is_keyframe = packet.is_keyframe
                container.mux(copy)
    return path


def test_read_clip_samples_again_when_packets_give_no_picture(tmp_path):
    visible = encode(tmp_path / "visible.webm", grey_frames(20), codec="libvpx")
    path = hide_last_frames(visible, tmp_path / "hidden.webm", num_shown=15)
    calls = []

    def sample(num_frames, fps):
        calls.append(num_frames)
        return [0, num_frames - 1]

    np.testing.assert_array_equal(read_clip(path, sample), read_frames(visible, [0, 14]))
    assert calls == [20, 15]


def broken_video(tmp_path):
    """20 frames, of which those from the middle on are overwritten with nonsense."""
    path = encode(tmp_path / "broken.mp4", grey_frames(20), options={"bf": "0", "g": "1"})
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for position, size in packets[10:]:
        content[position : position + size] = b"\xff" * size
    path.write_bytes(content)
    return path


def test_a_stream_that_breaks_says_after_how_many_frames(tmp_path):
    path = broken_video(tmp_path)
    assert probe(path).num_frames == 20
    for read in (lambda: read_frames(path, [0, 15]), lambda: read_clip(path, lambda num_frames, fps: [num_frames - 1])):
        with pytest.raises(MediaError, match=r"the stream breaks after \d+ good frame") as caught:
            read()
        assert caught.value.path == path


def test_frames_before_a_break_are_read(tmp_path):
    frames = read_frames(broken_video(tmp_path), [0, 5])
    np.testing.assert_allclose(levels_of(frames), levels_of(grey_frames(20)[[0, 5]]), atol=3)


def unusable_file(kind, tmp_path):
    path = tmp_path / "video.mp4"
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("not a video\n" * 500)
    elif kind == "text named as such":
        path = tmp_path / "labels.txt"
        path.write_text("not a video\n" * 500)
    elif kind == "nonsense":
        path.write_bytes(np.random.default_rng(0).bytes(5000))
    elif kind == "sound":
        encode_sound(path)
    elif kind == "no index":
        content = encode(path, grey_frames(20)).read_bytes()
        path.write_bytes(content[: content.index(b"moov") - 4])
    elif kind == "unknown codec":
        encode(path, grey_frames(5))
        entry = b"avc1" + bytes(7) + b"\x01"  # the sample entry, not the brand of the same name
        assert entry in path.read_bytes()
        patch(path, entry, 0, b"zzzz")
    elif kind == "pipe":
        os.mkfifo(path)
    return path


UNUSABLE = {
    "missing": "No such file",
    "folder": "is a folder",
    "empty": "is empty",
    "text": "cannot be opened as a video",
    "text named as such": "is a text file",
    "nonsense": "cannot be opened as a video",
    "sound": r"holds no video stream \(streams: audio\)",
    "no index": "cannot be opened as a video",
    "unknown codec": "no decoder",
    "pipe": "is not a regular file",
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_an_unusable_file_is_one_named_error(tmp_path, capfd, kind):
    path = unusable_file(kind, tmp_path)
    for read in (lambda: probe(path), lambda: read_frames(path, [0]), lambda: read_clip(path, lambda *_: [0])):
        with pytest.raises(MediaError, match=UNUSABLE[kind]) as caught:
            read()
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_one_named_error(grey_video, tmp_path):
    path = tmp_path / "video.mp4"
    path.write_bytes(grey_video.read_bytes())
    path.chmod(0)
    with pytest.raises(MediaError, match="Permission denied"):
        probe(path)


def test_decoding_a_broken_stream_prints_nothing(tmp_path, capfd):
    path = broken_video(tmp_path)
    capfd.readouterr()  # what the encoder said
    with pytest.raises(MediaError):
        read_frames(path, [19])
    assert capfd.readouterr() == ("", "")


MEASURE_PEAK = """
import resource, sys
from morphmlp.data.media.video import read_frames
read_frames(sys.argv[1], [0])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
read_frames(sys.argv[1], [0, 150, 299])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss differs")
def test_memory_follows_the_frames_asked_for(tmp_path):
    path = encode(tmp_path / "long.mp4", grey_frames(300, height=240, width=320), options={"preset": "ultrafast"})
    result = subprocess.run([sys.executable, "-c", MEASURE_PEAK, path], capture_output=True, text=True, check=True)
    assert int(result.stdout) < 30_000  # in KiB; all 300 frames are 67,500
