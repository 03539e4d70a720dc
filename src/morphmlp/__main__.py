"""`morphmlp`, and `python -m morphmlp`: the command line, quiet about Ctrl-C from its first line to its last."""

import os
import signal
import sys

_INTERRUPTED = 130  # as `commands/parsing.py` has it, which would be imported too late


def main() -> int:
    """Runs a verb; returns the exit status."""
    end_quietly_on_interrupt()
    from morphmlp import cli

    return cli.main()


def end_quietly_on_interrupt() -> None:
    """Ctrl-C ends this process in one word while modules are imported; `cli.main` has its own way while a verb runs.

    The process ends at once: an exception would be caught, or wrapped, by some of the modules. A signal that is
    ignored, as Ctrl-C is in the background of a shell, stays so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _end(*_: object) -> None:
    os.write(2, b"interrupted\n")
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
