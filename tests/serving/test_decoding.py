"""What a decoding process says of a file that it does not take: a line for its client, and nothing of the server."""

from pathlib import Path

import numpy as np
import pytest
import tiny

from morphmlp.errors import MediaError
from morphmlp.serving import decoding
from morphmlp.serving.decoding import Decoded, DecodedWindow, HowToRead, Refused, begin_windows, next_windows, read_file
from morphmlp.serving.limits import Limits
from morphmlp.tasks.classification.predictor import Predictor


@pytest.fixture(autouse=True)
def prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a decoding process, but without its limits on memory, which would be those of the tests."""
    take(monkeypatch)


def take(monkeypatch: pytest.MonkeyPatch, **limits: float) -> None:
    monkeypatch.setattr(decoding, "_how", HowToRead("video", 4, tiny.INPUT, Limits(**limits), 8))  # type: ignore[arg-type]


def video_of(data: Path) -> Path:
    return data / "val" / "moving_up" / "moving_up_0001.mp4"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        MediaError("x.mp4", "cannot be decoded (Cannot allocate memory)"),
    ],
)
def test_a_file_that_needs_too_much_memory_is_refused(error: Exception):
    def read(_: HowToRead) -> None:
        raise error

    assert decoding._or_refused(read) == Refused("needs more than the 2000 MB of memory that decoding may take")


def test_an_error_of_ours_is_none_of_the_file():
    def read(_: HowToRead) -> None:
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        decoding._or_refused(read)


def test_what_can_be_set_on_the_server_is_not_told_to_clients():
    def read(_: HowToRead) -> None:
        raise MediaError("x", reason)

    reason = "is 9 x 9 px, above the 4 pixels that are read; scale it down, or set MORPHMLP_MAX_PIXELS=81 if there is"
    assert decoding._or_refused(read) == Refused("is 9 x 9 px, above the 4 pixels that are read; scale it down")
    reason = "21 of 23 packets are damaged; --max_damage 1 (or MORPHMLP_MAX_DAMAGE=1) reads it all the same"
    assert decoding._or_refused(read) == Refused("21 of 23 packets are damaged")


def test_a_long_video_and_one_of_many_windows_are_refused(data: Path, monkeypatch: pytest.MonkeyPatch):
    take(monkeypatch, duration_s=1.5)
    for refused in (read_file(video_of(data)), begin_windows(video_of(data), 0.5, 0.1, 0)):
        assert refused == Refused("lasts 1.9 s, above the 1.5 s that are taken; send a part")
    take(monkeypatch, windows=10)
    refused = begin_windows(video_of(data), 0.5, 0.1, 0)
    assert refused == Refused("would have 16 windows, above the 10 that are taken; give a longer step_s")


def test_windows_go_on_where_they_were(data: Path):
    """A process that has died is replaced in the middle of a video."""

    def windows_from(skip: int) -> list[DecodedWindow]:
        begin_windows(video_of(data), 0.5, 0.1, skip)
        found = []
        while windows := next_windows():
            assert isinstance(windows, list)
            found += windows
        return found

    whole, rest = windows_from(0), windows_from(11)
    decoding.end_windows()
    assert next_windows() is None  # as in a process that has begun nothing
    assert len(whole) == 16
    assert [window.start_s for window in rest] == [window.start_s for window in whole[11:]]
    assert all(np.array_equal(left.clips, right.clips) for left, right in zip(rest, whole[11:], strict=True))
    assert whole[0].thumbnail.startswith(b"\xff\xd8")


def test_the_views_are_those_that_the_predictor_reads(data: Path, checkpoint: Path):
    from morphmlp.data.batches.loaders import TestClips
    from morphmlp.data.sets.labelled import Sample

    predictor = Predictor(checkpoint, device="cpu")
    clips = TestClips([Sample(video_of(data))], predictor.config.frames, predictor.input)[0]
    decoded = read_file(video_of(data))
    assert isinstance(decoded, Decoded)
    np.testing.assert_array_equal(decoded.clips, clips.clips.numpy())  # type: ignore[union-attr]
