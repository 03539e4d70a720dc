"""The verb: its mistakes in one line, and its end."""

import math
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import hub_server
import pytest
import tiny
from served import running

from morphmlp.errors import ConfigError
from morphmlp.serving.limits import Limits
from morphmlp.serving.server import TOKEN_VARIABLE, chosen_token, is_loopback, listening, most_connections
from morphmlp.tasks.classification.predictor import Predictor


def test_a_port_in_use_is_one_line_before_the_checkpoint_is_read(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        run = tiny.run_command("serve", tmp_path / "missing", "--port", port)
    assert run.returncode == 1
    line = f"error: port {port} of 127.0.0.1 is in use; end what uses it, or choose another --port\n"
    assert run.stderr == line


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 lets other machines in, and there is no token: "),
        (["--host", "::"], "--host :: lets other machines in"),
        (["--host", "192.0.2.1", "--allow_anyone"], "--host 192.0.2.1 is no address of this machine; use 127.0.0.1"),
        (["--host", "no such host", "--allow_anyone"], "--host no such host is no name or address of this machine"),
        (["--token", "short"], "the token has 5 characters, so it could be guessed; give 8 or more"),
        (["--token", "längeres Geheimnis"], "the token holds characters that no header can hold"),
        (["--token", "long enough", "--token_file", "x"], "--token and --token_file are both given"),
        (["--token_file", "missing"], "missing: No such file or directory"),
        (["--port", "99999"], "--port is 99999; give 0 to 65535"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, options: list[str], line: str):
    run = tiny.run_command("serve", tmp_path / "missing", *options)
    assert run.returncode == 1
    assert run.stderr.startswith(f"error: {line}")
    assert run.stderr.count("\n") == 1


def test_a_folder_that_is_no_checkpoint_is_one_line(tmp_path: Path):
    run = tiny.run_command("serve", tmp_path / "missing", "--port", 0)
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)
    assert "missing" in run.stderr


def test_the_options_of_the_model_reach_it(checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    loaded: list[Predictor] = []
    monkeypatch.setattr("morphmlp.serving.server.serve", lambda load, *_, **__: loaded.append(load()))
    options = ("--engine", "torch", "--precision", "bf16", "--clips", 3, "--threshold", 0.4)
    assert tiny.run_command("serve", checkpoint, *options).returncode == 0
    (predictor,) = loaded
    assert (predictor.engine, predictor.precision) == ("torch", "bf16")
    assert (predictor.input.num_clips, predictor.threshold) == (3, 0.4)


def test_an_engine_that_is_not_for_the_checkpoint_is_one_line(checkpoint: Path):
    run = tiny.run_command("serve", checkpoint, "--port", 0, "--engine", "optimized", "--precision", "fp16")
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)
    assert "--engine optimized computes fp32 and bf16 on a cpu, not fp16" in run.stderr


def test_a_checkpoint_of_the_hub_is_served(
    checkpoint: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with hub_server.running_hub() as hub:
        hub.repos["me/model"] = hub_server.Repo()
        hub.repos["me/model"].commit("v1", {path.name: path.read_bytes() for path in checkpoint.iterdir()})
        hub_server.use(hub, tmp_path / "cache", monkeypatch)
        with running("hf://me/model@v1", tmp_path / "uploads") as served:
            video = min((data / "val").rglob("*.mp4"))
            (result,) = served.post("/predict", video, look=True).json()["results"]
    assert result["answer"] == Predictor(checkpoint, device="cpu")(video).answer
    assert result["look"].startswith("data:image/jpeg")


def test_a_name_that_the_hub_does_not_have_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with hub_server.running_hub() as hub:
        hub_server.use(hub, tmp_path / "cache", monkeypatch)
        run = tiny.run_command("serve", "hf://me/nothing", "--port", 0)
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)
    assert run.stderr.startswith("error: hf://me/nothing: the hub has no such repository, or it is private;")


def test_a_token_comes_from_the_option_or_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "token"
    file.write_text("from-the-file\n")
    assert chosen_token(None, None) is None
    monkeypatch.setenv(TOKEN_VARIABLE, "from-the-environment")
    assert chosen_token(None, None) == "from-the-environment"
    assert chosen_token(None, str(file)) == "from-the-file"
    assert chosen_token("from-the-option", None) == "from-the-option"
    file.write_text("\n")
    with pytest.raises(ConfigError, match="0 characters"):
        chosen_token(None, str(file))


def test_only_this_machine_reaches_a_loopback_address():
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "")))


def test_a_server_listens_at_any_free_port():
    with listening("127.0.0.1", 0) as first, listening("127.0.0.1", 0) as second:
        assert first.getsockname()[1] != second.getsockname()[1]


@pytest.mark.parametrize(("files", "connections"), [(1024, 448), (256, 64), (20, 16), (1_000_000, 1000)])
def test_connections_leave_room_for_the_files_that_a_process_may_open(
    files: int, connections: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("morphmlp.serving.server.most_open_files", lambda: files)
    assert most_connections() == connections


@pytest.mark.parametrize(
    ("field", "value"), [("upload_mb", 0), ("queue", -1), ("decode_s", float("nan")), ("upload_mb", math.inf)]
)
def test_a_limit_is_above_0(field: str, value: float):
    with pytest.raises(ConfigError, match=f"{field} is "):
        Limits(**{field: value})  # type: ignore[arg-type]
    assert Limits(batch_ms=0, drain_s=0).batch_ms == 0


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "morphmlp.serving.server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    run = tiny.run_command("serve", tmp_path)
    assert (run.returncode, run.stderr) == (
        1,
        "error: uvicorn is missing; install it with: pip install 'morphmlp[serve]'\n",
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process could answer")
def test_sigterm_ends_it_with_status_0_and_leaves_nothing(checkpoint: Path, tmp_path: Path):
    environment = tiny.environment() | {"TMPDIR": str(tmp_path), TOKEN_VARIABLE: "open-sesame"}
    command = tiny.command("serve", checkpoint, "--port", 0, "--workers", 1)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        address = line.split(" at ")[1].split()[0]
        assert httpx.get(f"{address}/labels", timeout=120).status_code == 401
        assert httpx.get(f"{address}/labels", headers={"authorization": "Bearer open-sesame"}).status_code == 200
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert time.monotonic() - began < 50
        assert process.stderr.read() == ""
    assert list(tmp_path.iterdir()) == []
