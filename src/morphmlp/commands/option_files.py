"""Options of `train` that are in files: recipes and configurations, and which of them and of the others wins."""

import argparse
import os
from pathlib import Path

from morphmlp.commands.parsing import Parser
from morphmlp.errors import ConfigError


def files_first(parser: Parser, arguments: list[str]) -> list[str]:
    """The recipe, as a configuration, before the configuration files, and these before all other options.

    Each wins over those before it, field by field. Each file is first parsed alone, so that what is wrong is named
    with it.
    """
    scan = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    scan.add_argument("--recipe")
    scan.add_argument("--config", action="append", default=[])
    try:
        found, others = scan.parse_known_args(arguments)
    except argparse.ArgumentError:  # a value is missing: the parser says so
        return arguments
    if found.recipe is not None and "--resume" in arguments:  # which is refused, as one option
        return arguments
    configs = [_configuration(parser, config) for config in found.config]
    if found.recipe is not None:
        configs.insert(0, _recipe(parser, found.recipe))
    return [part for config in configs for part in ("--config", config)] + others


def _recipe(parser: Parser, recipe: str) -> str:
    """The recipe as the text of a configuration."""
    import yaml

    from morphmlp.recipes import load_recipe

    try:
        text = yaml.safe_dump(load_recipe(recipe))
    except RecursionError:
        raise ConfigError(f"recipe {recipe} is nested too deeply; allowed: names with values") from None
    _parse_alone(parser, text, source=f"recipe {recipe}")
    return text


def _configuration(parser: Parser, config: str) -> str:
    """The configuration file as it was given."""
    if os.path.isfile(config):  # for all else the parser has a message
        from morphmlp.recipes import read_values

        read_values(Path(config), what="configuration")
        _parse_alone(parser, config, source=f"configuration {config}")
    return config


def _parse_alone(parser: Parser, config: str, *, source: str) -> None:
    parser.source = source
    parser.parse_args(["--config", config, "--out", ""])
    parser.source = ""


def refuse_second_data(parser: Parser, arguments: list[str]) -> None:
    """The folder and `--data` are one value, of which either would win in silence."""
    found, others = without_files(arguments)
    if found.data is None:
        return
    folder = parser.parse_args(others, defaults=False).get("data")
    if folder not in (None, found.data):
        raise ConfigError(f"the data is {folder} and also --data {found.data}; give one of them")


def without_files(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """`--data`, and the arguments without it and the configurations."""
    scan = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    scan.add_argument("--data")
    scan.add_argument("--config", action="append")
    return scan.parse_known_args(arguments)
