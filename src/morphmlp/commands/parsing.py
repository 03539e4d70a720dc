"""What the verbs share: the parser, the options of the test protocol, exit statuses, JSON."""

import difflib
import re
import sys
from argparse import SUPPRESS, Action, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Literal, NoReturn

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, NonNegativeInt, PositiveFloat

from morphmlp.formatting import as_json
from morphmlp.output import tell, until_closed

USER_ERROR, USAGE_ERROR, INTERRUPTED, TERMINATED = 1, 2, 130, 143


class Parser(ArgumentParser):
    """Reports a wrong option in one line, with the near ones instead of the long list of all.

    Attributes:
        source: the file that is parsed, where it is not the command line.
        first_screen: the options that `--help` shows, where `--help-all` shows all; empty for a parser of few options.
    """

    source = ""
    first_screen: tuple[str, ...] = ()

    def format_help(self, formatter: Any = None) -> str:
        """All options, or those of the first screen."""
        others = [action for action in self._actions if self.first_screen and action.dest not in self.first_screen]
        kept = [action.help for action in others]
        try:
            for action in others:
                action.help = SUPPRESS
            return super().format_help(formatter)
        finally:
            for action, text in zip(others, kept, strict=True):
                action.help = text

    def show_first(self, *dests: str) -> None:
        """Lets `--help` show these options, and `--help-all` all of them."""
        self.add_argument("--help-all", "--help_all", action=_HelpAll, help="show every option and exit")
        self.first_screen = ("help", "help_all", *dests)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        reason = _usage_reason(message)
        if unknown := _unknown_option(reason):
            reason = f"no option --{unknown}{_near_options(unknown, self._option_string_actions)}"
        where = f"{self.source}: " if self.source else ""
        tell(f"{self.prog}: {where}{reason} (see {self.prog} --help)")
        sys.exit(USAGE_ERROR)


class _HelpAll(Action):
    def __init__(self, option_strings: list[str], dest: str, **options: Any):
        super().__init__(option_strings, dest, nargs=0, default=SUPPRESS, help=options.get("help"))

    def __call__(self, parser: Any, *_: Any) -> None:
        parser.first_screen = ()
        parser.print_help()
        parser.exit()


def make_parser(verb: str, usage: str, description: str, example: str) -> Parser:
    class Formatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
        def __init__(self, prog: str):
            super().__init__(prog, max_help_position=32, width=110)

    return Parser(
        prog=f"morphmlp {verb}",
        usage=f"morphmlp {verb} {usage} [options]".replace("  ", " "),
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=Formatter,
        allow_abbrev=False,
    )


def add_protocol(parser: Parser, *, workers: bool = True) -> None:
    """The options of the test protocol, those of `add_execution`, and `--engine`."""
    group = parser.add_argument_group("test protocol (default: what the checkpoint was saved with)")
    group.add_argument("--clips", type=int | None, help="views of a video in time")
    group.add_argument("--crops", type=int | None, help="views of a video in space, 1 or 3")
    group.add_argument(
        "--aggregation",
        type=Literal["logits", "probabilities"] | None,
        help="how the views are joined: the sum of their logits, or the mean of their probabilities",
    )
    add_execution(parser, workers=workers)
    add_engine(parser)


def add_execution(parser: Parser, *, workers: bool = True) -> None:
    """How files are decoded, and where the model runs; `workers` where files are decoded by processes."""
    if workers:
        parser.add_argument("--workers", type=NonNegativeInt, default=2, help="processes that decode; 0: this one does")
    add_max_damage(parser)
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, mps or xpu")
    add_precision(parser)


def add_precision(parser: Parser) -> None:
    """`precision_of` has the value."""
    parser.add_argument(
        "--precision",
        type=Literal["fp32", "bf16", "fp16"] | None,
        help="of the computation (default: fp32, or what an exported folder was exported in)",
    )


def add_engine(parser: Parser) -> None:
    """What computes; `auto` is described in `docs/deploy.md`."""
    parser.add_argument(
        "--engine",
        type=Literal["auto", "torch", "optimized", "onnxruntime", "openvino"],
        default="auto",
        help="what computes; auto: the fastest by known figures, with an export only where that pays",
    )


def add_segments(parser: Parser, title: str) -> Any:
    """The options of windows, and of the segments that are found in them; returns their group."""
    group = parser.add_argument_group(title)
    group.add_argument(
        "--length",
        type=PositiveFloat,
        help="seconds of a window; default: that of the training's windows (`train --window`), what a densely sampled "
        "clip of the checkpoint spans, the median length of the clips that it was trained on, up to 10, or 2 where "
        "that is not known",
    )
    group.add_argument(
        "--step",
        type=PositiveFloat,
        help="seconds from one window to the next; default: half a window, an eighth where the training had windows",
    )
    group.add_argument(
        "--threshold",
        type=ClosedUnitInterval,
        help="probability that opens a segment, and below which the answer is 'none of these'; default: as `morphmlp "
        "calibrate` has set it; 0: the best class, whatever its probability",
    )
    group.add_argument("--low", type=ClosedUnitInterval, help="probability that closes it; default: 0.8 of --threshold")
    group.add_argument(
        "--shortest", type=NonNegativeFloat, help="seconds of the shortest segment; default: 0.5, or less"
    )
    return group


def add_max_damage(parser: Parser) -> None:
    """`use_limits` puts the value into force."""
    parser.add_argument(
        "--max_damage",
        type=float | None,
        help="share of a video's packets that cannot be decoded from which on it is unreadable (default: 0.5, or what "
        "MORPHMLP_MAX_DAMAGE says)",
    )


def add_cache(parser: Parser) -> None:
    """`use_limits` puts the value into force; not in `train`, whose share of damage is a field of its configuration."""
    parser.add_argument(
        "--cache_gb",
        type=PositiveFloat,
        help="GB of copies of files at addresses that the disk keeps (default: 50, or what MORPHMLP_CACHE_GB says; "
        "MORPHMLP_CACHE is the folder of all caches)",
    )


def use_limits(options: Namespace) -> None:
    """Puts `--max_damage` and `--cache_gb` into force, in this process and in those that it starts.

    Raises:
        ConfigError: a value is not allowed.
    """
    from morphmlp.data.media.limits import set_cache_size, set_most_damage

    set_most_damage(options.get("max_damage"))
    set_cache_size(options.get("cache_gb"))


def precision_of(options: Namespace) -> str:
    """What `--precision` says; without it fp32, of which an exported folder takes no notice.

    Raises:
        ConfigError: the checkpoint is a folder that was exported in another precision.
    """
    if options.precision is None:
        return "fp32"
    from morphmlp.checkpoints.hub import local_checkpoint
    from morphmlp.inference.runtimes import is_exported, read_export, require_precision

    if is_exported(folder := local_checkpoint(options.checkpoint)):
        require_precision(folder, read_export(folder)[1], options.precision)
    return options.precision


def protocol(options: Namespace) -> dict[str, Any]:
    return {
        "num_clips": options.clips,
        "num_crops": options.crops,
        "aggregation": options.aggregation,
        "device": options.device,
        "precision": precision_of(options),
        "engine": options.engine,
    }


def print_json(values: Any) -> None:
    """For programs: only ASCII, everything else escaped, because names of files may hold bytes that are no text."""
    with until_closed():
        print(as_json(values, indent=2))


def write_and_show(write: Callable[[], None], show: Callable[[], None]) -> None:
    """Writes files, then prints: the reader of the output may close it before its end.

    A file that cannot be written does not cost what there is to show.
    """
    try:
        write()
    except OSError:
        with suppress(BrokenPipeError):
            show()
        raise
    show()


def _unknown_option(reason: str) -> str | None:
    """The first option that the parser does not know, if this is its complaint.

    >>> _unknown_option("Group 'augment' does not accept option 'flp'")
    'augment.flp'
    """
    if match := re.match(r"(?i)unrecognized arguments:.*? --([\w.]+)", reason):
        return match[1]
    if match := re.match(r"(?:Group '([\w.]+)' does not accept option|Option) '([^']+)'", reason):
        return ".".join(filter(None, match.groups()))
    return None


def _near_options(unknown: str, known: Iterable[str]) -> str:
    """Options of the same group with a like name; else those of another group."""
    options = [option.removeprefix("--") for option in known if option.startswith("--")]
    group, dot, name = unknown.rpartition(".")
    same_group = [option.rpartition(".")[2] for option in options if option.rpartition(".")[0] == group]
    near = [f"{group}{dot}{match}" for match in difflib.get_close_matches(name, same_group, n=3, cutoff=0.6)]
    if not near:
        near = [option for option in options if option.endswith(f".{name}")]
    return f"; did you mean {', '.join(f'--{option}' for option in near)}?" if near else ""


def _usage_reason(message: str) -> str:
    r"""The parser's message in one line, and in the user's words.

    >>> _usage_reason("Parser key \"epochs\":\n  Expected a <class 'int'>. Got value: x")
    '--epochs: expected a whole number; got x'
    """
    text = " ".join(message.split())
    text = re.sub(r'Parser key "([\w.]+)"(?: element \d+)?: ', r"--\1: ", text)
    text = re.sub(r"<class '(\w+)'>", lambda match: _WORDS.get(match[1], match[1]), text)
    text = re.sub(r"typing\.Literal\[(.*?)\]", lambda match: ("one of " if "," in match[1] else "") + match[1], text)
    if choices := re.search(
        r"^(.*?)Does not validate .*? Errors: - (.*?) Given value type: .* Given value: (.*)$", text
    ):
        kinds = [kind.removeprefix("Expected a ") for kind in choices[2].split(" - ")]
        text = f"{choices[1]}Expected a {', '.join(kinds[:-1])} or {kinds[-1]}. Got value: {choices[3]}"
    text = re.sub(r"Not of type \w+: (\S+) does not conform to restriction v", r"got \1; expected a number ", text)
    text = re.sub(
        r"Not of type \w+: (?:could not convert|invalid literal).*?: '(.*)'", r"got \1; expected a number", text
    )
    text = text.replace(" and v<", " and <")
    return text.replace("Expected a ", "expected ").replace(". Got value:", "; got")


_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "NoneType": "null",
    "bool": "true, false",
    "tuple": "a list in brackets",
    "str": "text",
}
