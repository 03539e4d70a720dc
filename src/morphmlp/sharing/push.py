"""A checkpoint, or an exported folder, becomes a commit of a repository on the Hugging Face Hub."""

import json
import os
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from morphmlp.checkpoints.folder import load_config, load_with_info
from morphmlp.checkpoints.hub import CONFIG_FILE, MODEL_FILES, Repository, hub_errors, is_hub_name, local_checkpoint
from morphmlp.data.media.remote_store import shown_address
from morphmlp.errors import CheckpointError
from morphmlp.files import read_text, require_file
from morphmlp.formatting import as_json, one_line
from morphmlp.sharing.card import model_card

CARD_FILE = "README.md"


@dataclass(frozen=True)
class Pushed:
    """What is on the hub after a push.

    Attributes:
        name: what `load` takes, with the commit.
        url: the page of the repository.
        files: of the checkpoint and its card.
    """

    name: str
    url: str
    files: list[str]


def push(
    checkpoint: str | Path,
    repository: Repository,
    *,
    license: str,
    private: bool = False,
    message: str | None = None,
    keep_card: bool = False,
) -> Pushed:
    """Writes a checkpoint and its card into a repository, in one commit; the repository is made if there is none.

    Of paths in the training summary, the last part is pushed. Files of a model that the repository had before, in
    another format, are deleted by the same commit.

    Args:
        repository: with a revision, the branch to write to; it is made if there is none.
        license: of the weights, by the hub's identifier, such as "apache-2.0"; the hub refuses those it does not know.
        private: of a new repository; an earlier one stays as it is.
        message: of the commit.
        keep_card: leaves the repository's `README.md` as it is.

    Raises:
        CheckpointError: the folder is no checkpoint, or is damaged; or the hub refuses it or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard

    folder = local_checkpoint(checkpoint)
    files = _require_whole(folder)
    values = shared_values(json.loads(read_text(folder / CONFIG_FILE)))
    content: dict[str, bytes | str] = {name: os.fspath(folder / name) for name in files}
    content[CONFIG_FILE] = (as_json(values, indent=2) + "\n").encode()
    card = ModelCard(model_card(values, *load_config(folder), repository=repository, license=license))
    api = HfApi(library_name="morphmlp")
    with hub_errors(repository):
        if not keep_card:
            content[CARD_FILE] = str(card).encode()
            _require_valid(card, repository)
        api.create_repo(repository.name, private=private, exist_ok=True)
        if repository.revision:
            api.create_branch(repository.name, branch=repository.revision, exist_ok=True)
        present = set(api.list_repo_files(repository.name, revision=repository.revision))
        stale = present & {name for names in MODEL_FILES.values() for name in names} - content.keys()
        commit = api.create_commit(
            repository.name,
            [
                *(CommitOperationAdd(name, source) for name, source in content.items()),
                *(CommitOperationDelete(name) for name in sorted(stale)),
            ],
            commit_message=message or "Push a checkpoint of morphmlp",
            revision=repository.revision,
        )
    return Pushed(str(repository._replace(revision=commit.oid)), f"{api.endpoint}/{repository.name}", sorted(content))


def _require_whole(folder: Path) -> tuple[str, ...]:
    """The files of the model in a checkpoint or an exported folder.

    Raises:
        CheckpointError: one is missing or damaged.
    """
    load_config(folder)
    values = json.loads(read_text(folder / CONFIG_FILE))
    if "export" not in values:
        load_with_info(folder)
        return MODEL_FILES[None]
    files = MODEL_FILES.get(values["export"].get("format"), ())
    try:
        for name in files:
            require_file(folder / name)
    except OSError as error:
        raise CheckpointError(f"{error.filename} cannot be read ({error.strerror}): export it again") from None
    if not files:
        raise CheckpointError(f"{folder} is exported in a format that this version does not know")
    return files


def _require_valid(card: Any, repository: Repository) -> None:
    """Raises CheckpointError where the hub does not take the card's header, before anything is made there."""
    try:
        card.validate()
    except ValueError as error:
        if not isinstance(error, OSError):
            raise CheckpointError(f"{repository}: {_header_errors(error, card.data.license)}") from None
        raise


def _header_errors(error: ValueError, license: str) -> str:
    """What the hub says of the header: its answer is JSON with a list of errors."""
    try:
        reasons = "; ".join(each["message"] for each in json.loads(str(error))["errors"])
    except (ValueError, LookupError, TypeError):
        reasons = "its header"
    return f"the hub does not take the card ({one_line(reasons)[:200]}); --license is {license!r}"


def shared_values(values: dict[str, Any]) -> dict[str, Any]:
    """What `config.json` holds, with the names of files and folders where the training summary has their paths.

    >>> shared_values({"training": {"data": "/home/me/clips", "lists": {"train": "/home/me/all.csv"}, "videos": 20}})
    {'training': {'data': 'clips', 'lists': {'train': 'all.csv'}, 'videos': 20}}
    """
    return values | {"training": _without_folders(values["training"])}


def _without_folders(value: Any) -> Any:
    """The name of a file whose path is absolute, however deep in a value; a name on the hub, and all else, as it is."""
    if isinstance(value, dict):
        return {name: _without_folders(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_folders(each) for each in value]
    if not isinstance(value, str) or is_hub_name(value):
        return value
    if "://" in value:
        value = shown_address(value)
    elif not os.path.isabs(value) and not PureWindowsPath(value).is_absolute():
        return value
    return value.replace("\\", "/").rstrip("/").rpartition("/")[2]
