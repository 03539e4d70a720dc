"""What the server refuses, with which status and line; afterwards it answers as before, and keeps nothing."""

import asyncio
import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import httpx
import pytest
from served import Running, running
from stream_server import sends
from stream_server import served as http_served

from morphmlp.serving.decoding import begin_windows, next_windows
from morphmlp.serving.lanes import Lane


def assert_alive_and_empty(served: Running, video: Path) -> None:
    assert served.post("/predict", video).status_code == 200
    assert list(served.folder.iterdir()) == []


@pytest.mark.parametrize("path", ["/predict", "/windows"])
def test_a_playlist_reads_no_file_of_the_server_and_no_address(served: Running, video: Path, path: str):
    asked = []

    def script(send: object) -> None:
        asked.append(send)

    with http_served(script, sends(b"")) as address:
        playlists = {
            "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{video}\n#EXTINF:9,\n{address}\n#EXT-X-ENDLIST\n",
            "b.m3u8": "#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
            "c.ffconcat": f"ffconcat version 1.0\nfile {video}\nfile /etc/passwd\nfile {address}\n",
            "d.mp4": f"ffconcat version 1.0\nfile {video}\n",
            "e.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\nm=video 0 RTP/AVP 33\n",
            "f.mpd": f"<?xml version='1.0'?><MPD><BaseURL>{address}</BaseURL></MPD>",
            "g.csv": f"path,label\n{video},up\n",
            "h.txt": str(video),
        }
        for name, text in playlists.items():
            for answer in (
                served.client.post(path, files=[("file", (name, text.encode()))]),
                served.client.post(path, content=text.encode()),
            ):
                assert answer.status_code == 422
                error = answer.json()["error"]
                assert "\n" not in error
                assert str(served.folder) not in answer.text
    assert not asked
    assert_alive_and_empty(served, video)


def test_a_name_of_a_file_is_no_path(served: Running, video: Path, tmp_path: Path):
    for name in (
        "../../../../etc/passwd",
        str(tmp_path / "x.mp4"),
        "..",
        "a/b\\c.mp4",
        "\x1b[31mred.mp4",
        "",
        "%03d.png",
    ):
        body = (
            f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
            + video.read_bytes()
            + b"\r\n--b--\r\n"
        )
        answer = served.client.post(
            "/predict", content=body, headers={"content-type": "multipart/form-data; boundary=b"}
        )
        shown = answer.json()["results"][0]["file"] if answer.status_code == 200 else answer.json()["file"]
        assert "/" not in shown
        assert "\x1b" not in shown
    assert not (tmp_path / "x.mp4").exists()
    assert_alive_and_empty(served, video)


@pytest.mark.parametrize(
    "content",
    [b"\0", b"\0" * 100_000, b"GIF89a" + b"\xff" * 50, b"RIFF____AVI LIST" + b"\x7f" * 500, b"\x1a\x45\xdf\xa3" * 200],
    ids=["a byte", "zeros", "gif", "avi", "matroska"],
)
def test_damaged_files_are_refused_in_a_line(served: Running, video: Path, content: bytes):
    for path in ("/predict", "/windows"):
        answer = served.client.post(path, content=content)
        assert answer.status_code == 422
        assert set(answer.json()) == {"error", "file"}
    assert_alive_and_empty(served, video)


@pytest.mark.parametrize(
    ("content", "kind", "error"),
    [
        (b"", "video/mp4", "the request holds no file; send one as a form, or as the body"),
        (
            b"--b--\r\n",
            "multipart/form-data; boundary=b",
            "the request holds no file; send one as a form, or as the body",
        ),
        (b"abc", "multipart/form-data; boundary=b", r"the form cannot be read \(.*\)"),
        (b"abc", "multipart/form-data", "the form has no boundary: its Content-Type header is not complete"),
        (b"abc", f"multipart/form-data; boundary={'b' * 300}", "the form's boundary is too long"),
        (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc',
            "multipart/form-data; boundary=b",
            "the form is cut off: its last boundary is missing",
        ),
        (
            b"--b\r\nContent-Disposition: form-data; name=file; filename*=UTF-8''%C3%BC.mp4\r\n\r\n3\r\n--b--\r\n",
            "multipart/form-data; boundary=b",
            r"the form names its file by filename\*=, which forms may not \(RFC 7578\); use filename=",
        ),
        (
            b'--b\r\nContent-Disposition: form-data; name="top"\r\n\r\n3\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
            "the form's field 'top' is no file; options belong into the address, as .top=3",
        ),
    ],
)
def test_a_body_without_a_file_is_refused(served: Running, content: bytes, kind: str, error: str):
    answer = served.client.post("/predict", content=content, headers={"content-type": kind})
    assert answer.status_code == 422
    assert re.fullmatch(error, answer.json()["error"])
    assert list(served.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "options", "error"),
    [
        ("/predict", {"tpo": 3}, "'tpo' is no option; they are in /openapi.json"),
        ("/windows", {"top": 101}, "top='101': Input should be less than or equal to 100"),
        ("/predict", {"top": 0}, "top='0': Input should be greater than or equal to 1"),
        ("/predict", {"strip": "x"}, "strip='x': Input should be a valid boolean, unable to interpret input"),
        ("/windows", {"length_s": 0}, "length of a window is 0 s; give 0.01 s or more, such as 2"),
        ("/windows", {"step_s": "nan"}, "step of a window is nan s; give 0.01 s or more, such as 2"),
    ],
)
def test_a_wrong_option_is_refused(served: Running, video: Path, path: str, options: dict, error: str):
    answer = served.post(path, video, **options)
    assert (answer.status_code, answer.json()["error"]) == (422, error)


def test_windows_are_of_one_file(served: Running, video: Path):
    assert served.post("/windows", video, video).json()["error"].startswith("2 files: /windows takes one")


@pytest.fixture(scope="module")
def strict(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory):
    """A server that takes little."""
    folder = tmp_path_factory.mktemp("strict") / "uploads"
    with running(checkpoint, folder, upload_mb=0.1, upload_s=0.5, files=2, pixels=400, drain_s=1) as found:
        yield found


def test_a_large_body_is_refused_before_and_while_it_comes(strict: Running):
    for content in (bytes(100_001), iter([bytes(60_000), bytes(60_000)])):
        answer = strict.client.post("/predict", content=content)
        assert (answer.status_code, answer.json()) == (
            413,
            {"error": "the request is larger than the 0.1 MB that are taken"},
        )
    assert list(strict.folder.iterdir()) == []


def test_a_client_that_sends_its_whole_body_first_has_its_refusal(strict: Running):
    """Such as urllib and browsers: a connection that is closed under them is an error of the network to them."""
    request = Request(f"{strict.address}/predict", data=bytes(20_000_000))
    with pytest.raises(HTTPError) as refused:
        urlopen(request, timeout=20)
    with refused.value as answer:
        assert answer.code == 413
        assert json.load(answer) == {"error": "the request is larger than the 0.1 MB that are taken"}


def test_many_files_and_many_pixels_are_refused(strict: Running, video: Path):
    answer = strict.client.post("/predict", files=[("file", (f"{i}.mp4", b"x")) for i in range(3)])
    assert (answer.status_code, answer.json()) == (
        413,
        {"error": "the request holds more than the 2 files that are taken"},
    )
    answer = strict.post("/predict", video)
    assert answer.status_code == 422
    assert re.fullmatch(
        r"is \d+ x \d+ px, above the 400 pixels of a frame that are read; scale it down", answer.json()["error"]
    )


def connected(served: Running) -> socket.socket:
    host, port = served.address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n"


def test_a_body_that_comes_too_slowly_is_refused(strict: Running):
    with connected(strict) as client:
        client.sendall(HEAD + b"abc")
        assert client.recv(4096).startswith(b"HTTP/1.1 408 ")
    assert list(strict.folder.iterdir()) == []


def test_a_client_that_hangs_up_leaves_nothing(served: Running, video: Path):
    with connected(served) as client:
        client.sendall(HEAD + b"abc")
        wait_until(lambda: any(served.folder.iterdir()))
    wait_until(lambda: not any(served.folder.iterdir()))
    body = video.read_bytes()
    with connected(served) as client:  # this one goes while it is worked on
        client.sendall(HEAD.replace(b"90000", str(len(body)).encode()) + body)
    wait_until(lambda: not any(served.folder.iterdir()))
    assert_alive_and_empty(served, video)


def wait_until(condition, within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_full_disk_is_said(served: Running, video: Path, monkeypatch: pytest.MonkeyPatch):
    class Full:
        def write(self, data: bytes) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            pass

    monkeypatch.setattr("morphmlp.serving.uploads._Writer._begin", lambda *_: Full())
    answer = served.client.post("/predict", content=b"abc")
    assert (answer.status_code, answer.json()["error"]) == (
        507,
        "there is no room on the server's disk; try again later",
    )
    monkeypatch.undo()
    assert_alive_and_empty(served, video)


def test_a_server_that_ends_answers_what_it_has_and_takes_no_more(checkpoint: Path, tmp_path: Path, video: Path):
    answers: list[httpx.Response] = []
    body = video.read_bytes()
    sent, go_on = Event(), Event()

    def slowly():
        yield body[:100]
        sent.set()
        go_on.wait(20)
        yield body[100:]

    with running(checkpoint, tmp_path / "uploads") as served:
        early = Thread(
            target=lambda: answers.append(httpx.post(f"{served.address}/predict", content=slowly(), timeout=60))
        )
        early.start()
        sent.wait(20)
        wait_until(lambda: any(served.folder.iterdir()))
        served.server.drain()
        late = served.post("/predict", video)
        assert (late.status_code, late.json()["error"]) == (
            503,
            "the server is shutting down; send the request to another",
        )
        assert late.headers["retry-after"] == "1"
        assert served.client.get("/ready").status_code == 503
        assert served.client.get("/health").status_code == 200
        go_on.set()
        early.join(60)
    assert answers[0].status_code == 200


def test_a_server_that_has_waited_long_enough_says_so_to_those_in_work(strict_end: Running):
    with connected(strict_end) as client:
        client.sendall(HEAD + b"abc")
        wait_until(lambda: strict_end.service.metrics.text().count("requests_in_work 1"))
        strict_end.server.drain()
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"is shut down before this request is done" in answer


@pytest.fixture
def strict_end(checkpoint: Path, tmp_path: Path):
    with running(checkpoint, tmp_path / "uploads", drain_s=0.1) as found:
        yield found


def test_a_connection_on_which_nothing_is_asked_is_closed(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("morphmlp.serving.server.SILENT_S", 0.2)
    with running(checkpoint, tmp_path / "uploads") as served, connected(served) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: ")  # and then nothing
        assert client.recv(100) == b""


def test_a_connection_on_which_much_is_asked_stays_open_whenever_the_server_looks_at_it(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each look finds it between two requests: an answer takes a thousandth of the pause after it."""
    monkeypatch.setattr("morphmlp.serving.server.SILENT_S", 0.2)
    with running(checkpoint, tmp_path / "uploads") as served:
        kept = HTTPConnection(served.address.removeprefix("http://"))
        end = time.monotonic() + 3 * 0.2
        while time.monotonic() < end:
            kept.request("GET", "/health")
            assert kept.getresponse().read() == b'{"status": "alive"}'
            assert kept.sock is not None  # the server keeps it
            time.sleep(0.02)
        kept.close()


def test_an_answer_is_sent_whole_and_at_once(served: Running):
    """The system does not wait for the client to acknowledge its head before it sends its body."""
    with connected(served) as client:
        address = client.getsockname()

        def found() -> list[Any]:
            transports = [connection.transport for connection in served.server.server_state.connections]
            return [one for one in transports if one.get_extra_info("peername") == address]

        wait_until(lambda: len(found()) == 1)
        assert found()[0].get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_connections_that_are_too_many_are_turned_away_with_an_answer(served: Running, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(served.server.config, "backlog", 3)
    with ExitStack() as held:
        clients = [held.enter_context(connected(served)) for _ in range(4)]
        answer = b"".join(iter(lambda: clients[-1].recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.endswith(b'{"error": "too many connections are open; try again"}')
    wait_until(lambda: len(served.server.server_state.connections) < 3)
    assert served.client.get("/health").status_code == 200


def test_a_client_that_hangs_up_while_lines_come_frees_the_process(served: Running, video: Path):
    body = video.read_bytes()
    head = HEAD.replace(b"/predict", b"/windows?length_s=0.1&step_s=0.01").replace(b"90000", str(len(body)).encode())
    with connected(served) as client:
        client.sendall(head.replace(b"Host: x", b"Host: x\r\nAccept: application/x-ndjson") + body)
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
    wait_until(lambda: served.service.lanes.num_busy == 0)
    assert_alive_and_empty(served, video)


@contextmanager
def killed_before(calls_of_next: set[int], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Ends the process before these of its calls for the next windows; yields the functions that were called."""
    calls, run = [], Lane.run

    async def run_and_kill(self: Lane, function: Any, *arguments: Any, **options: Any) -> Any:
        calls.append(function)
        if function is next_windows and calls.count(next_windows) in calls_of_next:
            (process,) = self._pool._pool_manager.worker_manager.workers
            os.kill(process, signal.SIGKILL)
            await asyncio.sleep(0.3)
        return await run(self, function, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Lane, "run", run_and_kill)
        yield calls


def test_a_process_that_is_killed_between_windows_costs_none_and_no_window_is_left_out_in_silence(
    served: Running, video: Path, monkeypatch: pytest.MonkeyPatch
):
    options = {"length_s": 0.2, "step_s": 0.05}
    expected = served.post("/windows", video, **options).json()["windows"]
    assert len(expected) > 3 * 8  # of which eight come at a time
    with killed_before({3}, monkeypatch) as calls:
        assert served.post("/windows", video, **options).json()["windows"] == expected
    assert calls.count(begin_windows) == 2
    with killed_before({3, 4}, monkeypatch):
        answer = served.post("/windows", video, **options)
    assert answer.status_code == 503
    assert set(answer.json()) == {"error", "file"}
    assert_alive_and_empty(served, video)
