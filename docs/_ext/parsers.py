"""What the parsers of the verbs know: for the page of all commands, and to check those that the documents show.

A verb makes its parser in `run`, and asks it for the options at once: there it is stopped, before anything is done.
"""

import importlib
import re
from argparse import SUPPRESS, Action
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from unittest.mock import patch

from morphmlp.commands.parsing import Parser


class _Made(Exception):
    """Carries a parser out of the verb that made it."""


@cache
def parser_of(verb: str, arguments: tuple[str, ...] = ()) -> Parser:
    """The parser that a verb makes for some arguments.

    >>> parser_of("models").prog
    'morphmlp models'
    """

    def stop(parser: Parser, *_: object, **__: object) -> None:
        raise _Made(parser)

    module = importlib.import_module(f"morphmlp.commands.{verb.replace('-', '_')}")
    try:
        with patch.object(Parser, "parse_args", stop):
            module.run([*arguments])
    except _Made as made:
        return made.args[0]
    raise RuntimeError(f"morphmlp {verb} reads no options")


@dataclass(frozen=True)
class Option:
    """An option or a positional argument of a verb.

    Attributes:
        names: as they are written, such as `--batch_size`; of a positional argument its place in the usage.
        value: what follows the name, such as `{fp32,bf16,fp16}`; empty for a flag.
        text: what it does, its type and its default, as `--help` says it.
    """

    names: tuple[str, ...]
    value: str
    text: str


def options_of(verb: str) -> Iterator[tuple[str, list[Option]]]:
    """The titles of a verb's groups of options, each with the options; groups without any are left out."""
    parser = parser_of(verb)
    for group in parser._action_groups:
        options = [_option(parser, action) for action in group._group_actions if _is_shown(action)]
        if options:
            yield group.title or "", options


def _is_shown(action: Action) -> bool:
    """Not `--help`, which all verbs have, nor what takes a whole group as one value, which the options are for."""
    if action.help == SUPPRESS or action.dest in ("help", "help_all"):
        return False
    return type(action).__name__ != "_ActionConfigLoad"


def _option(parser: Parser, action: Action) -> Option:
    formatter = parser._get_formatter()
    if action.option_strings:
        names, default = tuple(action.option_strings), formatter._get_default_metavar_for_optional(action)
        value = formatter._format_args(action, default) if action.nargs != 0 else ""
    else:
        default = formatter._get_default_metavar_for_positional(action)
        names, value = (formatter._format_args(action, default),), ""
    return Option(
        names=names,
        value=value.replace("\b", ""),  # which `--print_config[=flags]` begins with
        text=" ".join(formatter._expand_help(action).split()),
    )


def section(verb: str, summary: str) -> str:
    """What is said of a verb, in Markdown."""
    parser = parser_of(verb)
    lines = [
        f"## morphmlp {verb}",
        "",
        f"{summary[0].upper()}{summary[1:]}.",
        "",
        "```text",
        f"{parser.usage}",
        "```",
        "",
    ]
    lines += [*_description(str(parser.description)), "", "```sh", *_examples(str(parser.epilog)), "```", ""]
    lines += [f"```{{program}} morphmlp {verb}", "```", ""]
    for title, options in options_of(verb):
        if title not in ("positional arguments", "options"):
            lines += [f"**{title[0].upper()}{title[1:]}**", ""]
        for option in options:
            lines += _entry(option)
    return "\n".join(lines)


def _description(text: str) -> list[str]:
    """The description, whose indented lines are a table."""
    lines = []
    for is_table, part in groupby(text.splitlines(), key=lambda line: line.startswith("  ")):
        found = [line.strip() for line in part]
        lines += ["```text", *found, "```"] if is_table else [_escaped(line) for line in found]
    return lines


def _examples(epilog: str) -> list[str]:
    """The commands of `example:`, without their indentation."""
    return [line.strip() for line in epilog.removeprefix("example:").strip().splitlines()]


def _entry(option: Option) -> list[str]:
    """An entry that can be linked to and is in the index; positional arguments cannot."""
    if not option.names[0].startswith("-"):
        return [f"`{option.names[0]}`", f": {_escaped(option.text)}", ""]
    written = ", ".join(f"{name} {option.value}".strip() for name in option.names)
    return [f"````{{option}} {written}", _escaped(option.text), "````", ""]


def _escaped(text: str) -> str:
    """Text outside of `code` without what Markdown would take for markup.

    >>> _escaped("DIR/<class>/*.mp4 and `a*b`")
    'DIR/\\\\<class>/\\\\*.mp4 and `a*b`'
    """
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([<*\[{$])", r"\\\1", part) for part in parts)
