"""What every worker process does first."""

import os
import signal


def leave_signals_to_main_process() -> None:
    """Let Ctrl-C and SIGTERM, which go to a group of processes, reach the main process alone; it ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.setsid()  # a group of its own
