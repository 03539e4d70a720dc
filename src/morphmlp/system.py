"""What systems do differently, in one place: everything else of the package is the same on Linux, macOS and Windows.

Each function asks the system for the means and does without where there is none; none asks for its name, except where
the means is the same and only its meaning differs.
"""

import ctypes
import errno
import multiprocessing
import os
import platform
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

ON_WINDOWS = sys.platform == "win32"

# What asks a process to end, besides Ctrl-C: SIGTERM, and on Windows Ctrl-Break, the one that can be sent from outside.
TERMINATION_SIGNALS = tuple(int(getattr(signal, name)) for name in ("SIGTERM", "SIGBREAK") if hasattr(signal, name))
CHILD_DEATH = getattr(signal, "SIGCHLD", None)  # Windows sends none
CONTROL_GROUPS = Path("/sys/fs/cgroup")  # see cgroups(7)


def leave_process_group() -> None:
    """Signals that go to the group of the parent process reach this one no longer.

    Windows has no such groups: there Ctrl-C alone goes to all processes of a console.
    """
    if hasattr(os, "setsid"):
        os.setsid()


def fresh_processes(preload: str) -> "ForkServerContext | SpawnContext":
    """How to start processes that are no copy of this one, with a module imported: from a server where there is one."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])
    return context


def cause_of_death(exitcode: int | None) -> str:
    """What killed a process, by its exit code: a signal, or on Windows an exception's 32-bit number.

    >>> cause_of_death(-11), cause_of_death(3), cause_of_death(0xC0000005)
    ('SIGSEGV', 'exit code 3', 'exit code 0xc0000005')
    """
    if exitcode is not None and -exitcode in set(signal.Signals):
        return signal.Signals(-exitcode).name
    return f"exit code {exitcode:#x}" if exitcode is not None and exitcode > 255 else f"exit code {exitcode}"


def limit_memory(num_bytes: int) -> None:
    """Lets this process take so many bytes more than it has now; a request for more fails. Only Linux counts them."""
    try:
        import resource

        with open("/proc/self/statm") as numbers:
            pages = int(numbers.read().split()[5])  # of data and stack, see proc(5)
    except (ImportError, OSError):
        return
    limit = pages * resource.getpagesize() + num_bytes
    _, highest = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit if highest < 0 else min(limit, highest), highest))


def free_memory() -> int:
    """How many bytes programs can still take: those that are free or only hold copies of files.

    Within a container or a job that may have less, it is all that this one may have.
    """
    import psutil

    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # Linux alone has it
        lines = []
    return min([psutil.virtual_memory().available, *limits_of_groups(lines)])


def limits_of_groups(lines: Sequence[str], *, root: Path = CONTROL_GROUPS) -> list[int]:
    """The limits of memory, in bytes, of the control groups that these lines of `/proc/self/cgroup` name.

    `4:memory:/jobs/7` has those of `memory/jobs/7`, of `memory/jobs` and of `memory`. A container has its own group at
    the root, and may see the name that its host has for it, of which there is nothing below.
    """
    limits = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:  # version 2 of the groups, where one tree has all of them
            tree, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            tree, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        own = tree / group.strip("/")
        for folder in [own, *own.parents][: len(own.parts) - len(tree.parts) + 1]:
            with suppress(OSError, ValueError):  # no such group; "max", which is none
                limits.append(int((folder / name).read_text(encoding="utf-8")))
    return limits


def most_open_files() -> int:
    """How many files and connections this process may have open; a large number where the system has no such limit."""
    try:
        import resource
    except ImportError:
        return 1_000_000
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if 0 <= soft < 1_000_000 else 1_000_000


@cache
def c_function(name: str) -> Callable[..., int] | None:
    """A function of the C library of this process; None where the library has none of the name, or cannot be asked."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # another C library; one for each compiler, as on Windows
        return None


def noted_signal_stack() -> Callable[[], Any]:
    """Notes the stack on which this thread handles signals; what is returned sets it again.

    For libraries that set one of their own and free it: the next signal would end the process.
    """
    sigaltstack = c_function("sigaltstack")
    stack = ctypes.create_string_buffer(64)  # larger than `stack_t` of any system, whose fields do not matter here
    if sigaltstack is None or sigaltstack(None, stack) != 0:
        return lambda: None
    return partial(sigaltstack, stack, None)


def is_closed_pipe(error: OSError) -> bool:
    """Whether writing failed because the reader has gone; Windows says that the argument is not valid, of no file."""
    if isinstance(error, BrokenPipeError):
        return True
    return ON_WINDOWS and error.errno == errno.EINVAL and error.filename is None


def has_lost_reader(stream: IO[Any]) -> bool:
    """Whether a stream leads to a pipe that its reader has closed.

    Without `poll`, only what the stream still holds can tell: it cannot be written.
    """
    try:
        if not hasattr(select, "poll"):
            return _cannot_flush(stream)
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
    except (OSError, ValueError):  # no file of the system
        return False


def _cannot_flush(stream: IO[Any]) -> bool:
    try:
        stream.flush()
    except OSError as error:
        return is_closed_pipe(error)
    return False


def relative_path(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> str:
    """The way from a folder to a path; the whole path where there is none, as to another drive of Windows."""
    try:
        return os.path.relpath(path, folder)
    except ValueError:
        return os.path.abspath(path)


def command_line(arguments: Sequence[str]) -> str:
    """The arguments as a person types them into the shell of this system."""
    return subprocess.list2cmdline(arguments) if ON_WINDOWS else shlex.join(arguments)


def cache_folder(name: str) -> Path:
    """Where the package keeps what it can make again: a folder of that name in `~/.cache/morphmlp`.

    `MORPHMLP_CACHE` names another place for all of them; `XDG_CACHE_HOME` stands for `~/.cache`.
    """
    if folder := os.environ.get("MORPHMLP_CACHE"):
        return Path(folder, name)
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(caches, "morphmlp", name)


@cache
def processor_kind() -> str:
    """The maker of this processor and its widest instructions for matrix products, which say what is fast on it.

    As "intel amx", "amd avx512_bf16", "intel avx2"; where the system does not say, its architecture, as "arm64".
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine().lower()
    return kind_of_processor(lines) or platform.machine().lower()


_MAKERS = {"GenuineIntel": "intel", "AuthenticAMD": "amd"}
_INSTRUCTIONS = {"amx_bf16": "amx", "avx512_bf16": "avx512_bf16", "avx512f": "avx512", "avx2": "avx2"}  # widest first


def kind_of_processor(lines: Sequence[str]) -> str | None:
    """`processor_kind` of the lines of Linux's `/proc/cpuinfo`; None where they do not say.

    >>> kind_of_processor(["vendor_id : GenuineIntel", "flags : fpu avx2 avx512f"])
    'intel avx512'
    """
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))}
    flags = facts.get("flags", "").split()
    instructions = next((kind for flag, kind in _INSTRUCTIONS.items() if flag in flags), None)
    if instructions is None:
        return None
    return f"{_MAKERS.get(facts.get('vendor_id', ''), 'other')} {instructions}"
