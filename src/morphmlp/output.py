"""Standard output and standard error: nothing in a name steers the terminal, and a reader may go."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from morphmlp.formatting import one_line
from morphmlp.system import has_lost_reader, is_closed_pipe


def tell(line: object) -> None:
    """Prints a line to standard error, for people; nothing happens where that is closed."""
    try:
        print(one_line(line), file=sys.stderr, flush=True)
    except OSError as error:
        if not is_closed_pipe(error):
            raise
        discard(sys.stderr)


@contextmanager
def until_closed() -> Iterator[None]:
    """What is printed here goes nowhere once its reader, such as `head`, has gone: the verb goes on to its own end.

    Raises:
        BrokenPipeError: of a pipe that is no output.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        if not discard_closed_output():
            raise


def discard_closed_output() -> bool:
    """Lets go of output that its reader, such as `head`, has closed; False where it is open.

    What is left in the buffers would fail again when the process ends.
    """
    closed = [stream for stream in (sys.stdout, sys.stderr) if has_lost_reader(stream)]
    for stream in closed:
        discard(stream)
    return bool(closed)


def discard(stream: IO[str]) -> None:
    """Lets what is printed from now on, and what the stream still holds, go nowhere."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
