"""Clips of stretches as windows: how long they are, where their middle lies, and that they stay in the recording."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from encoding import moving_frames, write_video
from hypothesis import example, given
from hypothesis import strategies as st

from morphmlp.config import AugmentConfig, InputConfig, ListConfig, SplitConfig
from morphmlp.data.batches.loaders import BrokenSample, SampleClips, TestClips, TrainingClips
from morphmlp.data.media.stretches import Stretch, StretchWindow
from morphmlp.data.sets.background import NOTHING, Gap, draw_pieces
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.data.sets.read import read_set, read_training_sets
from morphmlp.data.sets.stretch_windows import window_length_s, with_windows
from morphmlp.errors import DataError

FILE = Path("x.mp4")
INPUT = InputConfig(crop=(32, 32), resize=36)
AUGMENT = AugmentConfig(flip=0.5)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of two recordings of 8 s at 25 fps: `run` from 1 to 2 s and 4 to 5 s, `jump` from 2.5 to 4 s."""
    root = tmp_path_factory.mktemp("recordings")
    rows = ["video,label,start,end"]
    for name in "ab":
        write_video(root / f"{name}.mp4", moving_frames(200, height=48, width=48))
        rows += [f"{name}.mp4,run,1,2", f"{name}.mp4,jump,2.5,4", f"{name}.mp4,run,4,5"]
    (root / "list.csv").write_text("\n".join(rows))
    return root / "list.csv"


@pytest.mark.parametrize(
    ("share", "bounds"),
    [(0.0, (3.0, 5.0)), (0.5, (3.5, 5.5)), (1.0, (4.0, 6.0))],  # of 4 to 5 s: the middle is at 4, 4.5 and 5 s
)
def test_the_middle_of_a_window_is_at_a_share_of_the_stretch(share: float, bounds: tuple[float, float]):
    window = StretchWindow(length=2.0, end=10.0).around(Stretch(FILE, 4, 5), share=share)
    assert (window.start, window.end) == bounds


@example(2, 1, (0, 1), 1.0, "frames")
@given(
    st.integers(1, 400),
    st.integers(1, 200),
    st.tuples(st.integers(0, 399), st.integers(1, 100)),
    st.floats(0, 1),
    st.sampled_from(["seconds", "frames"]),
)
def test_a_window_stays_in_its_recording_and_is_as_long_as_that_allows(end, length, place, share, unit):
    start = min(place[0], end - 1)
    stretch = Stretch(FILE, start, min(start + place[1], end), unit)
    window = StretchWindow(float(length), float(end)).around(stretch, share=share)
    middle = stretch.start + share * (stretch.end - stretch.start)
    assert window.start >= 0
    assert window.end <= end
    assert window.end - window.start == pytest.approx(min(length, end))
    if unit == "frames":
        assert window.start == int(window.start)
        assert window.start <= int(min(middle, stretch.end - 1)) <= window.end - 1
    elif length / 2 <= middle <= end - length / 2:
        assert (window.start + window.end) / 2 == pytest.approx(middle)


def test_windows_are_twice_the_median_stretch_unless_their_length_is_given(recordings: Path):
    train, val = read_training_sets(recordings, SplitConfig(), ListConfig(window=0))
    assert train.window_s == val.window_s == 2.0  # of 1, 1 and 1.5 s
    assert "a clip of a stretch is a window of 2 s whose middle lies in it" in train.note
    assert read_set(recordings, lists=ListConfig(window=0.7)).window_s == 0.7
    assert read_set(recordings).window_s is None
    file = recordings.parent / "a.mp4"
    counted = [Sample(Stretch(file, 0, frames, "frames"), 0) for frames in (10, 20, 70)]  # at 25 a second
    assert window_length_s(0, counted, origin="x") == 1.6
    missing = [Sample(Stretch(FILE, 0, 5, "frames"), 0)]
    with pytest.raises(DataError, match="x: the stretches have no length in seconds that can be read"):
        window_length_s(0, missing, origin="x")


def test_windows_around_whole_files_are_refused_in_training_only(tmp_path: Path):
    (tmp_path / "list.csv").write_text("a.mp4,run\nb.mp4,jump\nc.mp4,run\nd.mp4,jump\n")
    for name in "abcd":
        (tmp_path / f"{name}.mp4").touch()
    with pytest.raises(DataError, match="windows lie around labelled stretches, but the samples are whole files"):
        read_training_sets(tmp_path / "list.csv", SplitConfig(val_fraction=0.5), ListConfig(window=2))
    whole = read_set(tmp_path / "list.csv", lists=ListConfig(window=2))
    assert [sample.window for sample in whole.samples] == [None] * 4


def test_a_stretch_after_the_end_or_of_a_missing_file_is_left_to_the_loader(recordings: Path):
    file = recordings.parent / "a.mp4"
    part = LabelledSet([Sample(Stretch(file, 9, 10), 0), Sample(Stretch(FILE, 1, 2), 0), Sample(file, 0)], ["run"])
    windowed = with_windows(part, 2.0)
    assert [sample.window for sample in windowed.samples] == [None] * 3
    late = TestClips(windowed.samples, 4, INPUT)[0]
    assert isinstance(late, BrokenSample)
    assert "starts after the end" in late.reason


def test_a_training_clip_is_a_window_whose_middle_is_drawn_anew_in_each_pass(recordings: Path):
    samples = read_set(recordings, lists=ListConfig(window=2)).samples[:1]
    generators = [np.random.default_rng([0, number, 0]) for number in range(20)]
    windows = [samples[0].shown(generator) for generator in generators]
    middles = [(window.start + window.end) / 2 for window in windows if isinstance(window, Stretch)]
    assert len(set(middles)) == 20
    assert 1 <= min(middles) < 1.1
    assert 1.9 < max(middles) < 2
    clips = TrainingClips(samples, 4, INPUT, AUGMENT, seed=0)
    drawn = replace(samples[0], path=windows[3], window=None)
    expected = _clip_of(drawn, passed=3)
    item = clips[3]
    assert isinstance(item, SampleClips)
    assert item.clips.equal(expected)


def _clip_of(sample: Sample, *, passed: int):
    """The clip of a window that has been drawn, with what the same generator draws next."""
    from morphmlp.data.batches.loaders import random_indices
    from morphmlp.data.clips.augment import training_clip
    from morphmlp.data.media.video import read_clip

    generator = np.random.default_rng([0, passed, 0])
    generator.random()  # the middle
    frames = read_clip(sample.path, lambda n, fps: random_indices(n, fps, 4, INPUT, AUGMENT, generator=generator))
    return training_clip(frames, INPUT, AUGMENT, seed=int(generator.integers(2**62)), may_flip=True).clip[None]


def test_a_test_clip_is_the_window_around_the_middle_of_the_stretch(recordings: Path):
    file = recordings.parent / "a.mp4"
    windowed = with_windows(LabelledSet([Sample(Stretch(file, 4, 5), 0)], ["run"]), 2.0)
    counted = with_windows(LabelledSet([Sample(Stretch(file, 100, 125, "frames"), 0)], ["run"]), 2.0)
    expected = TestClips([Sample(Stretch(file, 3.5, 5.5), 0)], 4, INPUT)[0]
    assert isinstance(expected, SampleClips)
    assert counted.samples[0].window == StretchWindow(50.0, 200.0)
    frames = TestClips([Sample(Stretch(file, 87, 137, "frames"), 0)], 4, INPUT)[0]
    assert isinstance(frames, SampleClips)
    for part, clip in ((windowed, expected), (counted, frames)):
        item = TestClips(part.samples, 4, INPUT)[0]
        assert isinstance(item, SampleClips)
        assert item.clips.equal(clip.clips)


def test_clips_of_whole_stretches_draw_nothing_for_a_window(recordings: Path):
    [sample, *_] = read_set(recordings).samples
    generator = np.random.default_rng(0)
    assert sample.shown(generator) == sample.shown() == sample.path
    assert generator.bit_generator.state == np.random.default_rng(0).bit_generator.state


def test_the_pieces_of_gaps_are_even_and_cover_them():
    gaps = [Gap(FILE, 2, 3.2, "seconds"), Gap(FILE, 5, 5.4, "seconds")]
    pieces = draw_pieces(gaps, longest=0.7, count=9, generator=np.random.default_rng(0))
    assert sorted((piece.start, piece.end) for piece in pieces) == [(2, 2.6), (2.6, 3.2), (5, 5.4)]
    assert draw_pieces(gaps, longest=0.7, count=2, generator=np.random.default_rng(0)) == pieces[:2]
    counted = draw_pieces([Gap(FILE, 3, 10, "frames")], longest=2, count=9, generator=np.random.default_rng(0))
    assert sorted((piece.start, piece.end) for piece in counted) == [(3, 5), (5, 6), (6, 8), (8, 10)]


def test_the_background_of_windows_may_begin_close_to_a_stretch(recordings: Path):
    part = read_set(recordings, lists=ListConfig(window=0, background=0.5))
    spans = [
        (sample.path.start, sample.path.end)
        for sample in part.samples
        if isinstance(sample.path, Stretch) and part.classes[sample.label] == NOTHING
    ]
    assert len(spans) == 6  # as many as are labelled, of 2 x (1 + 1 + 3)
    # The gaps, with a margin of 0.1 s: 0 to 0.9, 2.1 to 2.4 and 5.1 to 8 s, in pieces of up to 1 s.
    allowed = [(0, 0.9), (2.1, 2.4), (5.1, 6.067), (6.067, 7.033), (7.033, 8)]
    assert set(spans) <= set(allowed)
