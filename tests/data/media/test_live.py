"""Streams of the network on the loopback address: what goes wrong with them, and that a slow reader gets the newest."""

import os
import re
import threading
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from encoding import moving_frames, write_video
from stream_server import sends, sends_chunks, served, served_by_rtsp

from morphmlp.data.media.live import Reader
from morphmlp.data.media.runs import Run, TimedFrame
from morphmlp.data.media.streams import Stream
from morphmlp.data.media.video import read_frames
from morphmlp.errors import MediaError

GOP = {"g": "10", "keyint_min": "10", "bf": "0", "sc_threshold": "0"}
NUM_FRAMES = 50  # 2 s


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("live") / "x.ts", moving_frames(NUM_FRAMES), options=GOP)


@pytest.fixture(scope="module")
def content(path: Path) -> bytes:
    return path.read_bytes()


def stream(address: str, said: list[str] | None = None, **options: Any) -> Stream:
    """A stream whose pauses take no time, and that says into a list."""
    options = {"say": (said if said is not None else []).append, "wait": lambda pause_s: False} | options
    return Stream(address, **options)


def shifted(path: Path, to: Path, shift_s: float, *, keep: Any = lambda packet: True) -> bytes:
    """The same packets with times that are later, or some of them, as MPEG-TS."""
    with (
        av.open(str(path)) as original,
        av.open(str(to), "w", format="mpegts", options={"avoid_negative_ts": "0"}) as copy,
    ):
        track = copy.add_stream_from_template(original.streams.video[0])
        for packet in original.demux(video=0):
            if packet.size and keep(packet):
                assert packet.time_base is not None
                ticks = round(shift_s / packet.time_base)
                packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
                packet.stream = track
                copy.mux(packet)
    return to.read_bytes()


def test_a_page_in_the_place_of_a_video_and_an_unknown_host_are_called_that():
    page = b"<html><title>Please log in</title>" + b" " * 2000
    with (
        served(sends(page)) as address,
        pytest.raises(MediaError, match=r"; open it in a browser to see what it sends$"),
    ):
        next(stream(address).frames())
    with pytest.raises(
        MediaError, match=r"its host no\.such\.host\.invalid is not known \(.*\); is the address right\?$"
    ):
        next(stream("http://no.such.host.invalid/x").frames())


def test_a_named_pipe_is_sent_to_standard_input(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.ts")
    with pytest.raises(MediaError, match=r"pipe\.ts: is a pipe; send it to standard input, which is -"):
        next(Stream(tmp_path / "pipe.ts").frames())


def test_a_stream_over_http_gives_the_frames_and_times_of_the_file(path: Path, content: bytes):
    with served(sends(content[:5000], content[5000:])) as address:
        frames = list(stream(address, retries=0).frames())
    assert [round(frame.time_s, 6) for frame in frames] == [i / 25 for i in range(NUM_FRAMES)]
    pictures = np.stack([frame.picture() for frame in frames[::10]])
    np.testing.assert_array_equal(pictures, read_frames(path, range(0, NUM_FRAMES, 10)))
    assert len({frame.run.start_s for frame in frames}) == 1


def test_a_stream_without_a_length_is_live_and_one_with_a_length_is_not(path: Path, content: bytes):
    with served(sends(content)) as address:
        live = stream(address, retries=0)
        next(live.frames())
    assert live.is_live
    file = stream(str(path))
    next(file.frames())
    assert not file.is_live


def test_a_lost_connection_is_tried_again_with_growing_pauses_and_said(path: Path, content: bytes, tmp_path: Path):
    said, pauses = [], []
    later = shifted(path, tmp_path / "later.ts", 5.0)
    with served(sends(content[: len(content) // 2]), sends(later)) as address:
        source = stream(address, said, retries=3, wait=lambda pause_s: bool(pauses.append(pause_s)))
        frames = []
        with pytest.raises(MediaError, match=r"404.*; it did not come back in 3 tries"):
            frames.extend(source.frames())
    assert pauses == [1.0, 1.0, 2.0, 4.0]  # the second time, frames had come again
    assert said[0] == f"{address}: the stream has ended; trying again in 1 s (1 of 3)"
    assert "(2 of 3)" in said[2]
    first, second = frames[0].run, frames[-1].run
    assert first.num_frames < NUM_FRAMES == second.num_frames
    assert second.start_s >= first.end_s
    assert source.num_lost == 2


def test_without_retries_the_end_of_a_live_stream_is_its_end(content: bytes):
    with served(sends(content)) as address:
        assert len(list(stream(address, retries=0).frames())) == NUM_FRAMES


def numbers(frames: list[TimedFrame]) -> list[int]:
    return [round(25 * frame.time_s) for frame in frames]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_recording_without_a_length_ends_where_it_comes_from_its_beginning_again(content: bytes, chunked: bool):
    said = []
    script = sends_chunks(content[:5000], content[5000:]) if chunked else sends(content)
    with served(script, script, chunked=chunked) as address:
        source = stream(address, said)
        frames = list(source.frames())
    assert numbers(frames) == list(range(NUM_FRAMES))
    assert len({id(frame.run) for frame in frames}) == 1
    assert said == [f"{address}: the stream has ended; trying again in 1 s (1 of 5)"]


def test_a_recording_that_breaks_off_is_read_on_from_where_it_was(path: Path, content: bytes):
    said = []
    parts = content[: len(content) * 3 // 4], content[: len(content) // 2], content, content
    with served(*(sends(part) for part in parts)) as address:
        frames = list(stream(address, said).frames())
    assert numbers(frames) == list(range(NUM_FRAMES))
    assert len({id(frame.run) for frame in frames}) == 1
    pictures = np.stack([frame.picture() for frame in frames[30::10]])
    np.testing.assert_array_equal(pictures, read_frames(path, range(30, NUM_FRAMES, 10)))
    (read_on,) = [text for text in said if "sends the same" in text]
    assert re.fullmatch(r"http\S+: sends the same from its beginning; read on after 1\.\d+ s", read_on)


def test_an_address_that_cannot_be_opened_is_not_tried_again():
    said = []
    with served() as address, pytest.raises(MediaError, match=r"cannot be opened as a video \(.*404"):
        list(stream(address, said).frames())
    assert not said


def test_a_source_that_stalls_is_given_up_after_the_time_limit(path: Path, content: bytes, tmp_path: Path):
    over, said = threading.Event(), []

    def stall(send: Any) -> None:
        send(content)
        over.wait(30)

    frames = []
    with served(stall, sends(shifted(path, tmp_path / "later.ts", 5.0))) as address:
        try:
            for frame in stream(address, said, timeout_s=0.3, retries=1).frames():
                frames.append(frame)
        except MediaError as error:
            reason = error.reason
        over.set()
    assert said[0] == f"{address}: sends nothing for 0.3 s; trying again in 1 s (1 of 1)"
    assert len({id(frame.run) for frame in frames}) == 2
    assert "it did not come back" in reason


def test_a_source_that_never_answers_is_one_clear_line():
    over = threading.Event()
    with served(lambda send: over.wait(30)) as address:
        with pytest.raises(MediaError, match=r"does not answer within 0\.2 s; is the address right\?"):
            list(stream(address, timeout_s=0.2).frames())
        over.set()


@pytest.mark.parametrize(("shift_s", "jump"), [(100.0, "+98"), (0.0, "-")])
def test_a_jump_of_the_clock_begins_a_new_run_that_follows_at_once(
    path: Path, content: bytes, tmp_path: Path, shift_s: float, jump: str
):
    later = shifted(path, tmp_path / "later.ts", 50.0)
    parts = (content, shifted(path, tmp_path / "much.ts", shift_s)) if shift_s else (later, content)
    said = []
    with served(sends(*parts)) as address:
        frames = list(stream(address, said, retries=0).frames())
    runs = list(dict.fromkeys(id(frame.run) for frame in frames))
    assert len(runs) == 2
    assert f"its clock jumps by {jump}" in said[0]
    steps = np.diff([frame.time_s for frame in frames])
    assert 0 < steps.min() <= steps.max() < 0.1


def test_a_clock_that_starts_anew_after_33_bits_goes_on(path: Path, tmp_path: Path):
    around = shifted(path, tmp_path / "wrap.ts", 2**33 / 90_000 - 3.0)  # it wraps a second after the start
    said = []
    with served(sends(around)) as address:
        frames = list(stream(address, said, retries=0).frames())
    assert [round(frame.time_s, 4) for frame in frames] == [i / 25 for i in range(NUM_FRAMES)]
    assert not said


def test_a_change_of_size_keeps_the_size_of_the_first_frame(path: Path, content: bytes, tmp_path: Path):
    large = write_video(tmp_path / "large.ts", moving_frames(25, height=96, width=128), options=GOP)
    with served(sends(content, shifted(large, tmp_path / "after.ts", 2.0))) as address:
        frames = list(stream(address, retries=0).frames())
    assert len(frames) == NUM_FRAMES + 25
    assert {frame.picture().shape for frame in frames} == {(48, 64, 3)}


def test_a_stream_without_key_frames_is_one_clear_line(tmp_path: Path):
    long = write_video(tmp_path / "long.ts", moving_frames(900), options={"g": "1000", "bf": "0", "sc_threshold": "0"})
    no_key = shifted(long, tmp_path / "no_key.ts", 0.0, keep=lambda packet: not packet.is_keyframe)
    with served(sends(no_key)) as address, pytest.raises(MediaError, match="sends no key frame") as error:
        list(stream(address).frames())
    assert "\n" not in str(error.value)


def test_a_stream_that_stops_is_not_connected_to_again(content: bytes):
    said = []
    with served(sends(content)) as address:
        source = stream(address, said)
        frames = source.frames()
        next(frames)
        source.stop()
        rest = list(frames)
    assert len(rest) < NUM_FRAMES - 1
    assert not said


def test_standard_input_is_read_as_a_stream(content: bytes):
    reading, writing = os.pipe()
    kept = os.dup(0)
    os.dup2(reading, 0)
    sender = threading.Thread(target=lambda: (os.write(writing, content), os.close(writing)))
    try:
        sender.start()
        source = stream("-")
        assert len(list(source.frames())) == NUM_FRAMES
        assert not source.is_live
    finally:
        sender.join()
        os.dup2(kept, 0)
        os.close(kept)
        os.close(reading)


def test_rtsp_is_read_and_is_live(path: Path, content: bytes):
    with served_by_rtsp(content) as address:
        source = stream(address, retries=0, timeout_s=5)
        frames = list(source.frames())
    assert source.is_live
    # FFmpeg keeps the last frame of MPEG-TS within RTP, which may go on.
    assert [round(frame.time_s, 6) for frame in frames] == [i / 25 for i in range(NUM_FRAMES - 1)]
    np.testing.assert_array_equal(frames[20].picture(), read_frames(path, [20])[0])


class Frames(Stream):
    """A stream of frames without pixels, which come as fast as they are made."""

    def __init__(self, num_frames: int, *, live: bool):
        super().__init__("udp://nowhere", live=live)
        self.num_frames, self.all_sent = num_frames, threading.Event()

    def frames(self):
        run = Run(None, 0.0, 0.0)  # type: ignore[arg-type]
        for number in range(self.num_frames):
            yield TimedFrame(run, number / 10, number, 1, None)
        self.all_sent.set()


def test_a_slow_reader_of_a_live_source_gets_the_newest_frames_and_the_number_of_those_dropped():
    source = Frames(100, live=True)
    with Reader(source, keep_s=2.0) as reader:
        assert source.all_sent.wait(30)
        frames = reader.take()
        assert [frame.tick for frame in frames] == list(range(79, 100))
        assert [frame.follows_dropped for frame in frames] == [True] + [False] * 20
        assert (reader.num_read, reader.num_dropped) == (100, 79)
        assert reader.take() == []


def test_what_may_be_a_recording_loses_no_frame_while_it_is_ahead_of_the_clock():
    source = Frames(100, live=True)  # 10 s at once
    source.may_be_recording = True
    taken = []
    with Reader(source, keep_s=2.0) as reader:
        while frames := reader.take():
            assert len(frames) <= 22
            taken += frames
    assert [frame.tick for frame in taken] == list(range(100))
    assert reader.num_dropped == 0


def test_a_source_that_waits_loses_no_frame_and_decodes_only_a_little_ahead():
    source = Frames(100, live=False)
    taken = []
    with Reader(source, keep_s=2.0) as reader:
        while frames := reader.take():
            assert len(frames) <= 16
            taken += frames
    assert [frame.tick for frame in taken] == list(range(100))
    assert reader.num_dropped == 0


def test_an_error_comes_after_the_frames_before_it():
    class Broken(Frames):
        def frames(self):
            yield from super().frames()
            raise MediaError("udp://nowhere", "breaks off")

    with Reader(Broken(5, live=False), keep_s=1.0) as reader:
        taken = []
        with pytest.raises(MediaError, match="breaks off"):
            all(taken.extend(reader.take()) is None for _ in range(1_000))
    assert len(taken) == 5


def test_closing_a_reader_early_ends_its_thread():
    with Reader(Frames(10_000, live=False), keep_s=1.0) as reader:
        reader.take()
    assert not reader._thread.is_alive()


def test_an_mp4_with_its_index_at_the_end_cannot_be_streamed_and_the_line_says_how(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 96, 128, 3), dtype=np.uint8)  # more than FFmpeg looks back
    content = write_video(tmp_path / "x.mp4", noise, options={"crf": "1"}).read_bytes()
    with served(sends(content)) as address, pytest.raises(MediaError, match=r"send MPEG-TS .* `-movflags \+faststart`"):
        list(stream(address, retries=0).frames())
