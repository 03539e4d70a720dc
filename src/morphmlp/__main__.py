"""`morphmlp`, and `python -m morphmlp`: the command line, quiet about Ctrl-C from its first line to its last."""

import sys

from morphmlp.interrupt import end_quietly_on_interrupt


def main() -> int:
    """Runs a verb; returns the exit status."""
    end_quietly_on_interrupt()
    from morphmlp import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
