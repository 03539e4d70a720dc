"""Runs the verbs as a user types them: `python other_system.py FOLDER [--without-unix]`.

With `--without-unix`, this process and those that it starts have none of what only Unix has: our code cannot import
`fcntl` and the like, functions are missing, processes are spawned, output is in the encoding of a Windows console. It
shows that the package needs none of it; whether macOS and Windows hold other surprises, only they can tell.
"""

import builtins
import ctypes
import multiprocessing
import os
import select
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

UNIX_MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix", "syslog"}
UNIX_FUNCTIONS = {
    os: ["setsid", "fork", "killpg", "getpgid", "sched_getaffinity", "mkfifo", "nice"],
    select: ["poll", "epoll"],
    signal: ["SIGALRM", "SIGHUP", "SIGUSR1", "alarm", "setitimer", "pthread_kill"],
}
ARCH = {"depths": "[1,1,1,1]", "widths": "[8,16,16,16]", "chunk_lengths": "[2,2,2,1]", "frames": "4"}
TINY = [text for name, value in ARCH.items() for text in (f"--arch.{name}", value)]
TINY += ["--input.crop", "[32,32]", "--input.resize", "32", "--batch_size", "4", "--epochs", "1", "--workers", "1"]


def take_unix_away() -> None:
    import_module, open_descriptor = builtins.__import__, os.open

    def without_unix(name: str, globals: Any = None, *rest: Any, **options: Any) -> Any:
        ours = str((globals or {}).get("__name__")).startswith("morphmlp")
        if ours and name.split(".")[0] in UNIX_MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}")
        return import_module(name, globals, *rest, **options)

    def of_files_only(path: Any, *rest: Any, **options: Any) -> int:
        ours = sys._getframe(1).f_globals["__name__"].startswith("morphmlp")
        if ours and os.path.isdir(path):
            raise PermissionError(13, "Permission denied", str(path))  # Windows opens no folder
        return open_descriptor(path, *rest, **options)

    def load_library(name: Any, *rest: Any, **options: Any) -> Any:
        if name is None:
            raise TypeError("bad argument type for built-in operation")
        return library(name, *rest, **options)

    library, usage = ctypes.CDLL, shutil.disk_usage
    builtins.__import__, os.open, ctypes.CDLL = without_unix, of_files_only, load_library  # type: ignore[assignment]
    shutil.disk_usage = lambda path: usage("/nowhere" if str(path).startswith("/dev/") else path)  # type: ignore[assignment]
    for module, names in UNIX_FUNCTIONS.items():
        for name in names:
            delattr(module, name)
    child_death = signal.SIGCHLD
    del signal.SIGCHLD
    from morphmlp import system  # which looks for it once

    signal.SIGCHLD = child_death  # type: ignore[misc]  # torch has other means on Windows, but not here
    system.ON_WINDOWS = True
    multiprocessing.get_all_start_methods = lambda: ["spawn"]  # type: ignore[method-assign]
    multiprocessing.set_start_method("spawn", force=True)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="cp1252")  # type: ignore[union-attr]


def verbs(data: Path, out: Path) -> list[list[str]]:
    """Every verb that works on files, one after the other: the later ones use what the earlier ones wrote.

    A decoding process takes seconds to start where it is no copy of this one: a check and a training start one each.
    """
    best, video = out / "run" / "best", next((data / "val").rglob("*.mp4"))
    commands = [
        ["check-data", data, "--workers", 1],
        ["train", data, "--out", out / "run", *TINY],
        ["train", data, "--out", out / "run", *TINY, "--overwrite", "--workers", 0],
        ["train", "--out", out / "run", "--resume"],
        ["evaluate", best, data, "--workers", 0, "--out", out / "report"],
        ["predict", best, video, "--workers", 0, "--csv", out / "predictions.csv"],
        ["features", best, video, "--workers", 0, "--out", out / "features"],
        ["convert", best, out / "longer", "--frames", 8],
        ["visualize", best, video, "--out", out / "inside"],
        ["segment", best, video, "--out", out / "masks"],  # a mistake, which is one line
        ["models"],
        ["table", 8],
    ]
    return [[str(part) for part in command] for command in commands]


def main() -> int:
    from morphmlp import cli
    from morphmlp.demo.synthetic import write_dataset

    folder, failed = Path(sys.argv[1]), []
    data = write_dataset(folder / "data", train_per_class=1, val_per_class=1)
    for command in verbs(data, folder):
        print(f"$ morphmlp {' '.join(command)}", flush=True)
        try:
            status = cli.main(command)
        except SystemExit as end:
            status = int(end.code or 0)
        if status != (1 if command[0] == "segment" else 0):
            failed.append(command[0])
    print(f"failed: {', '.join(failed)}" if failed else "all verbs ran", flush=True)
    return len(failed)


if "--without-unix" in sys.argv:  # in the processes that are spawned too, which import this file
    take_unix_away()
if __name__ == "__main__":
    sys.exit(main())
