"""Predictions of the batches of a shelf by a Ray cluster: actors hold the model, and a lost one's work is done again.

Ray's own calls wait for ever for a cluster that is gone, or end the process. So they run in a thread, and this process
asks now and then whether the head still answers.
"""

import json
import logging
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from functools import cached_property
from importlib.metadata import version
from io import TextIOBase
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from morphmlp.errors import ConfigError, DataError, UserError
from morphmlp.formatting import first_line
from morphmlp.output import tell
from morphmlp.tasks.classification.bulk.shelf import Shelf
from morphmlp.tasks.journal import Entry, dumped, loaded

if TYPE_CHECKING:
    from morphmlp.tasks.classification.predictor import Predictor

Item = TypeVar("Item")

KEPT = "what is known is kept: the same command goes on"
MOST_ALIKE, MOST_SHOWN = 40, 200  # characters of what Ray says

CONNECT_S = 5.0  # for the head to answer
JOIN_S = 90.0  # to join a cluster, or to start one
HEAD_GONE_S = 20.0  # Ray itself ends this process, without a word, after 60
WORKERS_GONE_S = 120.0  # without a machine that could hold the model
LEAVE_S = 20.0
STALLED_S = (
    1800.0  # without a row; Ray does the work of a lost actor again, and of one that each time dies of it for ever
)
MOST_BLOCKS = 4096  # of work in Ray's hands; each has several batches where there are more


class RayCluster:
    """A Ray cluster that predicts.

    Args:
        address: host:port of its head; "auto" is the one of this machine, or else a new one on its cores.
        num_cpus, num_gpus: of each copy of the model.

    Raises:
        ConfigError: the address is none, or Ray is not installed.
    """

    def __init__(self, address: str, *, num_cpus: float = 1.0, num_gpus: float = 0.0):
        if address != "auto" and not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^\s:/]+):\d{1,5}", address):
            raise ConfigError(f"--ray {address}: give host:port of its head, such as 10.0.0.5:6379, or the files first")
        # Before Ray is imported, which would report its use to its makers otherwise.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # else a thread that is left to itself starts a cluster of its own
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        try:
            import ray
            import ray.data
        except ImportError:
            raise ConfigError("--ray needs Ray: pip install 'morphmlp[ray]'") from None
        for logger in (
            "ray",
            "ray.data",
            "ray._private.worker",
            "ray._private.services",
        ):  # what matters is raised, too
            logging.getLogger(logger).setLevel(logging.CRITICAL)
        self.ray: Any = ray
        self.address, self.num_cpus, self.num_gpus = address, num_cpus, num_gpus
        self.head: tuple[str, int] | None = None

    def predict_batches(
        self, shelf: Shelf, batches: Sequence[Sequence[int]], *, checkpoint: Path, how: dict[str, Any], top: int
    ) -> Iterator[list[Entry]]:
        """The rows of each batch, as they are known, in any order.

        Args:
            checkpoint: a folder that all machines can read, as they can the files.
            how: what a `Predictor` is made with.

        Raises:
            DataError: the cluster is gone, or has given up.
            UserError: of a prediction.
        """
        if not batches:
            return
        works = [json.dumps([shelf.names[number] for number in batch]) for batch in batches]
        maker = {"checkpoint": str(checkpoint.absolute()), "how": how, "top": top, "folder": os.getcwd()}
        maker["version"] = version("morphmlp")
        with redirect_stdout(Complaints()):
            try:
                watch = self._watch()
                for line in in_background(lambda: self._lines(works, maker), check=watch.check):
                    watch.row_came()
                    yield loaded(line)
            finally:
                within(self.ray.shutdown, seconds=LEAVE_S)

    def _lines(self, works: list[str], maker: dict[str, Any]) -> Iterator[str]:
        """A line of rows for each work, from Ray."""
        self._join()
        data, copies = self.ray.data, self._copies()
        if not copies:
            raise ConfigError(
                f"no machine of the Ray cluster has {self.num_cpus:g} CPUs and {self.num_gpus:g} GPUs for the model; "
                "give smaller --ray_cpus or --ray_gpus"
            )
        data.DataContext.get_current().enable_progress_bars = False
        shelf = data.from_items([{"work": work} for work in works], override_num_blocks=min(len(works), MOST_BLOCKS))
        predicted = shelf.map_batches(
            Model,
            fn_constructor_kwargs=maker,
            batch_size=1,
            compute=data.ActorPoolStrategy(min_size=1, max_size=copies),
            num_cpus=self.num_cpus,
            num_gpus=self.num_gpus,
        )
        for block in predicted.iter_batches(batch_size=None, prefetch_batches=0, batch_format="numpy"):
            yield from block["rows"].tolist()

    def _join(self) -> None:
        """Connects this process to the cluster.

        Raises:
            DataError: its head does not answer.
        """
        limits = {name: value for name, value in os.environ.items() if name.startswith("MORPHMLP_")}
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
        if self.address != "auto":
            self.head = _host_and_port(self.address)
            if not _answers(self.head):
                raise DataError(f"no Ray head answers at {self.address}; start one with: ray start --head")
            options["address"] = self.address
        with _quiet():
            self.ray.init(**options, runtime_env={"env_vars": limits} if limits else None)
        self.head = _host_and_port(self.ray.get_runtime_context().gcs_address)

    def _copies(self) -> int:
        """Copies of the model for which the machines of the cluster have room."""
        needs = {name: number for name, number in (("CPU", self.num_cpus), ("GPU", self.num_gpus)) if number}
        return sum(
            int(min(node["Resources"].get(name, 0) // number for name, number in needs.items()))
            for node in self.ray.nodes()
            if node["Alive"]
        )

    def _watch(self) -> "Watch":
        return Watch(self.address, lambda: self.head if self.ray.is_initialized() else None, self._copies)


class Watch:
    """What is asked while nothing comes from a cluster: whether it may still come.

    Args:
        address: as the cluster was named.
        head: where its head is; None until it is joined.
        copies: of the model for which it has room.
    """

    def __init__(self, address: str, head: Callable[[], tuple[str, int] | None], copies: Callable[[], int]):
        self.address, self.head, self.copies = address, head, copies
        self.began_s = self.last_head_s = self.last_room_s = self.last_row_s = monotonic()

    def row_came(self) -> None:
        self.last_row_s = monotonic()

    def check(self) -> None:
        """Raises DataError once the cluster is gone for too long."""
        now_s, head = monotonic(), self.head()
        if head is None:
            if now_s - self.began_s > JOIN_S:
                raise DataError(f"the Ray cluster ({self.address}) cannot be joined within {JOIN_S:g} s")
            self.last_head_s = self.last_room_s = now_s
            return
        name = f"{head[0]}:{head[1]}"
        if _answers(head):
            self.last_head_s = now_s
            if self.copies():
                self.last_room_s = now_s
        if now_s - self.last_head_s > HEAD_GONE_S:
            raise DataError(f"the Ray head at {name} is gone; {KEPT}")
        if now_s - self.last_room_s > WORKERS_GONE_S:
            raise DataError(f"the Ray cluster at {name} has no machine left for the model; {KEPT}")
        if now_s - self.last_row_s > STALLED_S:
            raise DataError(
                f"no row has come from the Ray cluster at {name} for {STALLED_S / 60:g} minutes; perhaps a file ends "
                f"the workers each time; {KEPT}"
            )


class Complaints(TextIOBase):
    """Takes the place of standard output, to which Ray prints what its machines complain of: one line of each sort."""

    def __init__(self) -> None:
        self.told: set[str] = set()

    def write(self, text: str) -> int:
        line = re.sub("\x1b\\[[0-9;]*m", "", text).strip().partition("\n")[0]
        if line and line[:MOST_ALIKE] not in self.told:
            self.told.add(line[:MOST_ALIKE])
            tell(f"Ray says: {line[:MOST_SHOWN]}")
        return len(text)


class Model:
    """What an actor holds; it is called with the names of a batch, and answers with a line of rows.

    Args:
        folder: from which relative names lead.
        version: of the package, where the rows are written.
    """

    def __init__(self, checkpoint: str, how: dict[str, Any], top: int, folder: str, version: str):
        self.checkpoint, self.how, self.top = checkpoint, how, top
        self.folder, self.version = folder, version

    def __call__(self, block: dict[str, Any]) -> dict[str, list[str]]:
        from morphmlp.tasks.classification.bulk.computing import predict_batches

        lines = []
        for work in block["work"].tolist():
            shelf = Shelf(json.loads(work))
            (entries,) = predict_batches(self.predictor, shelf, [range(len(shelf))], top=self.top, workers=0)
            lines.append(dumped(entries).decode("ascii"))
        return {"rows": lines}

    @cached_property
    def predictor(self) -> "Predictor":
        """Made when it is first asked for: of what fails in its constructor, an actor hands no error on."""
        from morphmlp.tasks.classification.predictor import Predictor

        if version("morphmlp") != self.version:
            raise ConfigError(
                f"{socket.gethostname()} has morphmlp {version('morphmlp')}, and the process that writes the rows "
                f"{self.version}; install one version on all machines of the cluster"
            )
        with suppress(OSError):  # it is not on this machine: absolute names can be read nevertheless
            os.chdir(self.folder)
        return Predictor(self.checkpoint, **self.how)


def in_background(
    items: Callable[[], Iterator[Item]], *, check: Callable[[], None], every_s: float = 2.0
) -> Iterator[Item]:
    """The items, made in a thread that nobody waits for; `check` is called where none has come for some time.

    Raises:
        DataError: making them failed.
        UserError: the cause of it.
    """
    answers: Queue[tuple[list[Item], BaseException | None]] = Queue(maxsize=1000)

    def make() -> None:
        try:
            for item in items():
                answers.put(([item], None))
            answers.put(([], None))
        except BaseException as error:
            answers.put(([], error))

    Thread(target=make, daemon=True).start()
    while True:
        try:
            found, error = answers.get(timeout=every_s)
        except Empty:
            check()
            continue
        if error is not None:
            raise _as_user_error(error) from error
        if not found:
            return
        yield from found


def _as_user_error(error: BaseException) -> UserError:
    """The user's mistake among the causes of an error of Ray, or else its first line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    text = first_line(error, 200) if isinstance(error, Exception) else repr(error)
    return DataError(
        f"Ray has given up: {type(error).__name__}: {text}; what is known is kept: the same command goes on"
    )


def within(call: Callable[[], Any], *, seconds: float) -> None:
    """Calls something that may hang; after so many seconds it is left to itself."""
    thread = Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)


def _answers(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=CONNECT_S).close()
    except OSError:
        return False
    return True


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


@contextmanager
def _quiet() -> Iterator[None]:
    """What Ray's C++ part says of itself when it begins does not belong on a user's terminal."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
