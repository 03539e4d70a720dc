"""A process of `predict --out` that may be killed: `python shelf_process.py KILLED ARGUMENT...`.

KILLED is the number of the process that dies, in the place of writing down its second batch; once the first process has
written one. Batches are of four files.
"""

import os
import signal
import sys
import time
from pathlib import Path

from morphmlp import cli
from morphmlp.distributed import rank
from morphmlp.tasks.classification.bulk import computing
from morphmlp.tasks.journal import Entry, JournalWriter


def main() -> int:
    killed, *arguments = sys.argv[1:]
    first, add, written = Path(f"{arguments[-1]}.parts") / "rows-0.jsonl", JournalWriter.add, []

    def add_or_die(self: JournalWriter, entries: list[Entry]) -> None:
        if rank() == int(killed) and written:
            while not first.exists() or not first.stat().st_size:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        add(self, entries)
        written.append(entries)

    computing.videos_per_batch = lambda _: 4  # type: ignore[assignment]
    JournalWriter.add = add_or_die  # type: ignore[method-assign]
    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
