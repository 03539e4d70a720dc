"""Segments as files that other programs take: csv, json, subtitles (WebVTT, SRT) and ActivityNet's result json.

Every file is replaced as a whole, so it can be written anew each minute while a stream runs, and read meanwhile.
"""

import csv
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from morphmlp.errors import ConfigError
from morphmlp.files import replace_json, replaced_file
from morphmlp.formatting import csv_path, csv_text, one_line, percent
from morphmlp.tasks.classification.timeline.segments import Segment

Format = Literal["csv", "json", "vtt", "srt", "activitynet"]
Recordings = Mapping[str, Sequence[Segment]]  # path or address of each recording, and what happens in it

_ENDINGS: dict[str, Format] = {  # the longer ones first
    ".activitynet.json": "activitynet",
    ".json": "json",
    ".csv": "csv",
    ".vtt": "vtt",
    ".srt": "srt",
}


def format_of(path: str | Path, chosen: str | None = None) -> Format:
    """The format of a file of segments: the chosen one, or else what its ending says.

    Raises:
        ConfigError: the format is unknown, or the ending says nothing.
    """
    for known in get_args(Format):
        if known == chosen:
            return known
    if chosen is not None:
        raise ConfigError(f"format={chosen!r}: give one of {', '.join(get_args(Format))}")
    for ending, known in _ENDINGS.items():
        if str(path).lower().endswith(ending):
            return known
    raise ConfigError(f"{path}: its ending names no format of segments; give one of {', '.join(_ENDINGS)}")


def write_segments(path: str | Path, recordings: Recordings, *, format: str | None = None) -> list[Path]:
    """Writes the segments of one or several recordings; returns the files that were written.

    Subtitles are for one recording. Those of several go into a folder, `talks` for `talks.vtt`, one file for each and
    named after it. The number of recordings decides this, so give all of them from the start, those to come as well.

    Args:
        format: one of `Format`; by default the path's ending says which.

    Raises:
        ConfigError: see `format_of`.
    """
    path, chosen = Path(path), format_of(path, format)
    if chosen in ("vtt", "srt"):
        return _write_subtitles(path, recordings, _SUBTITLES[chosen], ending=f".{chosen}")
    {"csv": _write_csv, "json": _write_json, "activitynet": _write_activitynet}[chosen](path, recordings)
    return [path]


def _write_csv(path: Path, recordings: Recordings) -> None:
    """A list of stretches that `train` and `evaluate` read: names of files lead from the csv's folder to them."""
    with replaced_file(path) as file:
        rows = csv.writer(file)
        rows.writerow(["video", "start", "end", "label", "score"])
        for name, segments in recordings.items():
            video = csv_path(_from_folder(name, Path(os.path.realpath(path)).parent))
            for segment in segments:
                times = _decimal(segment.start_s), _decimal(segment.end_s)
                rows.writerow([video, *times, csv_text(one_line(segment.label)), _decimal(segment.score)])


def _from_folder(name: str, folder: Path) -> str:
    """The name of a recording as a list in `folder` must write it; an address or a camera stays as it is."""
    if not os.path.exists(name):
        return name
    full = os.path.realpath(name)
    return os.path.relpath(full, folder) if Path(full).is_relative_to(folder) else os.path.abspath(name)


def _decimal(value: float) -> str:
    """With up to six digits after the point: 12.5, and 36000.000001 for what other notations would round."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _write_json(path: Path, recordings: Recordings) -> None:
    replace_json(path, segments_json(recordings))


def segments_json(recordings: Recordings) -> list[dict]:
    """A plain value for each recording: its name, and start, end (seconds), label and score of its segments."""
    return [
        {
            "video": name,
            "segments": [
                {"start": s.start_s, "end": s.end_s, "label": s.label, "score": round(s.score, 6)} for s in segments
            ],
        }
        for name, segments in recordings.items()
    ]


def _write_activitynet(path: Path, recordings: Recordings) -> None:
    """The result file of ActivityNet's evaluation and of those that copy it (THUMOS, HACS, FineAction)."""
    names = unique_names({name: activitynet_name(name) for name in recordings})
    results = {
        names[name]: [{"label": s.label, "score": round(s.score, 6), "segment": [s.start_s, s.end_s]} for s in segments]
        for name, segments in recordings.items()
    }
    replace_json(path, {"version": "VERSION 1.3", "results": results, "external_data": {}})


def activitynet_name(recording: str) -> str:
    """A recording as ActivityNet's files name it: without folder and ending, and a YouTube video without `v_`.

    >>> activitynet_name("val/v_QOlSCBRmfWY.mp4"), activitynet_name("video_test_0000004.mp4")
    ('QOlSCBRmfWY', 'video_test_0000004')
    """
    stem = stem_of(recording)
    return stem[2:] if re.fullmatch(r"v_[\w-]{11}", stem) else stem


def stem_of(recording: str) -> str:
    return os.path.splitext(os.path.basename(recording.rstrip("/")))[0] or recording


def unique_names(names: dict[str, str]) -> dict[str, str]:
    """The same names, with "-2", "-3" and so on for those that an earlier recording has.

    >>> unique_names({"a/x.mp4": "x", "b/x.mp4": "x"})
    {'a/x.mp4': 'x', 'b/x.mp4': 'x-2'}
    """
    taken: set[str] = set()
    chosen = {}
    for recording, name in names.items():
        number, candidate = 1, name
        while candidate.casefold() in taken:  # some file systems take a and A for one
            number, candidate = number + 1, f"{name}-{number + 1}"
        taken.add(candidate.casefold())
        chosen[recording] = candidate
    return chosen


def _write_subtitles(
    path: Path, recordings: Recordings, subtitles: Callable[[Sequence[Segment]], str], *, ending: str
) -> list[Path]:
    if len(recordings) == 1:
        files = dict.fromkeys(recordings, path)
    else:
        folder = path.with_suffix("") if path.suffix.lower() == ending else path
        names = unique_names({name: file_name(stem_of(name)) for name in recordings})
        files = {name: folder / f"{stem}{ending}" for name, stem in names.items()}
    for name, file_path in files.items():
        with replaced_file(file_path) as file:
            file.write(subtitles(sorted(recordings[name], key=lambda segment: (segment.start_s, segment.end_s))))
    return list(files.values())


def file_name(text: str) -> str:
    """Of the address of a stream, what any file system takes: `rtsp://host/1?a=b` gives `1_a_b`."""
    return re.sub(r"[^\w. ()\[\]+-]", "_", text).strip(". ")[:120] or "recording"


def webvtt(segments: Sequence[Segment]) -> str:
    """Subtitles as web pages and players take them (W3C WebVTT); segments that overlap are shown together.

    >>> print(webvtt([Segment(1.5, 3.25, "fall & lie", 0.871)]))
    WEBVTT
    <BLANKLINE>
    00:00:01.500 --> 00:00:03.250
    fall &amp; lie (87%)
    <BLANKLINE>
    """
    cues = [f"{_times(segment, '.')}\n{_html_escaped(_cue_text(segment))}\n" for segment in segments]
    return "\n".join(["WEBVTT\n", *cues])


def srt(segments: Sequence[Segment]) -> str:
    """SubRip subtitles, whose cues have numbers from 1.

    The format has no escapes, and players take `<i>`, `{...}` and `\\N` for commands: an invisible word joiner after
    the first character of these keeps them text.
    """
    return "\n".join(
        f"{number}\n{_times(segment, ',')}\n{_srt_text(_cue_text(segment))}\n"
        for number, segment in enumerate(segments, start=1)
    )


def _srt_text(text: str) -> str:
    return re.sub(r"[<{\\]|--(?=>)", lambda match: match[0] + "\N{WORD JOINER}", text)


_SUBTITLES: dict[str, Callable[[Sequence[Segment]], str]] = {"vtt": webvtt, "srt": srt}


def _cue_text(segment: Segment) -> str:
    return f"{one_line(segment.label)} ({percent(segment.score, digits=0)})"


def _html_escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _times(segment: Segment, point: str) -> str:
    """Start and end of a cue, which lasts a millisecond at least: an empty one is an error in both formats."""
    start, end = (round(1000 * time_s) for time_s in (segment.start_s, segment.end_s))
    return f"{_clock(start, point)} --> {_clock(max(end, start + 1), point)}"


def _clock(milliseconds: int, point: str) -> str:
    """3,723,004 ms as 01:02:03.004; there may be more than 99 hours."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{rest:03d}"
