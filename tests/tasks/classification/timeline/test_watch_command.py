"""`morphmlp watch`: lines, JSON, files of segments, the video with its labels, and what is refused."""

import csv
import errno
import io
import json
import os
import re
import signal
from contextlib import nullcontext
from pathlib import Path

import av
import numpy as np
import pytest
import tiny
from stream_server import served

from morphmlp.commands import watch
from morphmlp.data.media.video import probe, read_frames
from morphmlp.demo.synthetic import CLASSES
from morphmlp.tasks.classification.predictor import Predictor
from morphmlp.tasks.classification.timeline import rendering
from morphmlp.tasks.classification.timeline.recorder import Recorder
from morphmlp.tasks.classification.timeline.rendering import render
from morphmlp.tasks.classification.timeline.segments import Segment


@pytest.fixture(scope="module")
def video(data: Path) -> Path:
    return min((data / "val").rglob("*.mp4"))


def write_with_sound(path: Path, *, codec: str = "aac", num_frames: int = 40) -> Path:
    """Frames of 64 x 96 px at 20 a second, and a tone of the same length."""
    with av.open(str(path), "w") as container:
        track, sound = container.add_stream("libx264", rate=20), container.add_stream(codec, rate=16000)
        track.width, track.height, track.pix_fmt = 96, 64, "yuv420p"
        for number in range(num_frames):
            picture = np.full((64, 96, 3), 100 + 2 * number % 150, dtype=np.uint8)
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            tone = (8000 * np.sin(np.arange(800) / 9)).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16000, 800 * number
            container.mux(sound.encode(frame))
        container.mux(track.encode())
        container.mux(sound.encode())
    return path


def sound_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_a_line_a_window_and_the_segments_at_the_end(checkpoint: Path, video: Path):
    process = tiny.run_command("watch", checkpoint, video, "--length", 0.5, "--top", 2)
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    windows = list(Predictor(checkpoint).windows(video, length_s=0.5))
    for line, window in zip(lines, windows, strict=False):
        best = ", ".join(f"{label} {probability:.1%}" for label, probability in window.top(2))
        assert line == f"{f'{window.start_s:.2f} to {window.end_s:.2f} s':>18}  {best}"
    assert lines[len(windows)].startswith("Segments (")
    assert process.stderr == ""


def test_json_is_a_line_a_window(checkpoint: Path, video: Path):
    process = tiny.run_command("watch", checkpoint, video, "--length", 0.5, "--step", 0.5, "--json", "--top", 1)
    rows = [json.loads(line) for line in process.stdout.splitlines()]
    windows = list(Predictor(checkpoint).windows(video, length_s=0.5, step_s=0.5))
    assert [(row["start"], row["end"], row["answer"]) for row in rows] == [
        (round(window.start_s, 6), round(window.end_s, 6), window.answer) for window in windows
    ]
    assert {row["source"] for row in rows} == {str(video)}
    assert rows[0]["top"][0]["probability"] == pytest.approx(windows[0].top(1)[0][1], abs=1e-6)
    assert "lag_s" not in rows[0]  # of live sources only


def test_several_sources_go_one_after_the_other_and_segments_are_by_source(
    checkpoint: Path, data: Path, tmp_path: Path
):
    out = [tmp_path / "s.csv", tmp_path / "s.json"]
    process = tiny.run_command("watch", checkpoint, data / "val", "--out", *out)
    videos = sorted((data / "val").rglob("*.mp4"))
    assert process.returncode == 0
    assert [line for line in process.stdout.splitlines() if line.startswith("/")] == [str(video) for video in videos]
    assert [recording["video"] for recording in json.loads(out[1].read_text())] == [str(video) for video in videos]
    with open(out[0], newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["label"] for row in rows} <= set(CLASSES)
    assert len({row["video"] for row in rows}) == len(videos)


def test_a_file_that_cannot_be_read_does_not_cost_the_others(checkpoint: Path, video: Path, tmp_path: Path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    process = tiny.run_command("watch", checkpoint, broken, video, "--out", tmp_path / "s.json")
    assert process.returncode == 1
    assert process.stderr.startswith(f"error: {broken}: cannot be opened as a video")
    recordings = {each["video"]: each["segments"] for each in json.loads((tmp_path / "s.json").read_text())}
    assert recordings[str(broken)] == []
    assert recordings[str(video)]


@pytest.mark.parametrize("source", ["missing.mp4", "http://127.0.0.1:1/x", "camera:77", "empty.ts"])
def test_a_source_that_gives_nothing_replaces_no_earlier_result(checkpoint: Path, tmp_path: Path, source: str):
    (tmp_path / "empty.ts").touch()
    results = ["s.csv", "s.json", "s.activitynet.json", "s.vtt", "s.srt", "t.html", "r.mp4"]
    for name in results:
        (tmp_path / name).write_text("earlier")
    out = [tmp_path / name for name in results[:5]]
    address = source if ":" in source else tmp_path / source
    render = [] if ":" in source else ["--render", tmp_path / "r.mp4"]
    process = tiny.run_command(
        "watch", checkpoint, address, "--json", "--out", *out, "--picture", tmp_path / "t.html", *render
    )
    assert process.returncode == 1
    assert (process.stdout, process.stderr.count("\n")) == ("", 1)
    assert {(tmp_path / name).read_text() for name in results} == {"earlier"}


def test_a_signal_before_the_first_window_replaces_no_earlier_result(
    checkpoint: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("morphmlp.tasks.classification.timeline.watching.Watch.windows", interrupted)
    (tmp_path / "s.csv").write_text("earlier")
    process = tiny.run_command("watch", checkpoint, video, "--out", tmp_path / "s.csv")
    assert process.returncode == 130
    assert (tmp_path / "s.csv").read_text() == "earlier"


def test_below_the_threshold_the_answer_is_none_of_these_and_there_is_no_segment(
    checkpoint: Path, video: Path, tmp_path: Path
):
    process = tiny.run_command("watch", checkpoint, video, "--threshold", 1, "--out", tmp_path / "s.json")
    assert re.match(r" *0\.00 to [\d.]+ s  none of these \(\w+ [\d.]+%, ", process.stdout)
    assert json.loads((tmp_path / "s.json").read_text()) == [{"video": str(video), "segments": []}]


@pytest.mark.parametrize(("number", "status", "said"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")])
def test_a_signal_leaves_the_segments_so_far(
    checkpoint: Path,
    video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: str,
    status: int,
    said: str,
):
    def interrupted(*_: object) -> str:
        signal.raise_signal(getattr(signal, number))
        return ""

    monkeypatch.setattr("morphmlp.tasks.classification.timeline.lines.window_line", interrupted)
    process = tiny.run_command(
        "watch", checkpoint, video, "--length", 0.4, "--shortest", 0, "--out", tmp_path / "s.json"
    )
    assert (process.returncode, process.stderr) == (status, f"{said}\n")
    ((segment,),) = [recording["segments"] for recording in json.loads((tmp_path / "s.json").read_text())]
    assert (segment["start"], segment["end"]) == (0, 0.4)


def test_segments_are_written_while_the_source_goes_on(checkpoint: Path, video: Path, tmp_path: Path):
    passed_s = iter(range(0, 1_000, 45))
    path = tmp_path / "s.json"
    windows = list(Predictor(checkpoint).windows(video, length_s=0.4))
    recorder = Recorder(["x"], windows[0].prediction.labels, [path], every_s=60, clock=lambda: next(passed_s))
    recorder.begin("x")
    recorder.add(windows[0])
    assert not path.exists()
    recorder.add(windows[1])
    ((written,),) = [recording["segments"] for recording in json.loads(path.read_text())]
    assert (written["start"], written["end"]) == (0, windows[1].start_s)  # it still goes on
    assert recorder.recordings == {"x": []}
    recorder.end()
    assert recorder.recordings["x"][0].end_s >= windows[1].start_s


def test_a_disk_that_is_full_for_a_while_does_not_end_the_watch(
    checkpoint: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "s.json"
    windows = list(Predictor(checkpoint).windows(video, length_s=0.4))
    recorder = Recorder(
        ["x"], windows[0].prediction.labels, [path], every_s=60, clock=iter(range(0, 1_000, 61)).__next__
    )
    recorder.begin("x")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr("morphmlp.tasks.classification.timeline.recorder.write_segments", full)
        recorder.add(windows[0])
    assert capsys.readouterr().err == (
        f"{path}: cannot be written now (No space left on device); trying again in 60 s\n"
    )
    recorder.add(windows[1])
    assert json.loads(path.read_text())[0]["segments"]


def test_a_name_with_a_line_end_is_shown_in_one_line(checkpoint: Path, video: Path, tmp_path: Path):
    for name in ("a\nb.mp4", "c.mp4"):
        (tmp_path / name).write_bytes(video.read_bytes())
    process = tiny.run_command("watch", checkpoint, tmp_path, "--length", 9, "--shortest", 0)
    shown = [line for line in process.stdout.splitlines() if "b.mp4" in line]
    assert len(shown) == 2  # above its windows, and in the table of segments
    assert all(line.strip().startswith(f"{tmp_path}/a b.mp4") for line in shown)


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_the_rendered_video_keeps_frames_times_and_sound(checkpoint: Path, tmp_path: Path, ending: str):
    path, copy = write_with_sound(tmp_path / "x.mp4"), tmp_path / f"copy.{ending}"
    process = tiny.run_command("watch", checkpoint, path, "--length", 1, "--render", copy)
    assert process.returncode == 0, process.stderr
    assert process.stderr == f"{copy}: the video with its labels\n"
    before, after = probe(path), probe(copy)
    assert (after.num_frames, after.height, after.width) == (before.num_frames, before.height, before.width)
    assert after.fps == pytest.approx(before.fps, rel=0.05)
    assert sound_packets(copy) == sound_packets(path)
    first, last = read_frames(copy, [0, 39]).astype(int)
    assert abs(first[40:].mean() - 100) < 3  # below the text it is as it was
    assert abs(last[40:].mean() - 178) < 3
    assert first[:12].std() > 10  # the text


def test_a_label_is_in_the_frames_of_its_segment_only(tmp_path: Path):
    path = write_with_sound(tmp_path / "x.mp4")
    render(path, [Segment(0.5, 1.0, "a very long name of a class that has to become smaller", 0.5)], tmp_path / "y.mp4")
    frames = read_frames(tmp_path / "y.mp4", range(40)).astype(int)
    with_text = [number for number, frame in enumerate(frames) if frame[:24].std() > 5]
    assert with_text == list(range(10, 20))


def test_sound_that_the_container_does_not_take_is_left_out_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = write_with_sound(tmp_path / "x.mkv", codec="pcm_s16le")
    render(path, [], tmp_path / "y.mp4")
    assert probe(tmp_path / "y.mp4").num_frames == 40
    assert (
        "its sound does not fit .mp4 (Invalid argument) and is left out; .mkv takes any sound"
        in capsys.readouterr().err
    )
    render(path, [], tmp_path / "y.mkv")
    assert sound_packets(tmp_path / "y.mkv") == sound_packets(path)


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_a_full_disk_is_an_error_of_the_file_and_not_of_its_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ending: str
):
    class Full(io.BytesIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            if self.tell() + len(data) > 2_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    monkeypatch.setattr(rendering, "replaced_bytes", lambda path: nullcontext(Full()))
    path = write_with_sound(tmp_path / "x.mp4")
    with pytest.raises(OSError, match="No space left on device") as caught:
        render(path, [], tmp_path / f"y{ending}")
    assert caught.value.filename in (None, str(tmp_path / f"y{ending}"))
    assert capsys.readouterr().err == ""


def test_an_interrupted_rendering_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def stopped(*_: object) -> np.ndarray:
        raise KeyboardInterrupt

    monkeypatch.setattr(rendering, "_labelled", stopped)
    path = write_with_sound(tmp_path / "x.mp4")
    with pytest.raises(KeyboardInterrupt):
        render(path, [], tmp_path / "y.mp4")
    assert tiny.files_below(tmp_path) == ["x.mp4"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x.txt"], "x.txt: its ending names no format of segments"),
        (["--render", "x.gif"], "--render x.gif: its ending names no video; give one of .mp4, .mov, .mkv"),
        (["--length", "0.001"], "length of a window is 0.001 s; give 0.01 s or more"),
        (["--duration", "1e-9"], "duration is 1e-09 s; give 0.01 s or more"),
        (["--out", "{folder}"], "{folder}: Is a directory"),
        (["--out", "{file}/x.csv"], "{file}/x.csv: Not a directory"),
        (["--render", "{file}/x.mp4"], "{file}/x.mp4: Not a directory"),
        (["--picture", "x.gif"], "--picture x.gif: its ending names no picture; give .png, .html, or a folder"),
        (["--picture", "{file}"], "--picture {file} is a file; give a folder, or"),
        (["--picture", "{file}/x.png"], "{file}/x.png: Not a directory"),
        (["--picture", "{file}/pictures"], "{file}/pictures/timeline.html: Not a directory"),
        (["--out", "a.csv", "./a.csv"], "--out ./a.csv is also written by --out; give each result a name"),
        (["--picture", "x.mp4", "--render", "x.mp4"], "--render x.mp4 is also written by --picture; give each"),
        (["--out", "{video}"], "--out {video} is the source itself; give another name"),
        (["--picture", "{video}"], "--picture {video} is the source itself; give another name"),
        (["--low", "0.5"], "low=0.5 closes what a threshold opens, and there is none"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_read(
    checkpoint: Path, video: Path, tmp_path: Path, arguments: list[str], message: str
):
    places = {"folder": tmp_path / "x.csv", "file": tmp_path / "file", "video": video}
    places["folder"].mkdir()
    places["file"].touch()
    arguments, message = [argument.format(**places) for argument in arguments], message.format(**places)
    process = tiny.run_command("watch", checkpoint, video, *arguments)
    assert process.returncode == 1
    assert process.stderr.startswith(f"error: {message}")
    assert process.stderr.count("\n") == 1
    assert process.stdout == ""


def test_a_video_is_rendered_of_one_file_only(checkpoint: Path, data: Path):
    process = tiny.run_command("watch", checkpoint, data / "val", "--render", "x.mp4")
    assert process.stderr == "error: --render x.mp4 is for one file; 10 source(s) are given\n"


def test_the_video_itself_is_not_replaced(checkpoint: Path, tmp_path: Path):
    path = write_with_sound(tmp_path / "x.mp4")
    content = path.read_bytes()
    process = tiny.run_command("watch", checkpoint, path, "--render", path)
    assert process.stderr == f"error: --render {path} is the source itself; give another name\n"
    assert process.stdout == ""  # it is said before the work
    assert path.read_bytes() == content


def test_a_model_of_images_is_refused(image_checkpoint: Path, video: Path):
    process = tiny.run_command("watch", image_checkpoint, video)
    assert process.stderr == (
        f"error: {image_checkpoint} takes images, which have no windows in time; use `morphmlp predict`\n"
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("camera:77", "camera:77: there is no such camera (/dev/video77); cameras here: "),
        ("camera:/dev/video77", "camera:/dev/video77: there is no such camera (/dev/video77); cameras here: "),
        ("camera:", "camera:: names no camera; give its number, such as camera:0; cameras here: "),
        ("camera:x", "camera:x: names no camera; give its number, such as camera:0; cameras here: "),
        ("http://", "http://: names no host; give one, such as http://host/1"),
        ("RTSP:/", "RTSP:/: names no host; give one, such as rtsp://host/1"),
        ("https:", "https:: names no host; give one, such as https://host/1"),
        ("rtsp://user:secret@/1", "rtsp:///1: names no host; give one, such as rtsp://host/1"),
        ("http://host:port/x", "http://host:port/x: its host or port cannot be understood; a port is a number up"),
        ("udp://host", "udp://host: names no port; give one, such as udp://host:5000"),
        ("file:///x.mp4", "file://x.mp4: is the address of a file; give its path, without file:"),
        ("ftp://user:secret@host/x", "ftp://host/x: ftp cannot be read; give one of http, "),
        ("http://user:secret@127.0.0.1:1/x", "http://127.0.0.1:1/x: cannot be opened as a video (Connection"),
    ],
)
def test_a_source_that_is_not_there_is_one_line(checkpoint: Path, source: str, message: str):
    process = tiny.run_command("watch", checkpoint, source)
    assert process.returncode == 1
    assert process.stderr.startswith(f"error: {message}")
    assert process.stderr.count("\n") == 1


def test_a_camera_without_permission_is_one_line(checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.path.exists", lambda path: True)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    from morphmlp.data.media.addresses import _linux_camera
    from morphmlp.errors import MediaError

    with pytest.raises(MediaError, match=r"no permission for /dev/video0; add yourself to its group"):
        _linux_camera("camera:0", "0")


def test_a_stream_without_end_stops_after_its_duration_with_lag_and_rate(checkpoint: Path, tmp_path: Path):
    content = write_with_sound(tmp_path / "x.ts", codec="mp2", num_frames=100).read_bytes()

    def endless(send) -> None:
        while True:
            send(content)

    with served(endless) as address:
        process = tiny.run_command("watch", checkpoint, address, "--duration", 7, "--json", "--length", 1)
    assert process.returncode == 0
    rows = [json.loads(line) for line in process.stdout.splitlines()]
    assert {row["source"] for row in rows} == {address}
    assert all({"lag_s", "fps", "dropped_frames", "left_out_windows", "lost_connections"} <= row.keys() for row in rows)
    assert rows[-1]["end"] <= 7
    assert "its clock jumps by -" in process.stderr  # where the content begins again


def test_help_shows_an_example_and_the_list_of_verbs_names_it():
    process = tiny.run_command("watch", "--help")
    assert process.returncode == 0
    assert "morphmlp watch runs/mine long" in process.stdout
    assert watch.run.__doc__
    assert "  watch " in tiny.run_command("--help").stdout


@pytest.mark.parametrize("where", ["x.png", "x.html", "folder"])
def test_the_picture_is_an_image_a_page_or_a_folder_of_both(checkpoint: Path, video: Path, tmp_path: Path, where: str):
    process = tiny.run_command("watch", checkpoint, video, "--length", 0.4, "--picture", tmp_path / where)
    assert process.returncode == 0, process.stderr
    expected = ["folder", "folder/timeline.html", f"folder/{video.stem}.png"] if where == "folder" else [where]
    assert tiny.files_below(tmp_path) == sorted(expected)


def test_a_picture_of_several_sources_is_refused(checkpoint: Path, data: Path):
    process = tiny.run_command("watch", checkpoint, data / "val", "--picture", "x.png")
    assert process.stderr == "error: --picture x.png is for one source; give a folder or a .html file for 10\n"
