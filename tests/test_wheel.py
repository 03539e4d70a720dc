"""The wheel carries all that the package reads: its modules, the recipes and the class names."""

import shutil
import subprocess
import tomllib
from importlib import resources
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "morphmlp"
FILES = sorted(
    str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts
)
DATA_FILES = [name for name in FILES if not name.endswith(".py")]


def test_recipes_and_class_names_are_data_of_the_package():
    assert {Path(name).parts[0] for name in DATA_FILES} == {"recipes", "data"}
    assert "recipes/k400_s16.yaml" in DATA_FILES
    assert "data/sets/labels/k400.txt" in DATA_FILES
    for name in DATA_FILES:
        assert resources.files("morphmlp").joinpath(name).read_text(encoding="utf-8").strip(), f"{name} is empty"


def test_the_wheel_takes_the_whole_package_and_git_ignores_no_file_of_it():
    # Hatchling takes the folders of `packages`, less what git ignores.
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"packages": ["src/morphmlp"]}
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    paths = "\n".join(f"src/morphmlp/{name}" for name in FILES)
    command = ["git", "check-ignore", "--no-index", "--stdin"]
    ignored = subprocess.run(command, cwd=ROOT, input=paths, capture_output=True, text=True)
    if ignored.returncode == 128:
        pytest.skip(ignored.stderr.strip())  # not a repository, such as an unpacked release
    assert ignored.stdout == ""


def test_hatchling_selects_every_file_of_the_package():
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    selected = {file.distribution_path for file in wheel.WheelBuilder(str(ROOT)).recurse_included_files()}
    assert {f"morphmlp/{name}" for name in FILES} <= selected
