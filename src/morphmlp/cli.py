"""The command line: finds the verb, runs it, and turns what went wrong into one line and an exit status.

A verb's module is imported when it is asked for, and imports torch after its options: `--help` answers at once.
"""

if __name__ == "__main__":  # as torchrun starts it
    from morphmlp.interrupt import end_quietly_on_interrupt

    end_quietly_on_interrupt()

import difflib
import importlib
import io
import itertools
import re
import sys
from collections.abc import Sequence
from importlib.metadata import version

from morphmlp import signals
from morphmlp.commands.parsing import INTERRUPTED, TERMINATED, USAGE_ERROR, USER_ERROR
from morphmlp.data.media.formats import refuse_address
from morphmlp.data.media.remote import REMOTE_SCHEMES
from morphmlp.distributed import rank
from morphmlp.errors import UserError
from morphmlp.output import discard, discard_closed_output, tell
from morphmlp.system import is_closed_pipe

VERBS = {
    "demo": "watch a model learn on videos that the package renders itself",
    "check-data": "look at every file of a data set before training: what is broken, odd or copied",
    "train": "train a model on a folder of your own videos, images or masks",
    "evaluate": "test a checkpoint on labelled data, with the published protocol",
    "calibrate": "teach a checkpoint when not to answer: a temperature and a threshold from held-out data",
    "predict": "say what videos or images show",
    "watch": "say what happens when: in recordings, streams and cameras, as it comes",
    "serve": "answer over HTTP, with a page for people: drop a video, or use the camera",
    "features": "write what a model sees in videos or images as vectors, and which are alike",
    "segment": "say what each pixel of an image shows: masks and overlays",
    "convert": "turn a released file, an image model or another frame count into a checkpoint",
    "export": "write a model for ONNX Runtime, OpenVINO or torch.export, checked against its checkpoint",
    "push": "give a checkpoint to others: the Hugging Face Hub, with a card written from it",
    "visualize": "look inside a model: feature maps, weights, branch weights, Grad-CAM",
    "bench": "time a model on this machine: plain, optimized, and beside other models",
    "ablate": "train the rows of one of the paper's tables 6 to 10 side by side",
    "models": "list the models with parameters and multiply-adds",
    "table": "print a table of the paper beside what is counted here",
}

# Dependencies that an install by `docs/requirements-runtime.txt`, of this version or an earlier one, may lack.
LEFT_OUT = ("accelerate", "filelock", "matplotlib", "safetensors", "timm", "torch", "torchvision")
READ_ADDRESSES = {"watch"}  # streams, too
NO_ADDRESSES = {"--out", "--csv", "--list", "--config", "--recipe"}  # options whose values are files and folders here
READ_FILES_AT_ADDRESSES = {"calibrate", "check-data", "evaluate", "features", "predict", "train"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a verb; returns the exit status.

    0, 1 for a user's mistake, 2 for usage, 130 after Ctrl-C, 143 after SIGTERM.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # names may hold what the terminal's encoding lacks
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with signals.ended_children(), signals.raised():
            return _flushed(arguments)
    except KeyboardInterrupt:
        tell("interrupted")
        return INTERRUPTED
    except signals.Terminated:
        tell("terminated")
        return TERMINATED


def _flushed(arguments: list[str]) -> int:
    """The exit status of a verb, after all that it printed has left this process, or its reader has gone."""
    status = 0
    try:
        try:
            status = _run(arguments)
        finally:
            sys.stdout.flush()
    except OSError as error:
        if is_closed_pipe(error) and discard_closed_output():
            return status
        if isinstance(error, BrokenPipeError):
            tell("error: a helping process has ended (broken pipe)")
            return USER_ERROR
        tell(f"error: the output cannot be written: {error.strerror or error}")  # such as a full disk
        discard(sys.stdout)
        return USER_ERROR
    return status


def _run(arguments: list[str]) -> int:
    """The exit status of a verb, whose errors are told."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0 if arguments else USAGE_ERROR
    if arguments[0] == "--version":
        print(version("morphmlp"))
        return 0
    if arguments[0] not in VERBS:
        return _unknown_verb(arguments[0])
    try:
        if arguments[0] not in READ_ADDRESSES:
            _refuse_addresses(arguments[1:], files_are_read=arguments[0] in READ_FILES_AT_ADDRESSES)
        verb = importlib.import_module(f"morphmlp.commands.{arguments[0].replace('-', '_')}")
        return verb.run(_with_underscores(arguments[1:]))
    except UserError as error:
        process = f" (process {rank()})" if rank() else ""
        tell(f"error{process}: {error}")
    except ModuleNotFoundError as error:
        if error.name not in LEFT_OUT:
            raise
        tell(
            f"error: {arguments[0]} needs {error.name} for this, which is not installed: pip install {error.name}; "
            "without torch, predict takes what `morphmlp export` wrote"
        )
    except OSError as error:
        if is_closed_pipe(error):
            raise
        name = f"{error.filename}: " if error.filename else ""
        tell(f"error: {name}{error.strerror or error}")
    except (RuntimeError, MemoryError) as error:
        reason = _machine_failure(error)
        if reason is None:
            raise
        tell(f"error: {reason}")
    return USER_ERROR


def _unknown_verb(verb: str) -> int:
    near = difflib.get_close_matches(verb.lower().replace("_", "-"), VERBS, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}? " if near else ""
    tell(f"morphmlp: no verb {verb!r}; {hint}verbs: {', '.join(VERBS)} (see morphmlp --help)")
    return USAGE_ERROR


def _refuse_addresses(arguments: list[str], *, files_are_read: bool) -> None:
    """Raises UserError where an argument or the value of an option is an address, which only some verbs read.

    A checkpoint of the hub is none of these: every verb that takes a checkpoint takes it.
    """
    taken = ("hf://", *(f"{scheme}://" for scheme in REMOTE_SCHEMES if files_are_read))
    for before, argument in itertools.pairwise(["", *arguments]):
        option, _, value = argument.partition("=") if argument.startswith("--") else (before, "", argument)
        if "://" in value and (option in NO_ADDRESSES or not value.lower().startswith(taken)):
            refuse_address(value)


def _machine_failure(error: Exception) -> str | None:
    """What to say where the machine gave out; None for anything else."""
    if "DataLoader worker" in str(error):
        return "a decoding process ended unexpectedly (out of memory?); try fewer --workers; a run can be resumed"
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error) or "out of memory" in str(error):
        return "not enough memory; try a smaller batch, a smaller input or model, or fewer views"
    return None


def _overview() -> str:
    verbs = "\n".join(f"  {name:<10} {summary}" for name, summary in VERBS.items())
    return (
        f"usage: morphmlp VERB ...\n\nMorphMLP: efficient video recognition without attention.\n\nverbs:\n{verbs}\n\n"
        "`morphmlp VERB --help` tells a verb's options, with an example."
    )


def _with_underscores(arguments: list[str]) -> list[str]:
    """`--batch-size=8` as `--batch_size=8`: both spellings of an option are taken; after `--` there are no options."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [re.sub(r"^--[^=]+", lambda name: "--" + name[0][2:].replace("-", "_"), a) for a in arguments[:end]]
    return options + arguments[end:]


if __name__ == "__main__":
    sys.exit(main())
