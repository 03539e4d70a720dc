"""A cluster's bad days, each for real: processes are killed, disks are full, and the run goes on to the last bit."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import fresh
import pytest
import tiny

import morphmlp.training.run as training

DIE_AT_REPLACE = """
import os, signal, sys, tiny
from pathlib import Path
from morphmlp.training.run import resume, train

replace, calls = os.replace, []

def replace_and_die(source, target):
    if Path(target).name in ("last", "previous"):
        calls.append(Path(target).name)
        if len(calls) == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

os.replace = replace_and_die
if Path(sys.argv[2]).exists():
    resume(sys.argv[2])
else:
    train(tiny.run_config(Path(sys.argv[1]), **tiny.everything_random(0), save_every=3), sys.argv[2])
"""
DIE_IN_WRITE = """
import os, signal, sys, tiny
from pathlib import Path
from morphmlp.training.run import train

write_bytes, calls = Path.write_bytes, []

def write_half_and_die(self, content):
    if self.name == sys.argv[3]:
        calls.append(self)
        if len(calls) == 3:
            write_bytes(self, bytes(content)[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
    return write_bytes(self, content)

Path.write_bytes = write_half_and_die
train(tiny.run_config(Path(sys.argv[1]), **tiny.everything_random(0), save_every=3), sys.argv[2])
"""
WORKER_DIES = """
import os, signal, sys, tiny
from pathlib import Path
from morphmlp.data.batches.loaders import TrainingClips
from morphmlp.training.run import train

get = TrainingClips.__getitem__

def get_or_die(self, position):
    if position >= int(sys.argv[3]) * len(self):
        os.kill(os.getpid(), signal.SIGKILL)
    return get(self, position)

TrainingClips.__getitem__ = get_or_die
try:
    train(tiny.run_config(Path(sys.argv[1]), **tiny.everything_random(2)), sys.argv[2])
except ValueError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def run_script(script: str, *arguments: Any) -> "subprocess.CompletedProcess[str]":
    return fresh.run([sys.executable, "-c", script, *arguments], env=tiny.environment())


@pytest.fixture(scope="module")
def never_killed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("never_killed") / "run"
    training.train(tiny.run_config(data, **tiny.everything_random(0), save_every=3), out)
    return out


# The saves come after steps 3, 5 and so on. Each makes two renames, but the first makes one.
@pytest.mark.parametrize("rename", [1, 2, 3, 6], ids=["first", "last_to_previous", "new_to_last", "later"])
def test_run_killed_between_the_renames_of_a_save_is_resumed_to_the_last_bit(
    never_killed: Path, data: Path, tmp_path: Path, rename: int
):
    process = run_script(DIE_AT_REPLACE, data, tmp_path / "run", rename)
    assert process.returncode == -signal.SIGKILL, process.stderr
    training.resume(tmp_path / "run")
    tiny.assert_same_run(never_killed, tmp_path / "run")
    assert not list((tmp_path / "run").glob(".*"))


def test_run_killed_while_it_saves_after_its_last_state_was_damaged_is_resumed_to_the_last_bit(
    never_killed: Path, data: Path, tmp_path: Path
):
    """The damaged state must not take the place of the good one before the new one is written."""
    run = tmp_path / "run"
    assert run_script(DIE_AT_REPLACE, data, run, 5).returncode == -signal.SIGKILL
    state = run / "previous" / "state.pt"  # killed between the renames: there is no last one
    shutil.copytree(run / "previous", run / "last")
    (run / "last" / "state.pt").write_bytes(state.read_bytes()[:-100])
    for rename in (1, 2):
        assert run_script(DIE_AT_REPLACE, data, run, rename).returncode == -signal.SIGKILL
    training.resume(run)
    tiny.assert_same_run(never_killed, run)


@pytest.mark.parametrize("name", ["state.pt", "model.safetensors"])
def test_run_killed_in_the_middle_of_writing_a_file_is_resumed_to_the_last_bit(
    never_killed: Path, data: Path, tmp_path: Path, name: str
):
    process = run_script(DIE_IN_WRITE, data, tmp_path / "run", name)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert list((tmp_path / "run").glob(".*")), "killed before it wrote"
    training.resume(tmp_path / "run")
    tiny.assert_same_run(never_killed, tmp_path / "run")
    assert not list((tmp_path / "run").glob(".*"))


@pytest.mark.parametrize(("epochs", "saved"), [(2, "the last saved state is of step 10"), (0, "no state is saved yet")])
def test_decoding_process_that_dies_stops_the_run_in_one_line_and_it_can_be_resumed(
    data: Path, tmp_path: Path, epochs: int, saved: str
):
    process = run_script(WORKER_DIES, data, tmp_path / "run", epochs)
    assert process.returncode == 1
    last = process.stderr.splitlines()[-1]
    assert last.startswith("LostProcessError: a decoding process ended unexpectedly (out of memory?) after step ")
    assert f"{saved}; go on with: morphmlp train --out {tmp_path / 'run'} --resume" in last
    training.resume(tmp_path / "run")
    assert tiny.losses(tmp_path / "run")[-1][0] == 15


def test_disk_that_takes_no_more_ends_the_command_in_one_line_and_leaves_nothing_half_written(
    data: Path, tmp_path: Path
):
    """The limit on the size of a file stands for the disk: the system refuses the write in both cases."""
    command = tiny.command("train", data, *tiny.OPTIONS, "--out", tmp_path / "run")
    process = fresh.run(command, env=tiny.environment(), most_file_bytes=60_000)  # the weights need more
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1] == f"error: {tmp_path / 'run' / 'last'}: File too large"
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())
    finished = tiny.run_command("train", data, *tiny.OPTIONS, "--out", tmp_path / "run")
    assert finished.returncode == 0, finished.stderr
