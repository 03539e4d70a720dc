"""Clips of background lie between the labelled stretches, are as long as these, and are the same for the same seed."""

import io
import itertools
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from encoding import moving_frames, write_video
from hypothesis import given
from hypothesis import strategies as st

from morphmlp.config import ListConfig, SplitConfig
from morphmlp.data.media.stretches import Stretch, StretchUnit
from morphmlp.data.media.video import read_frames
from morphmlp.data.sets.background import NOTHING, Gap, draw_clips, uncovered
from morphmlp.data.sets.labelled import LabelledSet
from morphmlp.data.sets.read import read_set, read_training_sets
from morphmlp.errors import DataError

FILE = Path("x.mp4")
SPANS = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 40)).map(lambda s: (s[0], s[0] + s[1])), max_size=8)


@given(SPANS, st.integers(1, 350), st.integers(0, 5))
def test_what_no_span_covers_is_all_that_is_left(spans: list[tuple[float, float]], end: int, margin: int):
    left = {at for start, stop in uncovered(spans, end=end, margin=margin) for at in range(int(start), int(stop))}
    assert left == {at for at in range(end) if not any(a - margin <= at < b + margin for a, b in spans)}


@given(
    SPANS,
    st.lists(st.integers(1, 30), min_size=1, max_size=6),
    st.integers(0, 30),
    st.integers(0, 2**32),
    st.sampled_from(["seconds", "frames"]),
)
def test_clips_lie_in_the_gaps_and_share_nothing(
    spans: list[tuple[float, float]], lengths: list[float], count: int, seed: int, unit: StretchUnit
):
    gaps = [Gap(FILE, *bounds, unit) for bounds in uncovered(spans, end=350, margin=1)]
    clips = draw_clips(gaps, lengths, count=count, generator=np.random.default_rng(seed))
    assert clips == draw_clips(gaps, lengths, count=count, generator=np.random.default_rng(seed))
    assert len(clips) <= count
    for clip in clips:
        assert any(gap.start <= clip.start and clip.end <= gap.end + 1e-9 for gap in gaps)
        assert min(abs(clip.end - clip.start - length) for length in lengths) < 1e-9
    ordered = sorted(clips, key=lambda clip: clip.start)
    assert all(one.end <= other.start + 1e-9 for one, other in itertools.pairwise(ordered))
    if len(clips) < count:  # what is left is too short for all of them
        free = uncovered([*[(a - 1, b + 1) for a, b in spans], *[(c.start, c.end) for c in clips]], end=350, margin=0)
        assert max((b - a for a, b in free), default=0) < min(lengths) + 1e-9


def recordings(root: Path, names: str) -> Path:
    """A list of recordings of 12 s: `run` from 1 to 2 s and from 5 to 6 s, `jump` from 3 to 4 s."""
    rows = ["video,label,start,end"]
    for name in names:
        write_video(root / f"{name}.mp4", moving_frames(300, height=16, width=16))
        rows += [f"{name}.mp4,run,1,2", f"{name}.mp4,jump,3,4", f"{name}.mp4,run,5,6"]
    (root / "list.csv").write_text("\n".join(rows))
    return root / "list.csv"


def clips_of(part: LabelledSet) -> list[Stretch]:
    samples = [sample for sample in part.samples if part.classes[sample.label] == NOTHING]
    return [sample.path for sample in samples if isinstance(sample.path, Stretch)]


def test_a_background_is_its_share_of_both_parts_and_clear_of_the_labels(tmp_path: Path):
    path = recordings(tmp_path, "abcde")
    config = ListConfig(background=0.25)
    train, val = read_training_sets(path, SplitConfig(), config)
    assert (train.classes, val.classes) == (["jump", "run", NOTHING],) * 2
    assert (len(train.samples), len(clips_of(train))) == (16, 4)  # 12 are labelled
    assert (len(val.samples), len(clips_of(val))) == (4, 1)
    for clip in (*clips_of(train), *clips_of(val)):
        assert clip.end - clip.start == pytest.approx(1)
        assert all(clip.end <= at - 0.1 + 1e-9 or at + 1.1 <= clip.start + 1e-9 for at in (1, 3, 5))
        assert clip.end <= 12
    assert f"4 clips between the stretches are of class {NOTHING}" in train.note
    assert read_training_sets(path, SplitConfig(), config) == (train, val)
    assert clips_of(read_training_sets(path, SplitConfig(seed=1), config)[0]) != clips_of(train)


def test_a_background_of_recordings_in_both_parts_is_kept_apart(tmp_path: Path):
    path = recordings(tmp_path, "a")
    header, *rows = path.read_text().splitlines()
    (tmp_path / "train.csv").write_text("\n".join([header, *rows[:2]]))
    (tmp_path / "val.csv").write_text("\n".join([header, *rows[2:]]))
    train, val = read_training_sets(tmp_path, lists=ListConfig(background=0.5))
    clips = sorted([*clips_of(train), *clips_of(val)], key=lambda clip: clip.start)
    assert len(clips) == 3
    assert all(one.end <= other.start for one, other in itertools.pairwise(clips))
    assert all(clip.end <= at or at + 1 <= clip.start for clip in clips for at in (1, 3, 5))
    assert "1 recording has stretches in both train and val" in val.note


def test_a_background_is_drawn_from_recordings_in_shards(tmp_path: Path):
    content = write_video(tmp_path / "x.mp4", moving_frames(300, height=16, width=16)).read_bytes()
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "0.tar", "w") as archive:
        for number in range(6):
            label = json.dumps({"label": "run", "start": 4, "end": 5}).encode()
            for name, data in ((f"{number}.mp4", content), (f"{number}.json", label)):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    part = read_set(tmp_path / "shards", lists=ListConfig(background=0.5))
    clips = clips_of(part)
    assert len(clips) == len(part.samples) - 6 == 6
    assert all(clip.end <= 3.9 + 1e-9 or clip.start >= 5.1 - 1e-9 for clip in clips)
    assert read_frames(clips[0], [0]).shape == (1, 16, 16, 3)


def test_a_background_without_stretches_or_without_room_is_refused(tmp_path: Path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "list.csv").write_text("a.mp4,run\n")
    with pytest.raises(DataError, match=r"a background of 0\.5 is drawn from between labelled stretches, but"):
        read_set(tmp_path / "list.csv", lists=ListConfig(background=0.5))
    recordings(tmp_path, "b")
    (tmp_path / "list.csv").write_text("video,label,start,end\nb.mp4,run,0,4\nb.mp4,jump,4,8\n")
    with pytest.raises(DataError, match="no gap between the labelled stretches is as long as the shortest of them"):
        read_set(tmp_path / "list.csv", lists=ListConfig(background=0.5))
