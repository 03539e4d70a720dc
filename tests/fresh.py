"""Python processes that begin with our modules imported, as they are forked from one that has imported them.

`start` and `run` take the commands of `subprocess`: `python [-W error] (-m MODULE | -c SCRIPT | FILE) ARGUMENT...`.
All else is as in a process of its own: descriptors, environment, folder, signals, exit status. Only how modules are
imported, and what libraries read from the environment meanwhile, such a process cannot show. To import it all takes 2
to 4 s.
"""

import atexit
import json
import os
import random
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import types
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

PRELOADED = (
    "pytest",  # of `tiny`
    "morphmlp.commands.parsing",
    "morphmlp.data.media.video",
    "morphmlp.demo.synthetic",
    "morphmlp.inference.optimize",
    "morphmlp.tasks.classification.evaluation",
    "morphmlp.tasks.classification.training",
    "morphmlp.tasks.registry",
    "morphmlp.training.run",
    "rich.table",
)
MOST_BYTES = 2**17  # of a request


class Process:
    """A process that runs; what it writes goes to files, so that nobody has to read meanwhile."""

    def __init__(self, pid: int, report: socket.socket, out: IO[bytes], err: IO[bytes]):
        self.pid, self.returncode = pid, None
        self._report, self._out, self._err = report, out, err
        self.returncode: int | None

    def poll(self) -> int | None:
        with suppress(TimeoutError, BlockingIOError):
            self.wait(timeout=0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._report.settimeout(timeout)
            self.returncode = int(self._report.recv(100))
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self) -> tuple[str, str]:
        """Waits for the end; what was written."""
        self.wait()
        with self._report, self._out, self._err:
            return _content(self._out), _content(self._err)


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="surrogateescape")


def run(command: Sequence[object], **options: Any) -> "subprocess.CompletedProcess[str]":
    """As `subprocess.run` with `capture_output` and `text`."""
    process = start(command, **options)
    out, err = process.communicate()
    return subprocess.CompletedProcess(list(command), process.wait(), out, err)


def start(
    command: Sequence[object],
    *,
    env: dict[str, str],
    stdout: IO[Any] | int | None = None,
    start_new_session: bool = False,
    most_file_bytes: int | None = None,
) -> Process:
    """As `subprocess.Popen`; a `stdout` that is given is written to, and not read.

    Args:
        most_file_bytes: that the process may write into a file: it stands for a disk that is full.
    """
    python, *arguments = map(str, command)
    assert python == sys.executable
    request = {"arguments": arguments, "env": env, "cwd": os.getcwd()}
    request |= {"new_session": start_new_session, "most_file_bytes": most_file_bytes}
    out, err = TemporaryFile(), TemporaryFile()  # noqa: SIM115  # the process closes them
    report, theirs = socket.socketpair()
    target = out.fileno() if stdout is None else stdout if isinstance(stdout, int) else stdout.fileno()
    with open(os.devnull) as nothing, theirs:
        fds = [nothing.fileno(), target, err.fileno(), theirs.fileno()]
        socket.send_fds(_server(), [os.fsencode(json.dumps(request))], fds)
        pid = int(report.recv(100))
    return Process(pid, report, out, err)


def run_together(
    count: int, command: Sequence[object], *, env: dict[str, str]
) -> "list[subprocess.CompletedProcess[str]]":
    """So many processes that meet at a store, as under torchrun.

    Nobody watches over them: torchrun ends the others as soon as it sees that one has died, at times before they have
    said why they end.
    """
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    place |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    processes = [start(command, env=env | place | {"RANK": str(i), "LOCAL_RANK": str(i)}) for i in range(count)]
    ends = [process.communicate() for process in processes]
    return [
        subprocess.CompletedProcess(list(command), process.wait(), *end)
        for process, end in zip(processes, ends, strict=True)
    ]


@cache
def _server() -> socket.socket:
    """The connection to the process that forks, which ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # nothing that a fork would lose
    process = subprocess.Popen(
        [sys.executable, __file__, str(theirs.fileno())],
        env=os.environ | single | {"CUDA_VISIBLE_DEVICES": ""},
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


# In the process that forks


def serve(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Forks for each request and reports how the processes end; in a new process, returns what it is to be."""
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not channel:
                    _tell_end(selector, key)
                    continue
                message, fds, *_ = socket.recv_fds(channel, MOST_BYTES, 4)
                if not message:  # the tests have ended
                    _kill([key.data[0] for key in selector.get_map().values() if key.data])
                    return None
                if (pid := os.fork()) == 0:
                    for other in [*selector.get_map().values()]:
                        os.close(other.fd)
                    return json.loads(message), fds
                report = socket.socket(fileno=fds.pop())
                for descriptor in fds:
                    os.close(descriptor)
                report.send(str(pid).encode())
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, report))


def _kill(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def _tell_end(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    pid, report = key.data
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    selector.unregister(key.fileobj)
    os.close(key.fd)
    with report, suppress(OSError):  # nobody waits for it
        report.send(str(code).encode())


def become(request: dict[str, Any], fds: list[int]) -> None:
    """Lets this process be what a command starts."""
    for number, descriptor in enumerate(fds[:3]):
        os.dup2(descriptor, number)
    for descriptor in fds:
        os.close(descriptor)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115  # the old ones know the old files
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    if request["new_session"]:
        os.setsid()
    if most := request["most_file_bytes"]:
        import resource  # not on Windows, where tests of this module's users are left out

        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    random.seed()
    arguments = request["arguments"]
    if arguments[:2] == ["-W", "error"]:
        warnings.simplefilter("error")
        sys.warnoptions.append("error")
        arguments = arguments[2:]
    known = set(sys.path)
    sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path not in known]
    _run(*arguments)


def _run(what: str, *arguments: str) -> None:
    if what == "-m":
        sys.argv = [*arguments]
        sys.modules.pop(arguments[0], None)
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    elif what == "-c":
        sys.argv = ["-c", *arguments[1:]]
        module = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(arguments[0], "<string>", "exec"), module.__dict__)
    else:
        sys.argv = [what, *arguments]
        runpy.run_path(what, run_name="__main__")


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end of the tests ends it
    sys.path.remove(str(Path(__file__).parent))
    for name in PRELOADED:
        __import__(name)
    if forked := serve(socket.socket(fileno=int(sys.argv[1]))):
        become(*forked)


if __name__ == "__main__":
    main()
