"""The fuzz of damaged files in `benchmarks/fuzz.py`: its rules, and a small run of it."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import fuzz
import pytest
import tiny

SCRIPT = Path(fuzz.__file__)


@pytest.mark.parametrize(
    ("outcome", "fault"),
    [
        ({"status": 0, "text": "one  52 %"}, None),
        ({"status": 1, "text": "error: x.mp4: is empty"}, None),
        ({"status": 1, "text": ""}, "status 1 without a line that says why"),
        ({"status": 2, "text": "error: x"}, "status 2 without a line that says why"),
        ({"status": 2, "text": "morphmlp train: x"}, None),
        ({"status": 1, "text": "error: " + 1000 * "x"}, "a line of 1007 characters"),
        ({"status": 0, "text": "Traceback (most recent call last)"}, "traceback"),
        ({"status": 99, "text": "error: x"}, "ended with 99"),
        ({"status": -signal.SIGSEGV}, "ended with -11"),
        ({"status": -signal.SIGXCPU}, "more than 30 s of processor time"),
        ({"processor_s": 31.0}, "more than 30 s of processor time"),
        ({"status": None}, "hangs: not ended after 180 s"),
        ({"peak_bytes": 3 * 2**30}, "3.0 GB"),
    ],
)
def test_what_is_a_fault(outcome: dict[str, Any], fault: str | None):
    sound = {
        "verb": "predict",
        "file": "x",
        "status": 0,
        "wall_s": 1.0,
        "processor_s": 1.0,
        "peak_bytes": 1,
        "text": "",
    }
    assert fuzz.Outcome(**sound | outcome).fault == fault


def test_the_number_of_a_file_and_the_seed_draw_its_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    original = tmp_path / "sound.bin"
    original.write_bytes(bytes(range(256)) * 8)
    found: dict[str, bytes] = {}

    def arrange(original: Path, damaged: bytes, place: Path, sound: Path) -> list:
        place.mkdir()
        return found.update({place.name: damaged}) or []

    monkeypatch.setattr(fuzz, "make_sound_files", lambda folder: [original])
    monkeypatch.setattr(fuzz, "arrange", arrange)
    fuzz.run(tmp_path, range(20), 0)
    all_of_them = dict(found)
    assert len(set(all_of_them.values())) == 20
    fuzz.run(tmp_path, [7], 0)
    assert found == all_of_them
    fuzz.run(tmp_path, [7], 1)
    assert found["0007"] != all_of_them["0007"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_damaged_file_of_each_kind_ends_in_a_result_or_in_one_line():
    arguments = [sys.executable, str(SCRIPT), "--files", "24", "--seed", "1"]
    process = subprocess.run(arguments, capture_output=True, text=True, env=tiny.environment())
    assert process.returncode == 0, process.stdout
