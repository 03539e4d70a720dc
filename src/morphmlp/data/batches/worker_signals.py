"""What every worker process does first."""

import signal

from morphmlp.system import leave_process_group


def leave_signals_to_main_process() -> None:
    """Let Ctrl-C and SIGTERM, which go to a group of processes, reach the main process alone; it ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    leave_process_group()
