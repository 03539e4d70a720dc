"""Which stream of a file is read, how it is turned and cropped, and what is refused before it is decoded."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from encoding import HEIGHT, WIDTH, copy_video, moving_frames, write_video

from morphmlp.data.media.turns import TURNS, turn_of_matrix
from morphmlp.data.media.video import count_decodable, probe, read_clip, read_frames
from morphmlp.errors import ConfigError, MediaError

# (a, b, c, d) of a display matrix, and what it makes of a picture
MATRICES = {
    "as it is": ((1, 0, 0, 1), lambda p: p),
    "mirrored": ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda p: p[::-1]),
    "half turn": ((-1, 0, 0, -1), lambda p: p[::-1, ::-1]),
    "clockwise": ((0, 1, -1, 0), lambda p: np.rot90(p, 3)),
    "counter-clockwise": ((0, -1, 1, 0), lambda p: np.rot90(p)),
    "transposed": ((0, 1, 1, 0), lambda p: p.transpose(1, 0, 2)),
    "transposed the other way": ((0, -1, -1, 0), lambda p: p[::-1, ::-1].transpose(1, 0, 2)),
}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "plain.mp4", moving_frames(6))


def with_matrix(video: Path, path: Path, matrix: tuple[int, int, int, int]) -> Path:
    content = bytearray(video.read_bytes())
    a, b, c, d = (value << 16 for value in matrix)
    start = content.index(b"tkhd") + 44
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("container", ["mp4", "mkv"])
@pytest.mark.parametrize("name", MATRICES)
def test_the_whole_display_matrix_is_applied(video: Path, tmp_path: Path, name: str, container: str):
    matrix, expected = MATRICES[name]
    path = with_matrix(video, tmp_path / "x.mp4", matrix)
    if container == "mkv":
        path = copy_video(path, tmp_path / "x.mkv")
    plain = read_frames(video, [0, 3])
    right = np.stack([expected(picture) for picture in plain])
    np.testing.assert_array_equal(read_frames(path, [0, 3]), right)
    np.testing.assert_array_equal(read_clip(path, lambda *_: [0, 3]), right)
    assert (probe(path).height, probe(path).width) == right.shape[1:3]


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        ("rotate=0:flip=horizontal", lambda p: p[:, ::-1]),
        ("rotate=0:flip=vertical", lambda p: p[::-1]),
        ("rotate=90", lambda p: np.rot90(p)),
        ("rotate=270", lambda p: np.rot90(p, 3)),
    ],
)
def test_the_orientation_message_of_a_stream_is_applied(video: Path, tmp_path: Path, orientation: str, expected):
    bitstream = f"h264_metadata=display_orientation=insert:{orientation}"
    path = copy_video(video, tmp_path / "x.mp4", bitstream=bitstream)
    np.testing.assert_array_equal(read_frames(path, [2])[0], expected(read_frames(video, [2])[0]))


def test_a_matrix_between_quarters_is_taken_as_the_nearest():
    sine, cosine = round(65536 * np.sin(np.radians(2))), round(65536 * np.cos(np.radians(2)))
    assert turn_of_matrix(np.array([[-sine, cosine, 0], [-cosine, -sine, 0], [0, 0, 1]])) is TURNS[6]
    assert turn_of_matrix(np.zeros((3, 3), np.int32)) is TURNS[1]


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_the_default_stream_is_read_and_not_the_first(tmp_path: Path, ending: str):
    small, large = moving_frames(3, height=24, width=32), moving_frames(20)
    path = write_video(tmp_path / f"two.{ending}", small, large, default=1)
    assert (probe(path).num_frames, probe(path).height, probe(path).width) == (20, HEIGHT, WIDTH)
    assert read_frames(path, [19]).shape == (1, HEIGHT, WIDTH, 3)


def test_another_track_past_the_end_of_a_cut_off_file_does_not_end_it(tmp_path: Path):
    """The samples of the other track lie behind: reading them too would stop at the first one past the cut."""
    video, path = write_video(tmp_path / "one.mp4", moving_frames(90)), tmp_path / "x.mp4"
    options = {"movflags": "faststart", "max_interleave_delta": "1"}
    with av.open(str(path), "w", options=options) as container:
        for number in range(2):
            stream = container.add_stream_from_template(av.open(str(video)).streams.video[0])
            stream.disposition = av.stream.Disposition(1 - number)
        for stream in container.streams.video:
            with av.open(str(video)) as source:
                for packet in source.demux(video=0):
                    if packet.size:
                        packet.stream = stream
                        container.mux_one(packet)
    positions = [_positions(path, number) for number in range(2)]
    assert sorted(positions[0])[-2] < min(positions[1])  # the last one is written when the file is closed
    path.write_bytes(path.read_bytes()[: positions[1][1]])
    assert count_decodable(path) == 89


def _positions(path: Path, number: int) -> list[int]:
    with av.open(str(path)) as container:
        return [packet.pos or 0 for packet in container.demux(video=number) if packet.size]


@pytest.mark.parametrize(("codec", "bitstream"), [("libx264", "h264_metadata"), ("libx265", "hevc_metadata")])
def test_a_crop_in_the_stream_is_applied_to_the_pixel(tmp_path: Path, codec: str, bitstream: str):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    whole = write_video(tmp_path / "whole.mp4", moving_frames(4), codec=codec, options=options)
    path = copy_video(whole, tmp_path / "x.mp4", bitstream=f"{bitstream}=crop_left=10:crop_right=4:crop_top=2")
    np.testing.assert_array_equal(read_frames(path, [1])[:, 1:], read_frames(whole, [1])[:, 3:, 10 : WIDTH - 4])
    assert (probe(path).height, probe(path).width) == (HEIGHT - 2, WIDTH - 14)


def test_pixels_that_are_not_square_are_read_as_stored(video: Path, tmp_path: Path):
    path = copy_video(video, tmp_path / "x.mp4", bitstream="h264_metadata=sample_aspect_ratio=4/3")
    np.testing.assert_array_equal(read_frames(path, [0]), read_frames(video, [0]))
    assert probe(path).width == WIDTH


def test_a_frame_above_the_limit_is_refused_by_its_header(video: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MORPHMLP_MAX_PIXELS", str(HEIGHT * WIDTH - 1))
    with pytest.raises(MediaError, match=f"is 64 x 48 px, above the 3071 pixels.*MORPHMLP_MAX_PIXELS={HEIGHT * WIDTH}"):
        probe(video)
    monkeypatch.setenv("MORPHMLP_MAX_PIXELS", str(HEIGHT * WIDTH))
    assert probe(video).num_frames == 6
    monkeypatch.setenv("MORPHMLP_MAX_PIXELS", "many")
    with pytest.raises(ConfigError, match="MORPHMLP_MAX_PIXELS='many': expected a number above 0"):
        probe(video)


@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile other.mp4\n", "#EXTM3U\n#EXTINF:1,\nother.ts\n"])
def test_a_text_that_names_other_files_is_refused_and_they_are_not_read(video: Path, tmp_path: Path, text: str):
    (tmp_path / "other.mp4").write_bytes(video.read_bytes())
    (tmp_path / "x.mp4").write_text(text)
    with pytest.raises(MediaError, match="is a text that names other files, which are not read"):
        probe(tmp_path / "x.mp4")


def test_sound_with_a_cover_picture_is_called_that(tmp_path: Path):
    path = tmp_path / "x.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=16000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = HEIGHT, WIDTH, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(moving_frames(1)[0], format="rgb24")))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
    with pytest.raises(MediaError, match="is no video: it holds audio and a cover picture"):
        probe(path)


@pytest.mark.parametrize("name", ["x.mp4", "x.jpg"])
def test_a_pointer_of_git_lfs_is_called_that(tmp_path: Path, name: str):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3456\n")
    with pytest.raises(MediaError, match=r"is only the Git LFS pointer to a file; .*git lfs pull"):
        read_clip(tmp_path / name, lambda *_: [0])


@pytest.mark.parametrize("address", ["https://host/a.mp4", "rtsp://camera:554/live"])
def test_an_address_is_called_that_with_both_slashes(address: str):
    for path in (address, Path(address)):
        with pytest.raises(MediaError, match=f"^{address}: is an address, and only files are read"):
            probe(path)


def test_an_encrypted_video_is_called_that(tmp_path: Path):
    options = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "00112233445566778899aabbccddeeff",
        "encryption_kid": "00112233445566778899aabbccddeeff",
    }
    path = write_video(tmp_path / "x.mp4", moving_frames(20), container_options=options)
    with pytest.raises(MediaError, match="encrypted"):
        read_clip(path, lambda num_frames, fps: [0, num_frames - 1])
