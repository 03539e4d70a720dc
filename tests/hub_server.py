"""A hub on the loopback address: the calls of huggingface_hub for repositories, commits and files, kept in memory."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import loopback
import pytest

TOKEN = "hf_test_" + "x" * 26  # made up; no message may hold it
LFS_FROM = 10_000  # bytes


@dataclass
class Repo:
    """Commits, each all of its files by name, and the branches that point to them."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        sha = hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        return sha

    def find(self, revision: str) -> str | None:
        return self.branches.get(revision) or (revision if revision in self.commits else None)


@dataclass
class Hub:
    """What a server holds, what it was asked, and how it misbehaves.

    Attributes:
        refuse: the status of every answer; None answers.
        message: what a refusal says, and `body` what comes with it.
        break_after: bytes of a file after which the connection is closed.
        licenses: that the card's header may name.
    """

    address: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    refuse: int | None = None
    message: str = "refused"
    body: bytes = b"{}"
    break_after: int | None = None
    licenses: tuple[str, ...] = ("apache-2.0", "mit", "other")

    def downloads(self) -> list[str]:
        return [line.rpartition("/")[2] for line in self.asked if line.startswith("GET") and "/resolve/" in line]


class Refused(Exception):
    def __init__(self, status: int, code: str = "", message: str = ""):
        super().__init__(status)
        self.status, self.code, self.message = status, code, message


@contextmanager
def running_hub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    with loopback.http(Handler) as hub.address:
        yield hub


class _Handler(loopback.Handler):
    hub: Hub

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else self._chunked()
        self.hub.asked.append(f"{self.command} {self.asked}")
        try:
            if self.hub.refuse:
                raise Refused(self.hub.refuse, message=self.hub.message)
            for method, pattern, call in ROUTES:
                if self.command in method and (match := re.fullmatch(pattern, self.asked)):
                    call(self, body, *match.groups())
                    return
            raise Refused(404, "EntryNotFound")
        except Refused as error:
            headers = {"X-Error-Code": error.code, "X-Error-Message": error.message, "X-Request-Id": "request-7"}
            self._send(error.status, self.hub.body, {name: value for name, value in headers.items() if value})

    do_GET = do_HEAD = do_POST = do_PUT = _answer

    def _chunked(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return b""
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        usual = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        self.answer(status, usual | (headers or {}), [content])

    def send_json(self, values: Any) -> None:
        self._send(200, json.dumps(values).encode())

    def authorized(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def require_token(self) -> None:
        if not self.authorized():
            raise Refused(401, message="Invalid credentials in Authorization header")

    def repo(self, name: str) -> Repo:
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and not self.authorized()):
            raise Refused(404 if self.authorized() else 401, "RepoNotFound", "Repository not found")
        return repo

    def files(self, name: str, revision: str) -> tuple[str, dict[str, bytes]]:
        repo = self.repo(name)
        sha = repo.find(revision)
        if sha is None:
            raise Refused(404, "RevisionNotFound")
        return sha, repo.commits[sha]


def _create(handler: _Handler, body: bytes) -> None:
    handler.require_token()
    values = json.loads(body)
    name = f"{values['organization']}/{values['name']}" if values.get("organization") else values["name"]
    if name in handler.hub.repos:
        handler._send(409, json.dumps({"url": f"{handler.hub.address}/{name}", "error": "it exists"}).encode())
        return
    repo = handler.hub.repos[name] = Repo(private=bool(values.get("private")) or values.get("visibility") == "private")
    repo.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"})
    handler.send_json({"url": f"{handler.hub.address}/{name}"})


def _branch(handler: _Handler, body: bytes, name: str, branch: str) -> None:
    handler.require_token()
    repo = handler.repo(name)
    if branch in repo.branches:
        raise Refused(409, message="Reference already exists")
    repo.branches[branch] = repo.branches["main"]
    handler.send_json({})


def _validate(handler: _Handler, body: bytes) -> None:
    license = re.search(r"^license: (.*)$", json.loads(body)["content"], re.MULTILINE)
    if license is None or license[1] not in handler.hub.licenses:
        text = json.dumps({"errors": [{"message": '"license" must be one of [apache-2.0, ...]'}], "warnings": []})
        handler._send(400, text.encode())
        return
    handler.send_json({"errors": [], "warnings": []})


def _preupload(handler: _Handler, body: bytes, name: str, revision: str) -> None:
    handler.require_token()
    handler.files(name, revision)
    files = [
        {"path": f["path"], "uploadMode": "lfs" if f["size"] >= LFS_FROM else "regular", "shouldIgnore": False}
        for f in json.loads(body)["files"]
    ]
    handler.send_json({"files": files})


def _batch(handler: _Handler, body: bytes, name: str) -> None:
    handler.require_token()
    objects = []
    for item in json.loads(body)["objects"]:
        known = item["oid"] in handler.hub.blobs
        upload = {"upload": {"href": f"{handler.hub.address}/lfs/{item['oid']}"}}
        objects.append({"oid": item["oid"], "size": item["size"], **({} if known else {"actions": upload})})
    handler.send_json({"transfer": "basic", "objects": objects})


def _store(handler: _Handler, body: bytes, oid: str) -> None:
    if hashlib.sha256(body).hexdigest() != oid:
        raise Refused(400, message="another digest")
    handler.hub.blobs[oid] = body
    handler.send_json({})


def _commit(handler: _Handler, body: bytes, name: str, branch: str) -> None:
    handler.require_token()
    repo = handler.repo(name)
    files = dict(handler.files(name, branch)[1])
    for line in map(json.loads, body.splitlines()):
        value = line["value"]
        if line["key"] == "header":
            repo.messages.append(value["summary"])
        elif line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            files[value["path"]] = handler.hub.blobs[value["oid"]]
        elif line["key"] == "deletedFile":
            del files[value["path"]]
    sha = repo.commit(branch, files)
    handler.send_json({"commitOid": sha, "commitUrl": f"{handler.hub.address}/{name}/commit/{sha}"})


def _info(handler: _Handler, body: bytes, name: str, revision: str | None) -> None:
    sha, files = handler.files(name, revision or "main")
    handler.send_json({"id": name, "sha": sha, "private": False, "siblings": [{"rfilename": path} for path in files]})


def _tree(handler: _Handler, body: bytes, name: str, revision: str) -> None:
    _, files = handler.files(name, revision)
    rows = []
    for path, content in files.items():
        row: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": _etag(content)}
        if len(content) >= LFS_FROM:
            row["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        rows.append(row)
    handler.send_json(rows)


def _resolve(handler: _Handler, body: bytes, name: str, revision: str, path: str) -> None:
    sha, files = handler.files(name, revision)
    if path not in files:
        raise Refused(404, "EntryNotFound")
    content = files[path]
    headers = {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
    start = int(re.match(r"bytes=(\d+)-", handler.headers.get("Range") or "bytes=0-")[1])  # type: ignore[index]
    headers["Content-Length"] = str(len(content) - start)
    if start:
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    handler._send(206 if start else 200, content[start:][: handler.hub.break_after], headers)
    handler.close_connection = True


def _etag(content: bytes) -> str:
    digest = hashlib.sha256 if len(content) >= LFS_FROM else hashlib.sha1
    return digest(content).hexdigest()


REPO, REVISION = "([^/]+/[^/]+)", "([^/]+)"
ROUTES: tuple[tuple[str, str, Callable[..., None]], ...] = (
    ("POST", "/api/repos/create", _create),
    ("POST", "/api/validate-yaml", _validate),
    ("POST", f"/api/models/{REPO}/branch/{REVISION}", _branch),
    ("POST", f"/api/models/{REPO}/preupload/{REVISION}", _preupload),
    ("POST", f"/api/models/{REPO}/commit/{REVISION}", _commit),
    ("GET", f"/api/models/{REPO}/tree/(.+)", _tree),
    ("GET", f"/api/models/{REPO}(?:/revision/(.+))?", _info),
    ("POST", f"/{REPO}\\.git/info/lfs/objects/batch", _batch),
    ("PUT", "/lfs/([0-9a-f]+)", _store),
    ("GET HEAD", f"/{REPO}/resolve/{REVISION}/(.+)", _resolve),
)


def use(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch, *, token: str | None = TOKEN) -> None:
    """Lets this process take `hub` for the hub: huggingface_hub reads its environment when it is imported."""
    from huggingface_hub import constants

    from morphmlp.checkpoints import hub as ours

    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    if token is None:
        monkeypatch.delenv("HF_TOKEN", raising=False)
    else:
        monkeypatch.setenv("HF_TOKEN", token)
    ours._fetched.cache_clear()


def forget() -> None:
    """As a new process: branches are asked for again."""
    from morphmlp.checkpoints import hub as ours

    ours._fetched.cache_clear()
