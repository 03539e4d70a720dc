"""Ctrl-C before the command line answers for it: this module imports next to nothing, so that it is ready at once."""

import os
import signal

_INTERRUPTED = 130  # as `commands/parsing.py` has it


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
