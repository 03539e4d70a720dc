"""The wheel and the sdist carry all that the package reads: its modules, the recipes, the class names, `py.typed`."""

import email
import re
import shutil
import subprocess
import tarfile
import tomllib
import zipfile
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "morphmlp"
FILES = sorted(
    str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts
)
DATA_FILES = [name for name in FILES if not name.endswith(".py")]


def test_recipes_class_names_and_weights_are_data_of_the_package():
    rooms = {"recipes", "data", "inference", "serving", "checkpoints", "py.typed"}
    assert {Path(name).parts[0] for name in DATA_FILES} == rooms
    assert "recipes/k400_s16.yaml" in DATA_FILES
    assert "data/sets/labels/k400.txt" in DATA_FILES
    assert "checkpoints/weights/rendered/model.safetensors" in DATA_FILES
    for name in set(DATA_FILES) - {"py.typed"}:  # which is empty
        assert resources.files("morphmlp").joinpath(name).read_bytes().strip(), f"{name} is empty"


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


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist."""
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    sdist = pytest.importorskip("hatchling.builders.sdist", reason="hatchling is not installed")
    folder = tmp_path_factory.mktemp("dist")
    return build(wheel.WheelBuilder, ROOT, folder), build(sdist.SdistBuilder, ROOT, folder)


def build(builder: Any, root: Path, folder: Path) -> Path:
    return Path(next(builder(str(root)).build(directory=str(folder), versions=["standard"])))


def test_the_wheel_holds_the_package_and_nothing_else(built: tuple[Path, Path]):
    with zipfile.ZipFile(built[0]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        text = wheel.read(next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))).decode()
    assert names == {f"morphmlp/{name}" for name in FILES}
    metadata = email.message_from_string(text)
    assert metadata["Version"] == version("morphmlp")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert {"dev", "heif", "tensorboard", "wandb"} <= set(metadata.get_all("Provides-Extra"))
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    assert metadata["Description-Content-Type"] == "text/markdown"


def test_what_pypi_shows_has_no_link_that_leads_nowhere_there(built: tuple[Path, Path]):
    with zipfile.ZipFile(built[0]) as wheel:
        text = wheel.read(next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))).decode()
    shown = text.partition("\n\n")[2]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "](docs/" in readme
    assert re.findall(r"\]\((?!https?:|#)", shown) == []
    assert "docs/overview.png in the source distribution" in shown
    assert len(shown.splitlines()) == len(readme.splitlines())


def test_the_sdist_holds_what_builds_tests_and_explains_the_package(built: tuple[Path, Path]):
    with tarfile.open(built[1]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    tests = {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("*.py")}
    docs = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "docs").rglob("*")
        if path.is_file() and not {"_build", "__pycache__"} & set(path.parts)
    }
    assert {f"src/morphmlp/{name}" for name in FILES} | tests | docs <= names
    root_files = {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "CITATION.cff",
        "Makefile",
    }
    assert root_files | {"PKG-INFO", "Dockerfile", ".ci/run", ".github/workflows/release.yml"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("runs/", ".venv/", "dist/"))]


def test_the_wheel_of_the_sdist_is_the_wheel_of_the_checkout(built: tuple[Path, Path], tmp_path: Path):
    from hatchling.builders.wheel import WheelBuilder

    with tarfile.open(built[1]) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    again = build(WheelBuilder, unpacked, tmp_path / "dist")
    with zipfile.ZipFile(built[0]) as first, zipfile.ZipFile(again) as second:
        assert {n: first.read(n) for n in first.namelist()} == {n: second.read(n) for n in second.namelist()}
