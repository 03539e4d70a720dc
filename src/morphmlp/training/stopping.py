"""How a run ends before its last step: signals, a lost process, and what is said of it."""

import shlex
from pathlib import Path

from morphmlp.distributed import world_size
from morphmlp.errors import UserError


class LostProcessError(UserError):
    """A decoding process, or another process of the run, ended."""


class Interrupted(Exception):
    """Ctrl-C (SIGINT) or a preemption (SIGTERM) stopped the run; its state is saved."""

    def __init__(self, signal_number: int, out: Path):
        super().__init__(f"stopped, the state is saved; go on with: {resume_command(out)}")
        self.signal_number = signal_number


def resume_command(out: Path) -> str:
    again = f"morphmlp train --out {shlex.quote(str(out))} --resume"
    return again if world_size() == 1 else f"{again} (under torchrun, as before)"


class _Stop(Exception):
    """Unwinds the loop to the place where the state is saved, if it is not yet; processes tell it one another."""

    def __init__(self, unsaved: bool):
        super().__init__(unsaved)
        self.unsaved = unsaved
