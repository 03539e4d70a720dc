"""The base of the configurations: typed, validated, to and from plain values."""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from dataclasses import dataclass
from typing import Any, Literal, Self

from morphmlp.errors import ConfigError

NO_PATHS: tuple[str, ...] = ()


def _checked(name: str, value: Any, annotation: Any) -> Any:
    """The value in its annotated type; lists become tuples, integers floats, and dictionaries configurations."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if type(None) in arguments:  # `X | None`, or `X | Y | None`
        kinds = [kind for kind in arguments if kind is not type(None)]
        return None if value is None else _checked_as_one_of(name, value, kinds)
    if origin is Literal:
        if value in arguments:
            return value
        raise ConfigError(f"{name} is {value!r}; allowed: {', '.join(map(repr, arguments))}")
    if origin is tuple and isinstance(value, list | tuple):
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise ConfigError(f"{name} has {len(value)} values; allowed: {len(arguments)}")
        return tuple(_checked(f"{name}[{i}]", item, arguments[0]) for i, item in enumerate(value))
    if isinstance(annotation, type) and issubclass(annotation, Config) and isinstance(value, dict):
        return annotation.from_dict(value)
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**1023 else math.inf
    allowed = origin or annotation
    is_bool_as_int = isinstance(value, bool) and annotation is not bool
    if not isinstance(value, allowed) or is_bool_as_int or (annotation is float and not math.isfinite(value)):
        raise ConfigError(f"{name} is {value!r}; allowed: {_allowed_kind(value, allowed)}")
    return value


def _checked_as_one_of(name: str, value: Any, kinds: list[Any]) -> Any:
    """The value in the first of the annotated types that takes it."""
    reasons = []
    for kind in kinds:
        try:
            return _checked(name, value, kind)
        except ConfigError as error:
            reasons.append(str(error))
    if len(reasons) == 1:
        raise ConfigError(reasons[0])
    raise ConfigError(f"{name} is {value!r}; allowed: {' or '.join(r.rpartition('allowed: ')[2] for r in reasons)}")


def _allowed_kind(value: Any, allowed: Any) -> str:
    if isinstance(allowed, type) and issubclass(allowed, Config):
        return "names with values"
    if isinstance(value, float) and allowed is float:
        return "a finite number"
    return f"a value of type {getattr(allowed, '__name__', str(allowed))}"


def _is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Config:
    """Base of the configurations: values are checked against their annotations when one is built.

    Attributes:
        paths: the fields that hold paths.
    """

    paths = NO_PATHS  # without an annotation, or it would be a field

    def __post_init__(self) -> None:
        for name, annotation in typing.get_type_hints(type(self)).items():
            object.__setattr__(self, name, _checked(f"{self._label()}.{name}", getattr(self, name), annotation))
        self.validate()

    def validate(self) -> None:
        """Raises ConfigError where single values are fine but the whole is not."""

    @classmethod
    def names(cls) -> list[str]:
        """The names of the fields."""
        return [field.name for field in dataclasses.fields(cls)]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Builds the configuration from plain values; an unknown name is an error that lists the near ones."""
        if not isinstance(values, dict):
            raise ConfigError(f"{cls._label()} is {values!r}; allowed: names with values")
        names = cls.names()
        for name in values:
            if name not in names:
                near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
                hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(names)}"
                raise ConfigError(f"{cls._label()} has no field {name!r}; {hint}")
        required = [f.name for f in dataclasses.fields(cls) if _is_required(f) and f.name not in values]
        if required:
            raise ConfigError(f"{cls._label()} lacks {', '.join(required)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON or YAML: tuples become lists."""
        return _plain(dataclasses.asdict(self))

    @classmethod
    def _label(cls) -> str:
        return cls.__name__.removesuffix("Config").lower()

    def _require_at_most(self, most: float, *names: str) -> None:
        """Raises ConfigError where one of these fields, or a value in it, is larger.

        Such ends are beyond what anybody trains; they turn a slip of the keyboard or a hostile file into a line.
        """
        for name in names:
            value = getattr(self, name)
            values = value if isinstance(value, tuple) else (value,)
            self._require(all(v is None or v <= most for v in values), name, f"at most {most:,}")

    def _require(self, condition: bool, name: str, allowed: str) -> None:
        if not condition:
            raise ConfigError(f"{self._label()}.{name} is {getattr(self, name)!r}; allowed: {allowed}")
