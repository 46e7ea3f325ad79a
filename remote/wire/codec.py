"""Events as lines of a journal: encoding, decoding, and the check of every field against its annotation."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, get_args, get_origin, get_type_hints


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened."""


class Damaged(ValueError):
    """A line that is not a record: not JSON, no event name, or a field missing or of another type."""


class Unknown(ValueError):
    """A whole record whose event's name this version does not know."""


BOUND = 1e18
"""Numbers lie within this, so that no later arithmetic meets an infinity or an integer that no float can hold."""


def encode(event: Event, t: float) -> str:
    """The journal line of an event, without its newline; `t` in epoch seconds.

    What `decode` would refuse as a number (NaN, infinities, beyond `BOUND`) becomes null.
    """
    line: dict[str, Any] = {"event": type(event).__name__, "t": round(t, 4)}
    for name in field_names(type(event)):
        value = getattr(event, name)
        if value.__class__ is float and not -BOUND < value < BOUND:
            value = None
        elif value.__class__ is tuple:
            value = [None if item.__class__ is float and not -BOUND < item < BOUND else item for item in value]
        line[name] = value
    return json.dumps(line, separators=(",", ":"), ensure_ascii=False)


def decode(line: Mapping[str, Any], known: Mapping[str, type[Event]]) -> Event:
    """The event in a parsed line.

    Raises:
        Unknown: the event's name is not in `known`.
        Damaged: no event's name, or a field missing or of another type than annotated.
    """
    name = line.get("event")
    if not isinstance(name, str):
        raise Damaged("no event name")
    kind = known.get(name)
    if kind is None:
        raise Unknown(name)
    values: dict[str, Any] = {}
    # Inline, and by sets of classes instead of a call a value: a log of 16 nodes has a million numbers in 20 minutes.
    for field, kinds, items, required in _checks(kind):
        value = line.get(field, _ABSENT)
        if value is _ABSENT:
            if required:
                raise Damaged(f"{name} without {field}")
            continue
        accepted = value.__class__
        if accepted is float or accepted is int:
            fits = accepted in kinds and -BOUND < value < BOUND
        elif accepted is list:
            value = tuple(value)
            seen = set(map(type, value))
            fits = items is not None and seen <= items
            if fits and not seen.isdisjoint(_NUMBER_KINDS):
                numbers = [number for number in value if number is not None] if type(None) in seen else value
                fits = min(numbers) > -BOUND and max(numbers) < BOUND
        else:
            fits = accepted in kinds
        if not fits:
            raise Damaged(f"{name}.{field} is {value!r:.80}")
        values[field] = value
    return kind(**values)


def field_names(kind: type[Event]) -> tuple[str, ...]:
    """The event's field names in order."""
    names = _names.get(kind)
    if names is None:
        names = _names[kind] = tuple(field.name for field in fields(kind))
    return names


def vocabulary(namespace: Mapping[str, object]) -> dict[str, type[Event]]:
    """Event classes by name, out of a module's namespace."""
    return {
        name: kind
        for name, kind in namespace.items()
        if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
    }


def _checks(kind: type[Event]) -> _Checks:
    checks = _checked.get(kind)
    if checks is None:
        hints = get_type_hints(kind)
        checks = _checked[kind] = tuple(
            (field.name, *_classes(hints[field.name]), field.default is MISSING and field.default_factory is MISSING)
            for field in fields(kind)
        )
    return checks


def _classes(hint: Any) -> tuple[frozenset[type], frozenset[type] | None]:
    """The classes that a value may be of, and, where it may be a list, those of its items."""
    origin = get_origin(hint)
    if origin is tuple:
        return frozenset(), _classes(get_args(hint)[0])[0]
    if origin in (typing.Union, types.UnionType):
        options = [_classes(option) for option in get_args(hint)]
        kinds = frozenset().union(*(option for option, _ in options))
        return kinds, next((items for _, items in options if items is not None), None)
    return frozenset({int, float} if hint is float else {hint}), None


_Checks = tuple[tuple[str, frozenset[type], frozenset[type] | None, bool], ...]


# Reading type hints takes 50 us a class; a journal has thousands of lines of a few classes.
_checked: dict[type[Event], _Checks] = {}
_names: dict[type[Event], tuple[str, ...]] = {}
_ABSENT: Any = object()
_NUMBER_KINDS = frozenset({int, float})
