"""Frames that are kept are those that would be read, also of odd and damaged files, and they never take more room."""

import pickle
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoding import copy_video, moving_frames, write_video
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from morphmlp.config import AugmentConfig, InputConfig
from morphmlp.data.batches.loaders import random_indices
from morphmlp.data.media import kept_frames
from morphmlp.data.media.frame_folders import FrameFolder
from morphmlp.data.media.kept_frames import KeptFrames, memory_for_frames
from morphmlp.data.media.sources import Source
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.media.tar_members import TarMember
from morphmlp.data.media.video import read_clip
from morphmlp.errors import MediaError

NUM_FRAMES = 12
FRAME = 48 * 64 * 3  # bytes
SPARSE = InputConfig(crop=(32, 32), resize=32)
ON_CLOCK = InputConfig(crop=(32, 32), resize=32, sparse_fps=30.0)
DENSE = InputConfig(sampling="dense", stride=2, crop=(32, 32), resize=32)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kept") / "x.mp4"
    return write_video(path, moving_frames(NUM_FRAMES), options={"bf": "2", "g": "6"})


@pytest.fixture(scope="module")
def sources(video: Path) -> list[Source]:
    """One of each sort; of the damaged ones, one gives fewer frames than it states, and one breaks in its middle."""
    folder, frames = video.parent, moving_frames(NUM_FRAMES)
    key_frames = write_video(folder / "key.mp4", frames, options={"bf": "0", "g": "1"})
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(folder / "x.gif", save_all=True, append_images=pictures[1:5], duration=50)
    (folder / "folder").mkdir()
    for number, picture in enumerate(pictures[:7]):
        picture.save(folder / "folder" / f"{number}.png")
    with tarfile.open(folder / "0.tar", "w") as archive:
        archive.add(video, "a.mp4")
    with tarfile.open(folder / "0.tar") as archive:
        member = TarMember(folder / "0.tar", "a.mp4", archive.getmember("a.mp4").offset_data, video.stat().st_size)
    whole = copy_video(key_frames, folder / "whole.mkv")
    (folder / "half.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (folder / "broken.mp4").write_bytes(b"no video" * 100)
    return [
        video,
        write_video(folder / "hevc.mp4", frames, codec="libx265", options={"x265-params": "log-level=none:pools=1"}),
        write_video(folder / "x.avi", frames, codec="mjpeg"),
        write_video(folder / "one.mp4", frames[:1]),
        damaged(key_frames, folder / "gap.mp4", {7}),
        damaged(key_frames, folder / "late.mp4", {*range(5, 12)}),
        folder / "half.mkv",
        folder / "x.gif",
        folder / "folder",
        FrameFolder(folder / "folder", 1, 4),
        folder / "folder" / "2.png",
        member,
        Stretch(video, 0.1, 0.3),
        Stretch(video, 3, 11, "frames"),
        Stretch(folder / "x.avi", 0.1, 0.3),
        folder / "broken.mp4",
    ]


def damaged(source: Path, path: Path, numbers: set[int]) -> Path:
    return copy_video(source, path, lambda number, data: b"\xff" * len(data) if number in numbers else data)


def results(
    read: Callable[..., np.ndarray],
    source: Source,
    config: InputConfig,
    *,
    times: int,
    time_warp: float = 0.0,
    **how: Any,
) -> list[tuple[Any, ...]]:
    """What reads of random frames give: frames or the error, notes, and the state of the random numbers after it."""
    generator, found, augment = np.random.default_rng(0), [], AugmentConfig(time_warp=time_warp)
    for _ in range(times):
        notes: list[str] = []
        try:
            sample = lambda n, fps: random_indices(n, fps, 5, config, augment, generator=generator)  # noqa: E731
            frames = read(source, sample, incomplete=notes.append, **how)
            read_as: Any = (frames.shape, frames.dtype, frames.tobytes())
        except MediaError as error:
            read_as = str(error)
        found.append((read_as, notes, str(generator.bit_generator.state)))
    return found


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    number=st.integers(0, 15),
    config=st.sampled_from([SPARSE, ON_CLOCK, DENSE]),
    short_side=st.sampled_from([None, 32]),
    stills=st.booleans(),
    room=st.sampled_from([0, 1, 5, 7, 1000]),
    time_warp=st.sampled_from([0.0, 0.5]),
)
def test_every_source_gives_what_it_gives_without_keeping(
    sources: list[Source],
    number: int,
    config: InputConfig,
    short_side: int | None,
    stills: bool,
    room: int,
    time_warp: float,
):
    kept = KeptFrames(room * FRAME, 1)
    how = {"short_side": short_side, "stills": stills, "time_warp": time_warp}
    expected = results(read_clip, sources[number], config, times=4, **how)
    assert results(kept.read_clip, sources[number], config, times=4, **how) == expected
    assert kept.num_bytes <= room * FRAME


@pytest.fixture(scope="module")
def pyramids(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pyramids")
    frames = moving_frames(30)
    return [
        write_video(folder / "x.mp4", frames, options={"bf": "5", "x264-params": "b-pyramid=normal:keyint=12"}),
        write_video(folder / "y.mp4", frames, codec="libx265", options={"x265-params": "log-level=none:pools=1"}),
    ]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    which=st.integers(0, 1),
    place=st.floats(0.02, 0.98),
    damage=st.sampled_from([b"\x00", b"\x00" * 90, b"\xff" * 40, b"\x41\x9e\x07" * 9]),
    config=st.sampled_from([SPARSE, DENSE]),
)
def test_a_damaged_file_gives_what_it_gives_without_keeping(
    pyramids: list[Path], which: int, place: float, damage: bytes, config: InputConfig
):
    content = bytearray(pyramids[which].read_bytes())
    start = int(place * len(content))
    content[start : start + len(damage)] = damage
    path = pyramids[which].with_name("damaged.mp4")
    path.write_bytes(content)
    expected = results(read_clip, path, config, times=5)
    assert results(KeptFrames(1e9, 1).read_clip, path, config, times=5) == expected


# What is read, and when


class Reads:
    """Reads of `KeptFrames`, by the number of frames that were decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.sizes: list[int] = []
        monkeypatch.setattr(kept_frames, "read_clip", self._read_clip)

    def _read_clip(self, *arguments: Any, **how: Any) -> np.ndarray:
        self.sizes.append(0)  # of a read that fails
        frames = read_clip(*arguments, **how)
        self.sizes[-1] = len(frames)
        return frames


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


def choose(*indices: int) -> Callable[[int, float], Sequence[int]]:
    return lambda num_frames, fps: indices


def test_a_video_is_decoded_once_in_part_and_once_as_a_whole(video: Path, reads: Reads):
    kept = KeptFrames(NUM_FRAMES * FRAME, 1)
    for indices in [(3, 1), (1, 3, 3), (2, 1), (0, 11), (5, 6)]:
        np.testing.assert_array_equal(kept.read_clip(video, choose(*indices)), read_clip(video, choose(*indices)))
    assert reads.sizes == [2, NUM_FRAMES]
    assert kept.num_bytes == NUM_FRAMES * FRAME


def test_the_same_frames_are_decoded_once(video: Path, reads: Reads):
    kept = KeptFrames(2 * FRAME, 1)
    for _ in range(3):
        kept.read_clip(video, choose(4, 9, 9))
    assert (reads.sizes, kept.num_bytes) == ([3], 2 * FRAME)


def test_a_video_without_room_is_never_decoded_as_a_whole(video: Path, reads: Reads):
    kept = KeptFrames((NUM_FRAMES - 1) * FRAME, 1)
    for index in range(4):
        kept.read_clip(video, choose(index))
    assert (reads.sizes, kept.num_bytes) == ([1] * 4, 0)


def test_frames_without_room_are_not_copied(video: Path, monkeypatch: pytest.MonkeyPatch):
    """Those of a large video take tens of milliseconds."""

    class Uncopied(np.ndarray):
        def __getitem__(self, where: Any) -> Any:
            assert not isinstance(where, list)
            return super().__getitem__(where)

    monkeypatch.setattr(kept_frames, "read_clip", lambda *args, **how: read_clip(*args, **how).view(Uncopied))
    kept = KeptFrames(0, 1)
    assert kept.read_clip(video, choose(3, 1)).shape == (2, 48, 64, 3)
    with pytest.raises(AssertionError):
        KeptFrames(1e9, 1).read_clip(video, choose(3, 1))


def test_a_video_may_take_four_shares_but_not_of_what_others_have(video: Path, sources: list[Source], reads: Reads):
    kept = KeptFrames(3 * FRAME, 5)
    for index in range(3):
        for source in (video, sources[11]):
            kept.read_clip(source, choose(index))
    assert reads.sizes == [1, 1, NUM_FRAMES, 1, 1]  # 15 frames have room: those of one of the two
    assert kept.num_bytes == NUM_FRAMES * FRAME
    small = KeptFrames(2 * FRAME, 100)
    for index in range(3):
        small.read_clip(video, choose(index))
    assert (reads.sizes[5:], small.num_bytes) == ([1] * 3, 0)  # 12 are more than 4 times 2


def test_a_video_with_fewer_frames_than_it_states_is_tried_once(sources: list[Source], reads: Reads):
    gap, kept = sources[4], KeptFrames(1e9, 1)
    for index in (0, 1, 2, 3):
        np.testing.assert_array_equal(kept.read_clip(gap, choose(index)), read_clip(gap, choose(index)))
    assert (reads.sizes, kept.num_bytes) == ([1, 11, 1, 1, 1], 0)


def test_good_frames_are_read_of_a_video_that_breaks_after_them(sources: list[Source], reads: Reads):
    late, kept = sources[5], KeptFrames(1e9, 1)
    for index in (0, 1, 2):
        np.testing.assert_array_equal(kept.read_clip(late, choose(index)), read_clip(late, choose(index)))
    assert (reads.sizes, kept.num_bytes) == ([1, 0, 1, 1], 0)
    with pytest.raises(MediaError, match="the stream breaks after 5 good frame"):
        kept.read_clip(late, choose(9))


def test_what_is_missing_is_said_each_time(sources: list[Source], reads: Reads):
    kept, notes = KeptFrames(1e9, 1), []
    for indices in ((0,), (1,), (0,)):
        kept.read_clip(sources[6], choose(*indices), incomplete=notes.append)
    assert len(reads.sizes) == 2
    assert len(set(notes)) == 1
    assert [note.endswith(" of 12 frames can be read") for note in notes] == [True] * 3


def test_a_frame_that_is_not_there_is_the_same_error(video: Path):
    kept = KeptFrames(1e9, 1)
    for _ in range(3):
        with pytest.raises(MediaError, match="gave 12 frames at first and 12 then"):
            kept.read_clip(video, choose(12))
        kept.read_clip(video, choose(0))


def test_what_is_done_to_frames_leaves_the_kept_ones_as_they_are(video: Path):
    kept = KeptFrames(1e9, 1)
    for indices in ((0,), (0,), (1,), (1,)):
        frames = kept.read_clip(video, choose(*indices))
        np.testing.assert_array_equal(frames, read_clip(video, choose(*indices)))
        frames[:] = 0


def test_another_process_begins_with_nothing(video: Path):
    kept = KeptFrames(FRAME, 7)
    kept.read_clip(video, choose(0))
    sent = pickle.dumps(kept)
    assert len(sent) < 200
    there = pickle.loads(sent)
    assert (there.bytes_each, there.num_sources, there.num_bytes) == (FRAME, 7, 0)


def test_the_memory_is_an_eighth_of_what_is_free_or_what_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kept_frames, "free_memory", lambda: 16_000_000_000)
    assert [memory_for_frames(limit) for limit in (None, 0.0, 2.5)] == [2e9, 0, 2.5e9]
    monkeypatch.setattr(kept_frames, "free_memory", lambda: 64_000_000_000)
    assert memory_for_frames(None) == 4e9
