"""Ctrl-C and SIGTERM end every verb in order, and no reader of the output can make it fail."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import fresh
import pytest
import tiny

from morphmlp import cli, signals
from morphmlp.files import replaced_file, replaced_folder

ENDS = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, signals.Terminated)]


@pytest.mark.parametrize(("number", "error"), ENDS)
def test_a_signal_raises_and_the_handlers_come_back(number: int, error: type[BaseException]):
    before = signal.getsignal(number)
    with pytest.raises(error), signals.raised():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(("number", "error"), ENDS)
def test_a_signal_that_a_library_swallows_ends_before_a_file_or_folder_is_replaced(
    tmp_path: Path, number: int, error: type[BaseException]
):
    def swallow() -> None:
        with contextlib.suppress(BaseException):
            signal.raise_signal(number)

    with pytest.raises(error), signals.raised(), replaced_folder(tmp_path / "folder"):
        swallow()
    with pytest.raises(error), signals.raised(), replaced_file(tmp_path / "file"):
        swallow()
    assert not list(tmp_path.iterdir())
    with signals.raised():
        signals.end_if_asked()  # what came before is forgotten


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals.raised():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_forked_process_dies_of_sigterm_as_ever():
    with signals.raised():
        child = os.fork()
        if child == 0:
            signal.raise_signal(signal.SIGTERM)
            os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


@pytest.mark.parametrize(("number", "status", "said"), [(2, 130, "interrupted\n"), (15, 143, "terminated\n")])
def test_a_verb_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, status: int, said: str
):
    monkeypatch.setattr(cli, "_run", lambda arguments: signal.raise_signal(number))
    assert cli.main(["models"]) == status
    assert capsys.readouterr().err == said


@pytest.mark.skipif(os.name == "nt", reason="Windows tells a process alone of no Ctrl-C")
@pytest.mark.parametrize("start", ["the installed command", "-m morphmlp", "-m morphmlp.cli"])
def test_ctrl_c_while_modules_are_imported_is_one_word(tmp_path: Path, start: str):
    """Also where a module catches all that is raised: the first one that is imported waits for the signal here."""
    (tmp_path / "difflib.py").write_text(
        "import contextlib, signal\nwith contextlib.suppress(BaseException):\n    signal.raise_signal(signal.SIGINT)\n"
    )
    arguments = start.split() if start.startswith("-m") else ["-c", script_of_the_command()]
    paths = [str(tmp_path), *sys.path]
    process = subprocess.run(
        [sys.executable, *arguments, "models"],
        capture_output=True,
        text=True,
        env=tiny.environment() | {"PYTHONPATH": os.pathsep.join(paths)},
    )
    assert (process.returncode, process.stdout, process.stderr) == (130, "", "interrupted\n")


def script_of_the_command() -> str:
    """What the `morphmlp` of an installation does."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, function = project["scripts"]["morphmlp"].split(":")
    return f"import sys\nfrom {module} import {function}\nsys.exit({function}())"


def test_the_command_line_runs_in_another_thread():
    statuses: list[int] = []
    thread = threading.Thread(target=lambda: statuses.append(cli.main(["--version"])))
    thread.start()
    thread.join()
    assert statuses == [0]


def test_a_killed_verb_leaves_nothing_that_the_next_one_does_not_clear(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").write_text("old")
    script = (
        "import os, signal, sys; from pathlib import Path; from morphmlp import files\n"
        "with files.replaced_folder(sys.argv[1] + '/a') as a, files.replaced_file(sys.argv[1] + '/c') as c:\n"
        "    (a / 'new').write_text('new')\n"
        "    c.write('new')\n"
        "    os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL) if _[0].name == 'new' else replace(*_)\n"
        "    with files.replaced_folder(sys.argv[1] + '/b'): pass\n"
    ).replace("    os.replace", "    replace = os.replace; os.replace")
    process = subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=tiny.environment())
    assert process.returncode == -signal.SIGKILL
    hidden = [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert len(hidden) == 3
    assert not (tmp_path / "b").exists()  # moved aside
    (tmp_path / ".a-mine").mkdir()
    for name in ("a", "b"):
        with pytest.raises(ZeroDivisionError), replaced_folder(tmp_path / name):
            _ = 1 / 0
        assert tiny.files_below(tmp_path / name) == ["old"]
    with replaced_file(tmp_path / "c") as file:
        file.write("c")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a-mine", "a", "b", "c"]


def test_what_another_process_is_writing_is_left_alone(tmp_path: Path):
    with replaced_folder(tmp_path / "f") as first:
        (first / "x").write_text("first")
        with replaced_folder(tmp_path / "f") as second:
            (second / "x").write_text("second")
    assert (tmp_path / "f" / "x").read_text() == "first"


def pipe_to_nobody(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a verb whose reader has gone before it prints; the exit status is the verb's."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return fresh.run(tiny.command(*arguments), stdout=writer, env=tiny.environment())
    finally:
        os.close(writer)


@pytest.mark.parametrize("arguments", [("--help",), ("predict", "--help"), ("models",), ("table", "2")])
def test_output_that_nobody_reads_ends_quietly(arguments: tuple[str, ...]):
    process = pipe_to_nobody(*arguments)
    assert (process.returncode, process.stderr) == (0, "")


def test_files_are_written_though_nobody_reads_the_output(checkpoint: Path, data: Path, tmp_path: Path):
    process = pipe_to_nobody("evaluate", checkpoint, data, "--workers", 0, "--out", tmp_path / "report")
    where = f"summary.json, predictions.csv, confusion.png and index.html are in {tmp_path / 'report'}\n"
    assert (process.returncode, process.stderr) == (0, where)  # standard error is still read
    files = ["confusion.png", "index.html", "predictions.csv", "summary.json"]
    assert tiny.files_below(tmp_path / "report") == files
    csv = tmp_path / "predictions.csv"
    process = pipe_to_nobody("predict", checkpoint, data / "val", "--workers", 0, "--csv", csv)
    assert (process.returncode, process.stderr) == (0, "")
    assert len(csv.read_text().splitlines()) == 1 + 10 * 5
    process = pipe_to_nobody("predict", checkpoint, data / "val", "--workers", 0, "--out", tmp_path / "rows.jsonl")
    assert (process.returncode, process.stderr) == (0, "")
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 10


def test_figures_are_shown_though_their_files_cannot_be_written(checkpoint: Path, data: Path, tmp_path: Path):
    (tmp_path / "file").touch()
    video = next((data / "val").rglob("*.mp4"))
    csv = tmp_path / "file" / "x.csv"
    process = tiny.run_command("predict", checkpoint, video, "--workers", 0, "--csv", csv)
    assert process.returncode == 1
    assert video.name in process.stdout
    assert process.stderr == f"error: {csv}: Not a directory\n"


@pytest.mark.parametrize("arguments", [("--help",), ("models", "--json")])
def test_output_on_a_full_disk_is_one_line(arguments: tuple[str, ...]):
    with open("/dev/full", "w") as full:
        process = subprocess.run(  # not forked: Python's own standard output is what this is about
            tiny.command(*arguments), stdout=full, stderr=subprocess.PIPE, text=True, env=tiny.environment()
        )
    assert process.returncode == 1
    assert process.stderr.startswith("error: ")
    assert "No space left on device" in process.stderr
    assert len(process.stderr.splitlines()) == 1


HANGS = """
import multiprocessing, os, signal, sys, time
from morphmlp import cli
def hang(arguments):
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,), daemon=True)
    child.start()
    os.kill(child.pid, signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGTERM)
    return 0
cli._run = hang
sys.exit(cli.main(["train"]))
"""


def test_a_verb_ends_though_a_process_of_its_own_does_not_answer():
    process = fresh.run([sys.executable, "-c", HANGS], env=tiny.environment())
    assert (process.returncode, process.stderr) == (143, "terminated\n")
