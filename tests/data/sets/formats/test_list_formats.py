"""Each format of a list of stretches gives exact rows, and a row that cannot be is one line with its number."""

import json
import re
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphmlp.data.sets.formats.columns import time_columns
from morphmlp.data.sets.formats.rows import ListRow
from morphmlp.data.sets.formats.times import frames_of, seconds_of
from morphmlp.data.sets.list_rows import read_rows
from morphmlp.errors import DataError


def rows(tmp_path: Path, text: str, name: str = "l.csv", fps: float | None = None) -> list[ListRow]:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_rows(path, fps=fps)


def stretches(found: list[ListRow]) -> list[tuple[str, str, float | None, float | None, str]]:
    return [(row.name, row.label, row.start, row.end, row.unit) for row in found]


RUN, JUMP = ("a.mp4", "run", 1.5, 4.0, "seconds"), ("b c.mp4", "jump high", 62.0, 3723.5, "seconds")


@pytest.mark.parametrize(
    "text",
    [
        "video,label,start,end\na.mp4,run,1.5,4\nb c.mp4,jump high,62,3723.5\n",
        "\ufeffend,start,label,video\r\n4.0,1.5,run,a.mp4\r\n3723.5,62,jump high,b c.mp4\r\n",
        "path\tclass\tt_start\tt_end\na.mp4\trun\t1.5\t4\nb c.mp4\tjump high\t1:02\t1:02:03.5\n",
        "Path;Action Name;Start Time;Stop Time\na.mp4;run;1,5;4\nb c.mp4;jump high;1:02;62:03,5\n",
        "filename,category,segment_start,segment_end,x\na.mp4,run,1.5,4,\nb c.mp4,jump high,62,3723.5,y\n",
        "video_id,activity,begin_time,duration\na.mp4,run,1.5,2.5\nb c.mp4,jump high,62,3661.5\n",
        "file,label,start_ms,end_ms\na.mp4,run,1500,4000\nb c.mp4,jump high,62000,3723500\n",
        "file,label,start (s),end (s)\na.mp4,run,1.5s,4 s\nb c.mp4,jump high,62,3723.5\n",
        'video,label,startTime,endTime\na.mp4,run,01.50,00:04\n"b c.mp4",jump high,00:01:02,1:02:03.50\n',
        "video,class_id,label,start_timestamp,stop_timestamp,start_frame,stop_frame\n"
        "a.mp4,0,run,1.5,4.0,10,20\nb c.mp4,1,jump high,00:01:02.0,01:02:03.5,3,4\n",
    ],
)
def test_a_header_names_the_columns_in_any_order(tmp_path: Path, text: str):
    assert stretches(rows(tmp_path, text)) == [RUN, JUMP]


@pytest.mark.parametrize(
    ("header", "values", "start", "end"),
    [
        ("start_frame,end_frame", "10,20", 10, 20),
        ("first_frame,last_frame", "10,20", 10, 21),
        ("start_frame,stop_frame", "10,20", 10, 21),
        ("first_frame,num_frames", "10,20", 10, 30),
        ("startframe,endframe", "0,20.0", 0, 20),
        ("frame_start,frame_end", "10,11", 10, 11),
    ],
)
def test_frames_are_counted_where_a_column_is_called_so(tmp_path: Path, header: str, values: str, start: int, end: int):
    """Of frames, `end` is the first after the stretch, as in seconds; `last` and `stop` are part of it."""
    found = rows(tmp_path, f"video,label,{header}\na.mp4,run,{values}\n")
    assert stretches(found) == [("a.mp4", "run", start, end, "frames")]


def test_frame_numbers_of_an_assumed_rate_become_seconds(tmp_path: Path):
    found = rows(tmp_path, "video,label,start_frame,end_frame\na.mp4,run,12,48\n", fps=24)
    assert stretches(found) == [("a.mp4", "run", 0.5, 2.0, "seconds")]


def test_a_row_without_times_is_the_whole_file(tmp_path: Path):
    found = rows(tmp_path, "video,label,start,end\na.mp4,run,,\nb.mp4,run,0,1\n")
    assert [(row.start, row.end) for row in found] == [(None, None), (0, 1)]


def test_a_json_list_of_objects_is_the_same_table(tmp_path: Path):
    entries = [{"video": "a.mp4", "label": "run", "start": 1.5, "end": "00:04"}]
    assert stretches(rows(tmp_path, json.dumps(entries), "l.json")) == [RUN]


def test_columns_are_told_by_the_words_of_their_names():
    header = ["id", "Start_Time", "end", "startFrame", "last_frame", "total_frames", "start_position", "count"]
    assert time_columns(header) == {
        "seconds": {"start": "Start_Time", "end": "end", "length": "count"},
        "frames": {"start": "startFrame", "last": "last_frame"},
    }


BAD_ROWS = [
    ("5,2", r"row 2: a\.mp4: a stretch from 5\.0 to 2\.0 seconds: the end has to come after the start"),
    ("2,2", r"row 2: .* from 2\.0 to 2\.0 seconds: the end has to come after the start"),
    ("-1,2", r"row 2: .* from -1\.0 to 2\.0 seconds: the first of all seconds is 0"),
    ("nan,2", r"row 2: start 'nan' is no time; allowed: seconds \(75\.5\), minutes:seconds"),
    ("1,inf", r"row 2: end 'inf' is no time"),
    ("1,1:75", r"row 2: end '1:75' is no time"),
    ("1,soon", r"row 2: end 'soon' is no time"),
    ("1,00:00:01:12", r"row 2: end '00:00:01:12' is no time"),
    ("1,", r"row 2: end '' is no time"),
    (",2", r"row 2: start '' is no time"),
    ("1", r"row 2: .* does not fill the columns video,label,start,end"),
]


@pytest.mark.parametrize(("values", "reason"), BAD_ROWS)
def test_a_row_that_cannot_be_is_named_with_its_number(tmp_path: Path, values: str, reason: str):
    with pytest.raises(DataError, match=reason) as refused:
        rows(tmp_path, f"video,label,start,end\na.mp4,run,{values}\n")
    assert "\n" not in str(refused.value)
    assert str(tmp_path / "l.csv") in str(refused.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "video,label,start_frame,end_frame\na.mp4,run,1.5,4\n",
            "row 2: start_frame '1.5' is no time; allowed: a whole",
        ),
        (
            "video,start,end\na.mp4,1,2\n",
            "its header names no column for the label, such as .* it has video, start, end",
        ),
        ("label,start,end\nrun,1,2\n", "its header names no column for the video"),
        ("video,label,start,end\na.mp4,,1,2\n", "row 2: .* has no label"),
        ("a.mp4,run,1,2\n", "row 1: .* is not path,label.* stretches need a header, such as video,label,start,end"),
    ],
)
def test_a_table_that_lacks_something_is_refused(tmp_path: Path, text: str, reason: str):
    with pytest.raises(DataError, match=reason):
        rows(tmp_path, text)


def test_kinetics_rows_have_times_and_the_names_of_both_sorts_of_files(tmp_path: Path):
    found = rows(tmp_path, "label,youtube_id,time_start,time_end,split\nabseiling,0347ZoDXyP0,95,105.5,train\n")
    assert found == [
        ListRow("row 2", "0347ZoDXyP0_000095_000105", "abseiling", 95, 105.5, ids=("0347ZoDXyP0",), split="train")
    ]
    with pytest.raises(DataError, match=r"row 2: .* the end has to come after the start"):
        rows(tmp_path, "label,youtube_id,time_start,time_end\nx,abc,20,10\n", "k.csv")


def test_the_json_of_kinetics_has_the_rows_of_its_csv(tmp_path: Path):
    clip = {"annotations": {"label": "abseiling", "segment": [95.0, 105.5]}, "duration": 10.5, "subset": "train"}
    test = {"annotations": {"segment": [1.0, 11.0]}, "subset": "test", "url": "https://host/x"}
    found = rows(tmp_path, json.dumps({"0347ZoDXyP0": clip, "-4bhQYJGXNU": test}), "train.json")
    table = rows(tmp_path, "youtube_id,label,time_start,time_end,split\n0347ZoDXyP0,abseiling,95,105.5,train", "k.csv")
    assert found == [replace(row, where="0347ZoDXyP0") for row in table]
    with pytest.raises(DataError, match=r"not one of its clips has a label; a test list without labels cannot be used"):
        rows(tmp_path, json.dumps({"-4bhQYJGXNU": test}), "test.json")


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [
        ({"label": "x", "segment": [1]}, r"abc: \[1\] is no segment of two numbers, its start and end in seconds"),
        ({"label": "x", "segment": [9, 2]}, "abc: .* the end has to come after the start"),
        ({"label": 3, "segment": [1, 2]}, "abc: 3 is no label"),
    ],
)
def test_a_clip_of_a_kinetics_json_that_cannot_be_used_is_refused(tmp_path: Path, annotations: Any, reason: str):
    with pytest.raises(DataError, match=reason):
        rows(tmp_path, json.dumps({"abc": {"annotations": annotations, "subset": "val"}}), "val.json")


ACTIVITYNET: dict[str, Any] = {
    "version": "VERSION 1.3",
    "taxonomy": [],
    "database": {
        "abc": {
            "duration": 82.7,
            "subset": "training",
            "annotations": [{"segment": [6.1, 19.8], "label": "Long jump"}, {"segment": [20, 30], "label": "Rafting"}],
        },
        "def": {"duration": 10, "subset": "validation", "annotations": [{"segment": [0, 5], "label": "Rafting"}]},
        "ghi": {"duration": 10, "subset": "testing", "annotations": []},
    },
}


def test_activitynet_segments_are_rows(tmp_path: Path):
    found = rows(tmp_path, json.dumps(ACTIVITYNET), "activity_net.v1-3.json")
    ids = ("abc", "v_abc")
    assert found == [
        ListRow("abc, segment 1", "abc", "Long jump", 6.1, 19.8, ids=ids, split="training"),
        ListRow("abc, segment 2", "abc", "Rafting", 20, 30, ids=ids, split="training"),
        ListRow("def, segment 1", "def", "Rafting", 0, 5, ids=("def", "v_def"), split="validation"),
    ]


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ({"segment": [5, 1], "label": "x"}, "v1, segment 1: v1: a stretch from 5.0 to 1.0 seconds: the end has to"),
        ({"segment": [1], "label": "x"}, "v1, segment 1: .* has no segment of two numbers"),
        ({"segment": [1, 2]}, "v1, segment 1: .* has no label"),
        ({"segment": [float("nan"), 2], "label": "x"}, "v1, segment 1: .* has no segment of two numbers"),
    ],
)
def test_an_activitynet_segment_that_cannot_be_is_named(tmp_path: Path, annotation: dict[str, Any], reason: str):
    database = {"v1": {"subset": "training", "annotations": [annotation]}}
    with pytest.raises(DataError, match=reason):
        rows(tmp_path, json.dumps({"database": database}), "l.json")


def test_thumos_rows_take_their_class_from_the_name_of_the_file(tmp_path: Path):
    text = "video_validation_0000266 72.8 76.4\nvideo_validation_0000681  44.0  50.9 \n"
    assert rows(tmp_path, text, "BaseballPitch_val.txt") == [
        ListRow("row 1", "video_validation_0000266", "BaseballPitch", 72.8, 76.4, split="val"),
        ListRow("row 2", "video_validation_0000681", "BaseballPitch", 44.0, 50.9, split="val"),
    ]


@pytest.mark.parametrize(
    "text", ["a.mp4 1.5 4 run\nb.mp4 1:02 63 jump high\n", "a.mp4,1.5,4,run\nb.mp4,1:02,63,jump high\n"]
)
def test_rows_of_a_video_two_times_and_a_label_need_no_header(tmp_path: Path, text: str):
    found = stretches(rows(tmp_path, text, "l.txt"))
    assert found == [RUN, ("b.mp4", "jump high", 62, 63, "seconds")]


def test_whole_numbers_before_a_number_stay_the_frames_of_a_folder(tmp_path: Path):
    assert rows(tmp_path, "jumping/a 1 17 0\n", "l.txt") == [ListRow("row 1", "jumping/a", "0", first=1, num_frames=17)]
    assert rows(tmp_path, "100218 42 134\n", "a_val.txt") == [ListRow("row 1", "100218", "134", num_frames=42)]


def label_studio(*values: dict[str, Any], **data: Any) -> str:
    result = [{"type": "labels", "value": value} for value in values]
    task = {
        "id": 1,
        "data": {"video": "/data/upload/1/9f3c2a1b-talk.mp4"} | data,
        "annotations": [{"was_cancelled": True, "result": []}, {"was_cancelled": False, "result": result}],
        "predictions": [{"result": [{"value": {"start": 0, "end": 9, "labels": ["wrong"]}}]}],
    }
    return json.dumps([task])


FRAMES = {"ranges": [{"start": 26, "end": 50}], "timelinelabels": ["nod"]}


def test_label_studio_regions_in_seconds_are_rows(tmp_path: Path):
    found = rows(tmp_path, label_studio({"start": 1.5, "end": 4, "labels": ["wave"]}), "l.json")
    ids = ("9f3c2a1b-talk", "talk")
    assert found == [ListRow("task 1, region 1", "/data/upload/1/9f3c2a1b-talk.mp4", "wave", 1.5, 4.0, ids=ids)]


@pytest.mark.parametrize(
    ("text", "fps"),
    [
        (label_studio(FRAMES), 25),
        (label_studio(FRAMES, fps=25), None),
        (label_studio(FRAMES, fps="25"), None),
        (label_studio(FRAMES, {"framesCount": 250, "duration": 10, "labels": ["box"], "sequence": []}), None),
    ],
)
def test_frame_numbers_of_label_studio_become_seconds_by_the_rate_of_the_project(
    tmp_path: Path, text: str, fps: float | None
):
    """They count from 1, and the last one is part of the region."""
    assert stretches(rows(tmp_path, text, "l.json", fps)) == [
        ("/data/upload/1/9f3c2a1b-talk.mp4", "nod", 1.0, 2.0, "seconds")
    ]


def test_frame_numbers_of_label_studio_without_a_rate_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"task 1, region 1: frames 26 to 50 count at the rate .* --lists\.fps RATE"):
        rows(tmp_path, label_studio(FRAMES), "l.json")


def test_the_short_export_of_label_studio_is_read(tmp_path: Path):
    task = {
        "id": 3,
        "video": "/data/local-files/?d=talks/a%20b.mp4",
        "acts": [{"start": 1, "end": 2, "labels": ["nod"]}],
    }
    assert rows(tmp_path, json.dumps([task]), "l.json") == [
        ListRow("task 1, region 1", "talks/a b.mp4", "nod", 1, 2, ids=("a b",))
    ]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"start": 1, "end": 2, "labels": ["a", "b"]}, "task 1, region 1: .* has 2 labels; each region needs one"),
        ({"start": 3, "end": 2, "labels": ["a"]}, "task 1, region 1: .* the end has to come after the start"),
        ({"choices": ["x"]}, "is an export of Label Studio without a labelled region of time"),
    ],
)
def test_a_label_studio_region_that_cannot_be_is_named(tmp_path: Path, value: dict[str, Any], reason: str):
    with pytest.raises(DataError, match=reason):
        rows(tmp_path, label_studio(value), "l.json")


def cvat(*tracks: str, meta: str = "<source>talk.mp4</source>") -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
        f"<meta><task><id>7</id>{meta}</task></meta>{''.join(tracks)}</annotations>"
    )


def track(*frames: tuple[int, int], label: str = "wave", inside: str = "") -> str:
    boxes = "".join(
        f'<box frame="{frame}" keyframe="1" outside="{outside}" xtl="0" ytl="0" xbr="1" ybr="1">{inside}</box>'
        for frame, outside in frames
    )
    return f'<track id="0" label="{label}" source="manual">{boxes}</track>'


def test_cvat_tracks_are_stretches_of_frames(tmp_path: Path):
    tracks = track(*((frame, 0) for frame in range(12, 40)), (40, 1)), track((3, 0), (5, 1), (9, 0), label="nod")
    assert rows(tmp_path, cvat(*tracks), "annotations.xml") == [
        ListRow("track 0", "talk.mp4", "wave", 12, 40, "frames"),
        ListRow("track 0", "talk.mp4", "nod", 3, 5, "frames"),
        ListRow("track 0", "talk.mp4", "nod", 9, 10, "frames"),
    ]


def test_a_label_attribute_of_cvat_comes_before_the_label_of_the_track(tmp_path: Path):
    inside = '<attribute name="mood">glad</attribute><attribute name="Action">run</attribute>'
    meta = "<subset>Train</subset><source>talk.mp4</source><frame_filter>step=5</frame_filter>"
    found = rows(tmp_path, cvat(track((0, 0), (5, 0), inside=inside, label="person"), meta=meta), "a.xml")
    assert found == [ListRow("track 0", "talk.mp4", "run", 0, 10, "frames", split="Train")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<annotations>", "cannot be read as XML"),
        ("<annotations><image/></annotations>", "has no tracks; of XML files, those of 'CVAT for video 1.1' are read"),
        (cvat(track((1, 0)), meta=""), "track 0: the file does not say which video"),
        (cvat(track((-1, 0))), "track 0: frame '-1' is no whole number"),
    ],
)
def test_an_xml_that_is_no_such_list_is_refused(tmp_path: Path, text: str, reason: str):
    with pytest.raises(DataError, match=reason):
        rows(tmp_path, text, "a.xml")


VIA = """# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)
# Notes:
# - temporal coordinate of [1.349,2.741] denotes a temporal segment from time 1.346 sec. to 2.741 sec.
# SHAPE_ID = {"POINT":1}
# FLAG_ID = {"RESERVED_FOR_FUTURE":1}
# ATTRIBUTE = {"1":{"aname":"Comment","anchor_id":"FILE1_Z2_XY0","type":1,"options":{}},\
"2":{"aname":"Activity","anchor_id":"FILE1_Z2_XY0","type":4,"options":{"0":"wave","1":"nod"}}}
# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata
"""


def test_temporal_segments_of_via_are_rows(tmp_path: Path):
    text = VIA + (
        '"1_a","[""talk.mp4""]",0,"[1.124,5.5]","[]","{""1"":""?"",""2"":""1""}"\n'
        '"1_b","[""talk.mp4""]",0,"[2.4]","[2,1,1,5,5]","{""2"":""0""}"\n'
        '"1_c","[""talk.mp4""]",0,"[6,7]","[]","{""1"":""loud""}"\n'
    )
    assert rows(tmp_path, text) == [
        ListRow("row 8", "talk.mp4", "nod", 1.124, 5.5),
        ListRow("row 10", "talk.mp4", "loud", 6, 7),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('"1_a","[""talk.mp4""]",0,"[5,1]","[]","{""2"":""1""}"', "row 8: .* the end has to come after the start"),
        ('"1_a","[""talk.mp4""]",0,"[1,5]","[]","{}"', "row 8: {} has no label; give the segment a value"),
        ('"1_a","[""talk.mp4""]",0,"[1]","[]","{}"', "is an export of VIA without a temporal segment"),
        ('"1_a","talk.mp4",0,"[1,2]","[]","{}"', "row 8: .* is no row of VIA"),
    ],
)
def test_a_row_of_via_that_cannot_be_is_named(tmp_path: Path, row: str, reason: str):
    with pytest.raises(DataError, match=reason):
        rows(tmp_path, VIA + row + "\n")


HUGE = "1" + "0" * 400  # JSON allows it, and no float holds it
HUGE_SEGMENT = '{"database": {"a": {"annotations": [{"segment": [0, %s], "label": "x"}]}}}'
CVAT_FRAME = '<annotations><source>a.mp4</source><track label="x"><box frame="%s"/></track></annotations>'
STUDIO = '[{"data": {"video": "a.mp4"%s}, "annotations": [{"result": %s}]}]'
RANGES = '[{"value": {"ranges": [{"start": 1, "end": %s}], "timelinelabels": ["x"]%s}}]'


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("l.csv", f"video,label,start,end\na.mp4,x,0,1{HUGE}\n", "row 2: end '1100.* is no time"),
        ("l.csv", f"video,label,start,end\na.mp4,x,0,{HUGE}:1:1\n", "row 2: end '1000.* is no time"),
        ("l.csv", "video,label,start,end\na.mp4,x,0,1e400\n", "row 2: end '1e400' is no time"),
        ("l.csv", f"label,youtube_id,time_start,time_end\nx,a,0,{HUGE}\n", "row 2: .* must be seconds"),
        ("l.json", HUGE_SEGMENT % HUGE, "a, segment 1: .* has no segment of two numbers"),
        ("l.json", STUDIO % (', "fps": 25', RANGES % (HUGE, "")), "task 1, region 1: .* is no range"),
        ("l.json", STUDIO % ("", RANGES % (9, f', "framesCount": {HUGE}, "duration": 1')), "give it as --lists.fps"),
        ("l.json", STUDIO % ("", "5"), "holds no rows|without a labelled region|not a list"),
        ("l.csv", VIA + f'"1_a","[""a.mp4""]",0,"[1,{HUGE}]","[]","{{}}"\n', "row 8: .* is no pair of seconds"),
        ("l.csv", VIA + f'"1_a","[""a.mp4""]",0,"{"[" * 100_000}","[]","{{}}"\n', "row 8: .* is no row of VIA"),
        ("l.csv", VIA + f'"1_a","{"a" * 140_000}"\n', "row 8: field larger than field limit"),
        ("l.xml", CVAT_FRAME % ("9" * 5_000), "frame '999"),
        ("l.xml", '<!DOCTYPE a [<!ENTITY b "cc">]><annotations>&b;</annotations>', "declares XML entities"),
        ("l.csv", "video,label,start,end,start\na.mp4,x,0,1,2\n", "its header names 'start' twice"),
    ],
)
def test_hostile_content_is_one_line(tmp_path: Path, name: str, text: str, reason: str):
    with pytest.raises(DataError, match=reason) as caught:
        rows(tmp_path, text, name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_an_address_that_is_none_is_the_name_of_a_file(tmp_path: Path):
    regions = '[{"value": {"start": 1, "end": 2, "labels": ["x"]}}]'
    text = (STUDIO % ("", regions)).replace("a.mp4", "http://[a.mp4")
    assert stretches(rows(tmp_path, text, "l.json")) == [("http://[a.mp4", "x", 1.0, 2.0, "seconds")]


@given(st.integers(0, 10**8))
def test_a_time_is_the_same_however_it_is_written(milliseconds: int):
    seconds, rest = divmod(milliseconds, 1000)
    minutes, hours = seconds // 60, seconds // 3600
    for text in (
        f"{seconds}.{rest:03}",
        f"{seconds},{rest:03} s",
        f"{minutes}:{seconds % 60:02}.{rest:03}",
        f"{hours:02}:{minutes % 60:02}:{seconds % 60:02}.{rest:03}",
    ):
        assert seconds_of(text) == pytest.approx(milliseconds / 1000, abs=1e-9)
        assert seconds_of(f"-{text}") == pytest.approx(-milliseconds / 1000, abs=1e-9)


@given(st.text(max_size=12))
def test_other_texts_are_no_time_but_never_an_error(text: str):
    assert seconds_of(text) is None or any("0" <= character <= "9" for character in text)
    assert frames_of(text) is None or float(text.replace(",", ".")) == frames_of(text)


DOCUMENTED = {
    "video,label,start,end": ("l.csv", 4),
    "day1.mp4 12.5 17 walk": ("l.txt", 5),
    "video_validation_0000266": ("BaseballPitch_val.txt", 5),
    "label,youtube_id": ("l.csv", 4),
    '{"database"': ("l.json", 2),
    '[{"data"': ("l.json", 2),
    "<annotations>": ("l.xml", 1),
    "# Exported using VGG": ("l.csv", 2),
}


@pytest.mark.parametrize("beginning", DOCUMENTED)
def test_what_the_documentation_shows_can_be_copied(tmp_path: Path, beginning: str):
    text = (Path(__file__).parents[4] / "docs" / "data.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    name, count = DOCUMENTED[beginning]
    found = [textwrap.dedent(block) for block in blocks if block.strip().startswith(beginning)]
    assert len(found) == 1
    assert len(rows(tmp_path, found[0], name)) == count
