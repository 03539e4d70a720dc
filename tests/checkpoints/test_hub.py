"""Checkpoints of the hub, from a server on the loopback address."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import hub_server
import pytest
import tiny
import torch
from hub_server import Hub, Repo

import morphmlp
from morphmlp.checkpoints import hub
from morphmlp.checkpoints.folder import load_with_info, rewrite_info
from morphmlp.checkpoints.hub import folder_name, hub_repository, is_hub_name, local_checkpoint, pinned
from morphmlp.errors import CheckpointError

NAME = "hf://me/model"


@dataclass
class Shelf:
    hub: Hub
    cache: Path
    folder: Path

    @property
    def repo(self) -> Repo:
        return self.hub.repos["me/model"]


@pytest.fixture
def shelf(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    """A hub with the tiny checkpoint as me/model, beside files that no checkpoint has."""
    files = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    with hub_server.running_hub() as hub:
        hub.repos["me/model"] = Repo()
        hub.repos["me/model"].commit("main", {**files, "README.md": b"# x", "videos.zip": b"x" * 100})
        hub_server.use(hub, tmp_path / "cache", monkeypatch)
        yield Shelf(hub, tmp_path / "cache", checkpoint)


def refusal(name: str | Path = NAME) -> str:
    """The message of a checkpoint that cannot be had, in one line, without what nobody may see."""
    with pytest.raises(CheckpointError) as caught:
        local_checkpoint(name)
    message = str(caught.value)
    assert "\n" not in message
    assert hub_server.TOKEN not in message
    assert "request-7" not in message
    assert "/api/" not in message
    return message


def test_a_plain_path_is_returned_as_it_is(tmp_path: Path):
    assert local_checkpoint("runs/mine/best") == Path("runs/mine/best")
    assert local_checkpoint(tmp_path) == tmp_path
    assert not is_hub_name("hf/owner/name")


def test_a_path_of_a_name_is_the_name_though_it_has_one_slash():
    assert hub_repository(Path("hf://me/model@v1")) == hub_repository("hf://me/model@v1") == ("me/model", "v1")
    assert hub_repository("hf://me/model@refs/pr/1") == ("me/model", "refs/pr/1")


@pytest.mark.parametrize("name", ["hf://model", "hf://", "hf://me/model/best", "hf://me/model@", "hf://me/mo del"])
def test_what_is_no_name_of_a_repository_is_refused(name: str):
    with pytest.raises(CheckpointError, match=r"names no repository; expected hf://owner/name or hf://owner/name@v1"):
        local_checkpoint(name)


def test_only_the_files_of_the_checkpoint_are_fetched_and_only_once(shelf: Shelf):
    model = morphmlp.load(NAME)
    own = morphmlp.load(shelf.folder)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in own.state_dict().items())
    assert shelf.hub.downloads() == ["config.json", "model.safetensors"]
    shelf.hub.asked.clear()
    load_with_info(Path(NAME))
    assert not shelf.hub.asked


def test_a_revision_is_a_branch_a_tag_or_a_commit(shelf: Shelf):
    first = shelf.repo.branches["main"]
    files = dict(shelf.repo.commits[first])
    config = json.loads(files["config.json"])
    files["config.json"] = json.dumps(config | {"labels": []}).encode()
    second = shelf.repo.commit("next", files)
    assert load_with_info(f"{NAME}@next")[1].labels == []
    assert local_checkpoint(f"{NAME}@next").name == local_checkpoint(f"{NAME}@{second}").name == second
    assert local_checkpoint(f"{NAME}@{first[:40]}").name == first


def test_a_process_stays_at_the_commit_that_it_had_first(shelf: Shelf):
    first = local_checkpoint(NAME)
    shelf.repo.commit("main", dict(shelf.repo.commits[first.name]) | {"more.txt": b""})
    assert local_checkpoint(NAME) == first
    hub_server.forget()
    assert local_checkpoint(NAME) != first
    assert pinned(NAME) == f"{NAME}@{local_checkpoint(NAME).name}"


def test_every_verb_takes_it(shelf: Shelf, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    video = min((data / "val").glob("*/*.mp4"))
    assert tiny.run_command("predict", NAME, video, "--json", "--workers", 0).returncode == 0
    result = tiny.run_command("evaluate", f"{NAME}", data, "--workers", 0)
    assert (result.returncode, (tmp_path / "me-model-evaluation").is_dir()) == (0, True), result.stderr
    train = tiny.run_command("train", "--data", data, "--init", NAME, "--out", "run", "--workers", 0, "--epochs", 1)
    assert train.returncode == 0, train.stderr
    recorded = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))["init"]
    assert recorded == f"{NAME}@{shelf.repo.branches['main']}"


def test_it_cannot_be_calibrated_in_place(shelf: Shelf, data: Path, tmp_path: Path):
    result = tiny.run_command("calibrate", NAME, data)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "hf://me/model is on the hub, and stays as it is there: give --out FOLDER for a changed" in result.stderr
    with pytest.raises(CheckpointError, match="is on the hub, and stays as it is there: give --out"):
        rewrite_info(NAME, lambda info: info)
    rewrite_info(NAME, lambda info: info, out=tmp_path / "copy")
    assert morphmlp.load(tmp_path / "copy").config == morphmlp.load(shelf.folder).config


def test_a_name_that_does_not_exist(shelf: Shelf):
    wanted = "hf://me/nothing: the hub has no such repository, or it is private; check the name, or log in with"
    assert refusal("hf://me/nothing").startswith(wanted)


def test_a_private_repository_without_a_token(shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
    shelf.repo.private = True
    monkeypatch.delenv("HF_TOKEN")
    assert "or it is private" in refusal()
    monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
    assert local_checkpoint(NAME).is_dir()


def test_a_revision_that_is_gone(shelf: Shelf):
    gone = "the repository has no such revision; give a branch, a tag or a commit that it has"
    assert refusal(f"{NAME}@v9") == f"{NAME}@v9: {gone}"
    assert refusal(f"{NAME}@{'0' * 40}").endswith(gone)


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (401, "the hub refuses the token; log in with `hf auth login`, or set HF_TOKEN"),
        (403, "the token may not do this there; use one with the right to"),
        (503, "the hub (127.0.0.1) answers with status 503; try again later"),
        (429, "the hub (127.0.0.1) answers with status 429; try again later"),
    ],
)
def test_a_hub_that_refuses(shelf: Shelf, status: int, wanted: str):
    shelf.hub.refuse, shelf.hub.message = status, "Invalid credentials in Authorization header"
    assert wanted in refusal()


@pytest.mark.parametrize("body", [b"{}", b"[1]", b"<html>log in</html>"])
def test_a_host_that_is_no_hub(shelf: Shelf, body: bytes):
    shelf.hub.refuse, shelf.hub.body = 200, body
    wanted = "127.0.0.1 does not answer as a hub does; is HF_ENDPOINT right, and no login page in between?"
    assert refusal() == f"{NAME}: {wanted}"


def test_no_network_and_nothing_in_the_cache(shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert refusal() == f"{NAME}: the hub (127.0.0.1) cannot be reached, and the cache has no copy of it; " + (
        "check the network"
    )


def test_without_a_network_the_cache_serves(shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
    cached = local_checkpoint(NAME)
    hub_server.forget()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert local_checkpoint(NAME) == cached


def test_offline_only_the_cache_serves_and_says_so(shelf: Shelf):
    """In processes of their own, by the variables that users set."""
    assert fetched_by_process(shelf, HF_HUB_OFFLINE="1") == (
        f"{NAME}: is not in the cache ({shelf.cache}), and HF_HUB_OFFLINE is set; unset it to fetch it once"
    )
    folder = fetched_by_process(shelf)
    shelf.hub.asked.clear()
    assert fetched_by_process(shelf, HF_HUB_OFFLINE="1") == folder
    assert (Path(folder) / "model.safetensors").is_file()
    assert not shelf.hub.asked


def fetched_by_process(shelf: Shelf, **variables: str) -> str:
    """The folder, or the error, that a new process gets; it writes nothing else."""
    script = (
        "from morphmlp.checkpoints.hub import local_checkpoint\n"
        f"try: print(local_checkpoint({NAME!r}))\n"
        "except ValueError as error: print(error)"
    )
    usual = {"HF_ENDPOINT": shelf.hub.address, "HF_HUB_CACHE": str(shelf.cache), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-W", "error", "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, env=tiny.environment() | usual | variables)
    assert result.stderr == ""
    return result.stdout.strip()


def test_a_disk_that_is_full_in_mid_download_leaves_no_checkpoint(shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub.file_download as downloading

    real = downloading.http_get

    def full(url: str, file: object, **options: object) -> None:
        if "safetensors" in url:
            file.write(b"half")  # type: ignore[attr-defined]
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(url, file, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(downloading, "http_get", full)
    assert refusal() == (
        f"{NAME}: cannot be kept in {shelf.cache}: No space left on device; free some space, or set HF_HOME to another "
        "disk"
    )
    assert not list(shelf.cache.rglob("model.safetensors"))
    monkeypatch.setattr(downloading, "http_get", real)
    assert morphmlp.load(NAME).config == morphmlp.load(shelf.folder).config


def test_a_connection_that_breaks_off_leaves_no_checkpoint(shelf: Shelf):
    shelf.hub.break_after = 2_000
    assert "the hub (127.0.0.1) cannot be reached" in refusal()
    assert not list(shelf.cache.rglob("model.safetensors"))
    shelf.hub.break_after = None
    assert local_checkpoint(NAME).is_dir()


@pytest.mark.parametrize(
    "config",
    [None, b'{"model_type": "bert"}', b"[]", b"{", b'{"version": "1"}'],
    ids=["none", "bert", "list", "cut", "few"],
)
def test_a_repository_of_others_is_no_checkpoint_and_its_weights_are_not_fetched(shelf: Shelf, config: bytes | None):
    files = {"model.safetensors": b"x" * 50_000} | ({} if config is None else {"config.json": config})
    shelf.repo.commit("main", files)
    assert refusal() == (
        f"{NAME} is no checkpoint of morphmlp (it has no config.json of ours); `morphmlp push` makes one"
    )
    assert "model.safetensors" not in shelf.hub.downloads()


def with_export(shelf: Shelf, format: str, **files: bytes) -> None:
    config = json.loads((shelf.folder / "config.json").read_bytes()) | {"export": {"format": format}}
    named = {name.replace("_", "."): content for name, content in files.items()}
    shelf.repo.commit("main", {"config.json": json.dumps(config).encode()} | named)


def test_an_exported_model_is_fetched_by_its_format(shelf: Shelf):
    with_export(shelf, "openvino", model_xml=b"<xml/>", model_bin=b"bin", model_onnx=b"of before")
    names = {path.name for path in local_checkpoint(NAME).iterdir()}
    assert names == {"config.json", "model.xml", "model.bin"}


def test_the_files_of_each_format_are_those_that_an_export_has():
    from morphmlp.inference import runtimes

    assert {**runtimes.MODEL_FILES, None: ("model.safetensors",)} == hub.MODEL_FILES


def test_a_pickle_of_a_stranger_is_not_fetched(shelf: Shelf):
    with_export(shelf, "torch", model_pt2=b"pickle")
    assert "is a model exported for torch, a pickle, which can run code of its author" in refusal()
    assert "model.pt2" not in shelf.hub.downloads()


def test_a_repository_without_the_weights_is_not_complete(shelf: Shelf):
    with_export(shelf, "openvino", model_xml=b"<xml/>")
    assert refusal() == f"{NAME} is not complete: it has no model.bin; ask its owner to push it again"


def test_outputs_beside_it_are_named_in_the_working_folder(checkpoint: Path):
    assert folder_name("hf://me/model@v1") == "me-model"
    assert folder_name(checkpoint) == str(checkpoint.resolve())


def test_two_processes_may_fetch_it_at_once(shelf: Shelf):
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: fetched_by_process(shelf), range(2))
    assert first == second
    assert (Path(first) / "model.safetensors").is_file()
