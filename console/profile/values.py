"""What a key of a profile may hold: its type, its bounds or its words, and the sentence for any other value. Pure.

The sections of a profile are dataclasses (`console.profile.schema`). The type of a field is the type of the key; what
else the key has to satisfy stands in the field's metadata, which `bounds` and `words` make.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, Final

NUMBER_END: Final = 10**18
"""Numbers of a profile lie below this, so that none of them can overflow where it is used."""
HOST: Final = re.compile(r"(?:[^\s@:/-][^\s@:/]*@)?(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9_.%][A-Za-z0-9_.%-]*)(?::\d{1,5})?")
"""``[user@]host[:port]``."""
_RULE: Final = "accepted"


class Mistake(ValueError):
    """A key's mistake in one sentence, without the file's name."""


# --- what a field accepts --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bounds:
    """An interval of numbers."""

    low: float | None = None
    """The lowest number that is accepted."""
    high: float | None = None
    """The highest number that is accepted."""
    above: float | None = None
    """Accepted are only numbers above this one."""
    below: float | None = None
    """Accepted are only numbers below this one."""
    unit: str = ""

    def holds(self, value: Any) -> bool:
        """True if the number lies within."""
        return (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        """The interval in words: ``1 to 64``, ``0 or more``, ``above 0, up to 1``, ``0 up to but not 1``."""
        start = "" if self.low is None else _number(self.low)
        if self.above is not None:
            start = f"above {_number(self.above)}"
        end = ""
        if self.high is not None:
            end = f"to {_number(self.high)}" if self.above is None else f"up to {_number(self.high)}"
        elif self.below is not None:
            end = f"up to but not {_number(self.below)}" if self.above is None else f"below {_number(self.below)}"
        elif self.low is not None:
            end = "or more"
        return " ".join(filter(None, (start + ("," if self.above is not None and end else ""), end, self.unit)))


@dataclass(frozen=True, slots=True)
class Words:
    """A choice of words."""

    words: tuple[str, ...]

    def holds(self, value: object) -> bool:
        """True if it is one of the words."""
        return value in self.words

    def __str__(self) -> str:
        """The words: ``sgd or lars``."""
        return " or ".join(self.words)


@dataclass(frozen=True, slots=True)
class Form:
    """How a value is written that the caller of `section` reads itself."""

    text: str

    def holds(self, value: object) -> bool:
        """True: the caller has checked it."""
        return True

    def __str__(self) -> str:
        """For example ``[first, last + 1]``."""
        return self.text


def bounds(
    low: float | None = None,
    high: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
    unit: str = "",
) -> Mapping[str, Bounds]:
    """The metadata of a field that holds a number within these bounds."""
    return {_RULE: Bounds(low, high, above, below, unit)}


def words(*accepted: str) -> Mapping[str, Words]:
    """The metadata of a field that holds one of these words."""
    return {_RULE: Words(accepted)}


def form(text: str) -> Mapping[str, Form]:
    """The metadata of a field that is written as the text says."""
    return {_RULE: Form(text)}


def accepted(field: Field[Any], hint: Any) -> str:
    """What a field takes, in words: ``a whole number, 1 to 64``. `hint` is the field's type."""
    rule = field.metadata.get(_RULE)
    if rule is None:
        return _type_name(hint)
    return f"{_type_name(hint)}, {rule}" if isinstance(rule, Bounds) else str(rule)


def accepted_by(kind: type, key: str) -> str:
    """What the field of this name takes in the dataclass `kind`, in words."""
    field: Field[Any] = kind.__dataclass_fields__[key]  # type: ignore[attr-defined]
    return accepted(field, typing.get_type_hints(kind)[key])


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


def _type_name(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        if option in names:
            return names[option]
    return "a list of texts" if typing.get_origin(options[0]) is tuple else "a table of texts"


# --- sections --------------------------------------------------------------------------------------------------------


def table(whole: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    """A section of the whole. Raises Mistake where it is something else."""
    value = whole[section]
    if not isinstance(value, dict):
        raise Mistake(f"{section} is {shown(value)}; it is a section, written [{section}]")
    return value


S = typing.TypeVar("S")


def section(
    kind: type[S],
    found: Mapping[str, Any],
    name: str,
    given: Mapping[str, Any] = types.MappingProxyType({}),
    *,
    joint: str = ".",
) -> S:
    """The dataclass `kind` with the values that were found in the section `name`.

    Args:
        given: values of fields that the caller has read itself; these keys of `found` are not looked at.
        joint: stands between the section's name and a key's in an error sentence.

    Raises:
        Mistake: a key is unknown, missing, of another type than the field, or holds what the field does not accept.
    """
    hints = typing.get_type_hints(kind)
    wanted: tuple[Field[Any], ...] = fields(kind)  # type: ignore[arg-type]
    known(found, [field.name for field in wanted], name)
    made = dict(given)
    for field in wanted:
        if field.name in given:
            continue
        key, hint = f"{name}{joint}{field.name}", hints[field.name]
        if field.name in found:
            made[field.name] = _value(found[field.name], field, hint, key)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise Mistake(f"{key} is missing; accepted is {accepted(field, hint)}")
    return kind(**made)


def known(found: Mapping[str, Any], keys: Sequence[str], name: str) -> None:
    """Raises Mistake for a key in the section `name` that is not one of `keys`."""
    for key in found:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            where = f"[{name}]" if name else "the top level"
            raise Mistake(f"{where} has no key {shown(key)}{hint}; accepted are {', '.join(sorted(keys))}")


def shown(value: object) -> str:
    """The value as a sentence may quote it: as in TOML where that differs from Python, at most 60 characters."""
    try:
        text = "true" if value is True else "false" if value is False else repr(value)
    except ValueError:
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."


_NOTHING: Final = object()


def _value(found: object, field: Field[Any], hint: Any, key: str) -> Any:
    value = _typed(found, hint)
    if value is _NOTHING:
        raise Mistake(f"{key} is {shown(found)}; accepted is {accepted(field, hint)}")
    rule = field.metadata.get(_RULE)
    if rule is not None and not rule.holds(value):
        raise Mistake(f"{key} is {shown(value)}; accepted is {rule}")
    return value


def _typed(value: object, hint: Any) -> Any:
    """The value as the field's type has it; `_NOTHING` where it is of another type."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        if option is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            if abs(value) < NUMBER_END:
                return float(value)
        elif option is int and type(value) is int:
            if abs(value) < NUMBER_END:
                return value
        elif option in (str, bool) and type(value) is option:
            return value
        elif typing.get_origin(option) is tuple and isinstance(value, list):
            if all(type(item) is str for item in value):
                return tuple(value)
        # run.env has been checked before, in words that show no value.
        elif typing.get_origin(option) is Mapping and isinstance(value, dict) and all(map(_is_text, value.values())):
            return dict(value)
    return _NOTHING


def _is_text(value: object) -> bool:
    return type(value) is str
