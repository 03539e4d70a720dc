"""The verbs work without what only Unix has, and each means of a system has a way to do without it."""

import ctypes
import errno
import io
import multiprocessing
import os
import select
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny

from morphmlp import output, system
from morphmlp.files import held, replaced_file, replaced_folder

OTHER_SYSTEM = Path(__file__).parent / "other_system.py"


def test_every_verb_works_without_what_only_unix_has(tmp_path: Path):
    arguments = [sys.executable, "-W", "error", str(OTHER_SYSTEM), str(tmp_path), "--without-unix"]
    process = subprocess.run(arguments, capture_output=True, encoding="cp1252", env=tiny.environment(), timeout=500)
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stdout.endswith("all verbs ran\n")
    assert "Traceback" not in process.stderr
    assert "is a classifier (morphmlp_video_nano); use `morphmlp predict`" in process.stderr


def test_the_stack_of_signals_that_a_library_set_goes_back_to_the_one_before():
    if (sigaltstack := system.c_function("sigaltstack")) is None:
        pytest.skip("no such stack here")
    before, set_again = tiny.signal_stack(), system.noted_signal_stack()
    library, size = ctypes.create_string_buffer(2**16), 2**16
    assert sigaltstack(struct.pack("PiN", ctypes.addressof(library), 0, size), None) == 0
    assert tiny.signal_stack() != before
    set_again()
    assert tiny.signal_stack() == before


@pytest.fixture
def without_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "poll")


@pytest.fixture
def pipe() -> Iterator[tuple[int, io.TextIOWrapper]]:
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w")
    yield reader, stream
    output.discard(stream)
    stream.close()


@pytest.mark.parametrize("poll", [True, False])
def test_a_reader_that_has_gone_is_noticed(pipe: tuple[int, io.TextIOWrapper], poll: bool, request):
    if not poll:
        request.getfixturevalue("without_poll")
    reader, stream = pipe
    stream.write("x")
    assert not system.has_lost_reader(stream)
    os.close(reader)
    stream.write("x")
    assert system.has_lost_reader(stream)


def test_a_stream_that_is_no_file_has_not_lost_its_reader():
    assert not system.has_lost_reader(io.StringIO())


def test_on_windows_a_closed_pipe_is_an_argument_that_is_not_valid(monkeypatch: pytest.MonkeyPatch):
    of_pipe, of_file = OSError(errno.EINVAL, "Invalid argument"), OSError(errno.EINVAL, "Invalid argument", "a:b.mp4")
    assert not system.is_closed_pipe(of_pipe)
    monkeypatch.setattr(system, "ON_WINDOWS", True)
    assert system.is_closed_pipe(of_pipe)
    assert not system.is_closed_pipe(of_file)
    assert system.is_closed_pipe(BrokenPipeError())


def test_a_line_that_nobody_reads_is_dropped_and_other_failures_are_not(monkeypatch: pytest.MonkeyPatch):
    discarded: list[object] = []
    monkeypatch.setattr(output, "discard", discarded.append)
    monkeypatch.setattr("builtins.print", lambda *_, **__: (_ for _ in ()).throw(BrokenPipeError()))
    output.tell("x")
    assert discarded == [sys.stderr]
    monkeypatch.setattr("builtins.print", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(OSError, match="full"):
        output.tell("x")


def test_processes_come_from_a_server_where_there_is_one(monkeypatch: pytest.MonkeyPatch):
    assert system.fresh_processes("json").get_start_method() == "forkserver"
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    assert system.fresh_processes("json").get_start_method() == "spawn"


def test_a_process_without_groups_stays_where_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "setsid")
    system.leave_process_group()


@pytest.mark.parametrize("error", [TypeError, OSError, AttributeError])
def test_a_c_library_that_cannot_be_asked_has_no_functions(monkeypatch: pytest.MonkeyPatch, error: type[Exception]):
    def fail(*_: object) -> None:
        raise error("none")

    monkeypatch.setattr(ctypes, "CDLL", fail)
    assert system.c_function(f"nothing_{error.__name__}") is None


def test_commands_are_quoted_as_the_shell_of_the_system_reads_them(monkeypatch: pytest.MonkeyPatch):
    assert system.command_line(["train", "my run"]) == "train 'my run'"
    monkeypatch.setattr(system, "ON_WINDOWS", True)
    assert system.command_line(["train", "C:\\my run"]) == 'train "C:\\my run"'


def test_a_path_on_another_drive_is_whole(monkeypatch: pytest.MonkeyPatch):
    assert system.relative_path("/data/a/b.mp4", "/data") == os.path.join("a", "b.mp4")

    def other_drive(*_: object) -> str:
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr(os.path, "relpath", other_drive)
    assert system.relative_path("/data/b.mp4", "/home") == "/data/b.mp4"


@pytest.mark.parametrize("what", ["file", "folder"])
def test_nothing_that_is_renamed_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str):
    """Windows would refuse it; here the open files of this process tell."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("this system does not list the files that are open")
    replace, renamed = os.replace, []

    def closed_replace(source: Path, target: Path) -> None:
        open_files = {os.path.realpath(link) for link in descriptors.iterdir()}
        assert not [name for name in open_files if Path(name).is_relative_to(os.path.realpath(source))]
        renamed.append(source)
        replace(source, target)

    monkeypatch.setattr(os, "replace", closed_replace)
    for text in ("old", "new"):
        if what == "file":
            with replaced_file(tmp_path / "x") as file:
                file.write(text)
        else:
            with replaced_folder(tmp_path / "x") as folder:
                (folder / "y").write_text(text)
    assert len(renamed) == (2 if what == "file" else 3)
    assert os.listdir(tmp_path) == ["x"]


def test_a_lock_is_held_by_one_at_a_time_and_leaves_no_file(tmp_path: Path):
    with held(tmp_path / "lock") as first:
        with held(tmp_path / "lock") as second:
            assert (first, second) == (True, False)
        assert (tmp_path / "lock").exists()
    assert not list(tmp_path.iterdir())
    with held(tmp_path / "lock") as again:
        assert again


def test_a_file_is_written_where_there_are_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import filelock

    def no_locks(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", no_locks)
    with replaced_file(tmp_path / "x") as file:
        file.write("new")
    assert (tmp_path / "x").read_text() == "new"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize(
    ("maker", "flags", "kind"),
    [
        ("GenuineIntel", "avx2 avx512f avx512_bf16 amx_bf16 amx_tile", "intel amx"),
        ("AuthenticAMD", "avx2 avx512f avx512_bf16", "amd avx512_bf16"),
        ("GenuineIntel", "avx2 avx512f", "intel avx512"),
        ("SomeoneElse", "avx2", "other avx2"),
        ("GenuineIntel", "sse2", None),
    ],
)
def test_a_processor_s_kind_is_its_maker_and_its_widest_products(maker: str, flags: str, kind: str | None):
    lines = [f"vendor_id\t: {maker}", "model name\t: some: thing", f"flags\t\t: fpu {flags}", ""]
    assert system.kind_of_processor(lines) == kind
    assert system.kind_of_processor([]) is None


def test_caches_are_where_the_user_has_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MORPHMLP_CACHE", "own")
    assert system.cache_folder("exports") == Path("own", "exports")
    monkeypatch.delenv("MORPHMLP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "caches")
    assert system.cache_folder("exports") == Path("caches", "morphmlp", "exports")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert system.cache_folder("exports") == Path.home() / ".cache" / "morphmlp" / "exports"


def test_the_memory_of_a_container_is_what_its_groups_allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    limits = {
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/jobs/memory.limit_in_bytes": "5000\n",
        "memory/jobs/7/memory.limit_in_bytes": "7000\n",
        "memory.max": "6000\n",
        "user/memory.max": "max\n",
    }
    for name, text in limits.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    version_1 = ["9:name=systemd:/jobs", "4:cpu,memory:/jobs/7", "1:cpuset:/jobs"]
    assert system.limits_of_groups(version_1, root=tmp_path) == [7000, 5000, 9223372036854771712]
    assert system.limits_of_groups(["0::/user/a:b"], root=tmp_path) == [6000]
    assert system.limits_of_groups(["0::/"], root=tmp_path) == [6000]
    assert system.limits_of_groups([], root=tmp_path) == []
    monkeypatch.setattr(system, "limits_of_groups", lambda lines: [10**12, 4000])
    assert system.free_memory() == 4000
    monkeypatch.setattr(system, "limits_of_groups", lambda lines: [])
    assert 10**6 < system.free_memory() < 10**15
