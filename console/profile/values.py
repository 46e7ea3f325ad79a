"""What a key of a profile may hold, and the sentence for one that holds something else. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # A profile is checked by this, so that nothing of it can be imported here.
    pass

import difflib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

NUMBER_END = 10**18
"""Numbers of a profile lie below this, so that none of them can overflow where it is used."""


class Mistake(ValueError):
    """A key's mistake, without the file's name."""


def table(whole: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    """A section of the whole. Raises Mistake where it is something else."""
    value = whole[section]
    if not isinstance(value, dict):
        raise Mistake(f"{section} is {shown(value)}; it is a section, written [{section}]")
    return value


S = typing.TypeVar("S")


def section(kind: type[S], found: Mapping[str, Any], name: str, skip: tuple[str, ...] = ()) -> S:
    """The dataclass `kind` with what was found in the section of this name, but for the fields in `skip`.

    Raises:
        Mistake: a key is unknown, missing, or of another type than the field's.
    """
    hints = typing.get_type_hints(kind)
    wanted = [one for one in fields(kind) if one.name not in skip]  # type: ignore[arg-type]
    known(found, [one.name for one in wanted], name)
    values = {}
    for one in wanted:
        if one.name in found:
            values[one.name] = _value(found[one.name], hints[one.name], f"{name}.{one.name}")
        elif one.default is MISSING and one.default_factory is MISSING:
            raise Mistake(f"{name}.{one.name} is missing; accepted is {_accepts(hints[one.name])}")
    return kind(**values)


def known(found: Mapping[str, Any], accepted: Sequence[str], name: str) -> None:
    """Raises Mistake for a key in the section of this name that is none of the accepted ones."""
    for key in found:
        if key not in accepted:
            near = difflib.get_close_matches(key, accepted, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            where = f"[{name}]" if name else "the top level"
            raise Mistake(f"{where} has no key {shown(key)}{hint}; accepted are {', '.join(sorted(accepted))}")


def _value(value: object, hint: Any, key: str) -> Any:
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
    raise Mistake(f"{key} is {shown(value)}; accepted is {_accepts(hint)}")


def _is_text(value: object) -> bool:
    return type(value) is str


def _accepts(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        if option in names:
            return names[option]
    return "a list of texts" if typing.get_origin(options[0]) is tuple else "a table of texts"


def shown(value: object) -> str:
    """The value as a sentence may quote it."""
    try:
        text = "true" if value is True else "false" if value is False else repr(value)
    except ValueError:
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."


def inside(value: object, kind: type, accept: Callable[[Any], bool], name: str, accepted: str) -> Any:
    """The value, where it is of the kind and `accept` says yes. Raises Mistake."""
    kinds = (int, float) if kind is float else (kind,)
    if type(value) not in kinds or not accept(value):
        raise Mistake(f"{name} is {shown(value)}; accepted is {accepted}")
    return value


HOST: re.Pattern[str] = re.compile(
    r"(?:[^\s@:/-][^\s@:/]*@)?(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9_.%][A-Za-z0-9_.%-]*)(?::\d{1,5})?"
)
"""``[user@]host[:port]``."""
