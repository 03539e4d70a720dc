"""Files of segments: each format by its own rules, read back where something reads it."""

import csv
import json
import math
import os
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphmlp.errors import ConfigError
from morphmlp.formatting import from_csv_text
from morphmlp.tasks.classification.timeline.outputs import activitynet_name, format_of, srt, webvtt, write_segments
from morphmlp.tasks.classification.timeline.segments import Segment

SEGMENTS = [Segment(0.5, 2.25, "sit <down> & up", 0.871), Segment(1.5, 36000.000001, "=1+1", 0.5)]


@pytest.mark.parametrize(
    ("path", "chosen", "expected"),
    [
        ("a.csv", None, "csv"),
        ("a.JSON", None, "json"),
        ("a.activitynet.json", None, "activitynet"),
        ("a.vtt", None, "vtt"),
        ("a.srt", None, "srt"),
        ("a.txt", "srt", "srt"),
        ("a.json", "activitynet", "activitynet"),
    ],
)
def test_the_ending_or_the_choice_says_the_format(path: str, chosen: str | None, expected: str):
    assert format_of(path, chosen) == expected


def test_an_unknown_format_is_named_with_those_that_there_are():
    with pytest.raises(ConfigError, match=r"a\.txt: .*\.activitynet\.json, \.json, \.csv, \.vtt, \.srt"):
        format_of("a.txt")
    with pytest.raises(ConfigError, match="format='ass': give one of csv, json, vtt, srt, activitynet"):
        format_of("a.csv", "ass")


def test_a_csv_names_files_from_its_folder_and_keeps_every_microsecond(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").touch()
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    recordings = {"videos/a.mp4": SEGMENTS, "camera:0": SEGMENTS[:1], "=b.mp4": []}
    assert write_segments("here.csv", recordings) == [Path("here.csv")]
    write_segments("out/there.csv", recordings)
    rows = list(csv.DictReader(Path("here.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["video"] for row in rows] == ["videos/a.mp4", "videos/a.mp4", "camera:0"]
    assert [from_csv_text(row["label"]) for row in rows[:2]] == [segment.label for segment in SEGMENTS]
    assert rows[1] == {
        "video": "videos/a.mp4",
        "start": "1.5",
        "end": "36000.000001",
        "label": "'=1+1",
        "score": "0.5",
    }
    there = list(csv.DictReader(Path("out/there.csv").read_text(encoding="utf-8").splitlines()))
    assert there[0]["video"] == str(tmp_path / "videos" / "a.mp4")


def test_json_holds_every_recording_also_one_without_segments(tmp_path: Path):
    write_segments(tmp_path / "a.json", {"x.mp4": SEGMENTS[:1], "y.mp4": []})
    assert json.loads((tmp_path / "a.json").read_text()) == [
        {"video": "x.mp4", "segments": [{"start": 0.5, "end": 2.25, "label": "sit <down> & up", "score": 0.871}]},
        {"video": "y.mp4", "segments": []},
    ]


def test_activitynet_json_is_what_its_evaluation_reads(tmp_path: Path):
    recordings = {"val/v_QOlSCBRmfWY.mp4": SEGMENTS[:1], "a/x.mp4": [], "b/x.mp4": []}
    write_segments(tmp_path / "a.activitynet.json", recordings)
    assert json.loads((tmp_path / "a.activitynet.json").read_text()) == {
        "version": "VERSION 1.3",
        "results": {
            "QOlSCBRmfWY": [{"label": "sit <down> & up", "score": 0.871, "segment": [0.5, 2.25]}],
            "x": [],
            "x-2": [],
        },
        "external_data": {},
    }
    assert activitynet_name("rtsp://host/stream/") == "stream"


def test_webvtt_is_escaped_and_its_cues_may_overlap():
    assert webvtt(SEGMENTS) == (
        "WEBVTT\n\n"
        "00:00:00.500 --> 00:00:02.250\nsit &lt;down&gt; &amp; up (87%)\n\n"
        "00:00:01.500 --> 10:00:00.000\n=1+1 (50%)\n"
    )
    assert webvtt([]) == "WEBVTT\n"


def test_srt_has_numbers_and_a_comma_before_the_milliseconds():
    joiner = "\N{WORD JOINER}"
    assert srt(SEGMENTS) == (
        f"1\n00:00:00,500 --> 00:00:02,250\nsit <{joiner}down> & up (87%)\n\n"
        "2\n00:00:01,500 --> 10:00:00,000\n=1+1 (50%)\n"
    )
    assert srt([]) == ""


def read_subtitles(path: Path) -> list[tuple[float, float, str]]:
    """Start, duration and text of each cue, as FFmpeg reads them: the text is the tenth field of ASS."""
    cues = []
    with av.open(str(path)) as container:
        for packet in container.demux():
            for subtitle in packet.decode():
                text = getattr(subtitle, "ass").decode().split(",", 8)[8]  # noqa: B009 (PyAV's types lack it)
                start, duration = (float(ticks * packet.time_base) for ticks in (packet.pts or 0, packet.duration or 0))
                cues.append((start, duration, text))
    return cues


@pytest.mark.parametrize("ending", ["vtt", "srt"])
def test_ffmpeg_reads_the_subtitles_and_takes_no_label_for_a_command(ending: str, tmp_path: Path):
    labels = ["<b>bold</b>", "a --> b", "{\\an8}top", "one\ntwo\n\nthree", "a & b &amp; c", "12", "über 行動"]
    segments = [Segment(i, i + 1.5, label, 1.0) for i, label in enumerate(labels)]
    path = tmp_path / f"a.{ending}"
    write_segments(path, {"x.mp4": segments})
    cues = read_subtitles(path)
    assert [cue[:2] for cue in cues] == [(i, 1.5) for i in range(len(labels))]
    texts = [cue[2].replace("\N{WORD JOINER}", "").removesuffix(" (100%)") for cue in cues]
    expected = ["<b>bold</b>", "a --> b", "{\\an8}top", "one two  three", "a & b &amp; c", "12", "über 行動"]
    if ending == "vtt":  # how FFmpeg says in ASS that a brace is text
        texts = [text.replace("\\{{}", "{") for text in texts]
    assert texts == expected


def test_subtitles_of_several_recordings_are_one_file_each(tmp_path: Path):
    recordings = {"a/x.mp4": SEGMENTS, "b/X.mp4": [], "rtsp://host/1?a=b": SEGMENTS[:1]}
    written = write_segments(tmp_path / "talks.srt", recordings)
    assert written == [tmp_path / "talks" / name for name in ("x.srt", "X-2.srt", "1_a_b.srt")]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["1_a_b.srt", "X-2.srt", "talks", "x.srt"]
    assert (tmp_path / "talks" / "X-2.srt").read_text() == ""


def test_a_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.vtt"
    write_segments(path, {"x.mp4": SEGMENTS})
    before = path.read_text()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write_segments(path, {"x.mp4": []})
    assert path.read_text() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.vtt"]


@given(st.floats(0, 400_000, allow_nan=False), st.floats(0, 10))
def test_a_clock_is_right_to_half_a_millisecond(start_s: float, duration_s: float):
    segments = [Segment(start_s, start_s + duration_s, "a")]
    for text, point in ((webvtt(segments), "."), (srt(segments), ",")):
        times = next(line for line in text.splitlines() if "-->" in line).replace(point, ".").split(" --> ")
        seconds = [sum(float(part) * 60**i for i, part in enumerate(reversed(time.split(":")))) for time in times]
        assert math.isclose(seconds[0], start_s, abs_tol=0.00051)
        assert seconds[1] > seconds[0]
