"""From a recipe (plain values, as in `recipes/*.yaml`) to the configuration of a run."""

import difflib
import os
import reprlib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from morphmlp.config import (
    AugmentConfig,
    InputConfig,
    ModelConfig,
    TrainConfig,
)
from morphmlp.config.run import READINGS
from morphmlp.errors import ConfigError

# Of a recipe, beside `model`, `init` and the fields of TrainConfig; "arch" holds fields of the model.
PARTS = {"input": InputConfig} | READINGS
MOST_VALUES = 100_000  # of a file, aliases written out
FIELDS = PARTS | {"arch": ModelConfig, "augment": AugmentConfig}


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(path.name.removesuffix(".yaml") for path in _folder().iterdir() if path.name.endswith(".yaml"))


def load_recipe(recipe: str | Path) -> dict[str, Any]:
    """The values of a recipe that comes with the package, such as "demo", or of a YAML file.

    `base: kinetics` in it stands for the values of `recipes/base/kinetics.yaml`, under those that the recipe gives.

    Raises:
        ConfigError: there is no such recipe or base, it is no YAML of names with values, or it has an unknown name.
    """
    if str(recipe) in recipe_names():
        values = read_values(_folder() / f"{recipe}.yaml")
    elif os.path.isfile(recipe):
        values = read_values(Path(recipe))
    else:
        near = difflib.get_close_matches(str(recipe), recipe_names(), n=4, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(recipe_names())}"
        raise ConfigError(f"recipe {str(recipe)!r} is neither one of the package nor a YAML file; {hint}")
    base = values.pop("base", None)
    if base is not None:
        bases = sorted(path.name.removesuffix(".yaml") for path in (_folder() / "base").iterdir())
        if base not in bases:
            raise ConfigError(f"recipe {recipe}: base is {base!r}; allowed: {', '.join(bases)}")
        values = merged(read_values(_folder() / "base" / f"{base}.yaml"), values)
    _refuse_unknown_names(values, source=f"recipe {recipe}")
    return values


def read_values(file: Traversable, *, what: str = "recipe") -> dict[str, Any]:
    """The names and values of a YAML file.

    Raises:
        ConfigError: it is no YAML, or holds something else; the message calls the file `what`.
    """
    try:
        values = _load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what} {file} is no YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigError(f"{what} {file} is nested too deeply; allowed: names with values") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{what} {file} holds {reprlib.repr(values)}; allowed: names with values")
    return values


def _load(text: str) -> Any:
    """`yaml.safe_load`, but for texts whose aliases stand for more than was written.

    Raises:
        yaml.YAMLError: also where an alias is inside itself, or all written out are more than `MOST_VALUES`.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is not None and _written_out(node, {}) > MOST_VALUES:
            raise yaml.YAMLError(f"its aliases stand for more than {MOST_VALUES:,} values")
        return loader.construct_document(node) if node is not None else None
    finally:
        loader.dispose()


def _written_out(node: yaml.Node, sizes: dict[int, int | None]) -> int:
    """Values of a node, those of its aliases counted each time."""
    if id(node) not in sizes:
        sizes[id(node)] = None  # until it is known
        pairs = node.value if isinstance(node, yaml.CollectionNode) else []
        children = [child for pair in pairs for child in (pair if isinstance(pair, tuple) else (pair,))]
        sizes[id(node)] = 1 + sum(_written_out(child, sizes) for child in children)
    size = sizes[id(node)]
    if size is None:
        raise yaml.YAMLError("an alias is inside the value that it stands for")
    return size


def merged(values: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Both, field by field at every depth; `over` wins, also with None and with lists.

    >>> merged({"lr": 0.1, "augment": {"flip": 0.5, "mixup": 0.8}}, {"augment": {"flip": 0.0}})
    {'lr': 0.1, 'augment': {'flip': 0.0, 'mixup': 0.8}}
    """
    result = dict(values)
    for name, value in over.items():
        both = isinstance(result.get(name), dict) and isinstance(value, dict)
        result[name] = merged(result[name], value) if both else value
    return result


def _folder() -> Traversable:
    return files("morphmlp") / "recipes"


def _refuse_unknown_names(recipe: dict[str, Any], *, source: str) -> None:
    """Raises ConfigError that lists the near names; the values are for `run_config` to check."""
    top = list(dict.fromkeys(["model", "init", *FIELDS, *TrainConfig.names()]))
    for part in (None, *FIELDS):
        known = FIELDS[part].names() if part else top
        values = recipe.get(part) if part else recipe
        for name in values if isinstance(values, dict) else ():
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.6)
                near += [f"{other}.{name}" for other in FIELDS if name in FIELDS[other].names()]
                hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(known)}"
                raise ConfigError(f"{source} has no field {name!r}{f' in {part}' if part else ''}; {hint}")
