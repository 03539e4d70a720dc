"""What publishes the package agrees with it: the version is in one place, the workflows do what they say they do."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(path: Path) -> dict[str, Any]:
    """A workflow; YAML takes its key `on` for a yes."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {"on" if key is True else key: value for key, value in values.items()}


def steps_of(job: dict[str, Any], action: str) -> list[dict[str, Any]]:
    return [step for step in job["steps"] if step.get("uses", "").startswith(f"{action}@")]


def test_the_version_is_in_pyproject_alone():
    assert "version" in PROJECT
    assert version("morphmlp") == PROJECT["version"]
    pattern = re.compile(rf"""(?i)version\W{{1,5}}{re.escape(PROJECT["version"])}""")
    files = [*(ROOT / "src").rglob("*.py"), ROOT / "CITATION.cff", ROOT / "README.md", ROOT / "Dockerfile"]
    assert not [path for path in files if pattern.search(path.read_text(encoding="utf-8"))]


def test_the_changelog_begins_with_what_is_not_released_and_names_the_version():
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert PROJECT["version"] in headings
    assert len(set(headings)) == len(headings)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_limits_and_no_secret(path: Path):
    workflow = read(path)
    assert workflow["permissions"] in ({}, {"contents": "read"})
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 120
        assert all(set(step) & {"run", "uses"} for step in job["steps"])
        assert all(step["with"]["persist-credentials"] is False for step in steps_of(job, "actions/checkout"))
    assert "secrets." not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_a_workflow_runs_is_there(path: Path):
    for name in re.findall(r"(?<![\w./-])(tests/[\w./]+|\.ci/\w+)", path.read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), name


def test_ci_runs_on_the_three_systems():
    jobs = read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    systems = {job["runs-on"] for job in jobs.values()} | set(jobs["other-systems"]["strategy"]["matrix"]["os"])
    assert {"ubuntu-latest", "macos-latest", "windows-latest"} <= systems
    assert "other_system.py" in str(jobs["other-systems"])


def test_a_tag_publishes_what_was_built_once_by_trusted_publishing_with_attestations():
    release = read(ROOT / ".github" / "workflows" / "release.yml")
    assert release["on"] == {"push": {"tags": ["v*"]}}
    build, publish = release["jobs"]["build"], release["jobs"]["publish"]
    assert build["permissions"] == {"contents": "read"}  # what runs our code cannot sign
    assert publish["needs"] == "build"
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["environment"]["name"] == "pypi"
    assert not [step for step in publish["steps"] if "run" in step]
    (upload,), (download,) = steps_of(build, "actions/upload-artifact"), steps_of(publish, "actions/download-artifact")
    assert upload["with"]["name"] == download["with"]["name"]
    assert upload["with"]["path"] == download["with"]["path"] == "dist/"
    (action,) = steps_of(publish, "pypa/gh-action-pypi-publish")
    assert action["with"] == {"attestations": True}


def test_libraries_whose_private_parts_or_messages_are_used_have_an_upper_bound():
    bounded = {re.split(r"[\[<>=]", text)[0] for text in PROJECT["dependencies"] if "<" in text}
    assert bounded == {"jsonargparse", "accelerate", "timm"}


def test_the_image_runs_as_no_root_and_gets_only_what_it_builds_from():
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users == ["1000:1000"]
    assert 'ENTRYPOINT ["morphmlp"]' in lines
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    copied = [name for line in lines if line.startswith("COPY") and "--from" not in line for name in line.split()[1:-1]]
    assert kept[0] == "*"
    assert {f"!{name}" for name in copied} == {name for name in kept if name.startswith("!")}
