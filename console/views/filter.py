"""What is typed to find some of many: ``util<50 & node>8``, ``status=lost``, ``temp>=80 | throttled``, plain words.

The grammar, loosest first; words in any case::

    some     any { ("|" | "or") any }
    any      one { ["&" | "and"] one }          two terms side by side are both wanted
    one      ("!" | "not") one | "(" some ")" | compared | flag | words
    compared name ("=" | "!=" | "<" | "<=" | ">" | ">=") number      number: 50  80%  3-5  1,4,8-11  ?
             name ("=" | "!=" | "~" | "!~") words                    =: is, or has as a word; ~: holds somewhere
    words    lost  10.0.0.7  "two words"        anywhere in the text of the thing

What is unknown is on neither side of a number; ``util=?`` finds it. What things have is told by `Fields`, so that nodes
and lines of a log are asked in one language.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

T = TypeVar("T")
Test = Callable[[T], bool]

LONGEST: Final = 500
"""Characters; nobody types more, and each costs a test a thing."""
_DEEPEST: Final = 40
UNITS: Final = ("%", "°C", "C", "W", "MHz", "s", "x")
"""What may follow a number; it says what the field says anyway."""


class Wrong(ValueError):
    """What was typed is not a filter; its text is one sentence that says where and what is accepted."""


@dataclass(frozen=True, slots=True)
class Fields(Generic[T]):
    """What there is to ask of a thing."""

    text: Callable[[T], str]
    """Where plain words are looked for."""
    numbers: Mapping[str, Callable[[T], float | None]] = field(default_factory=dict)
    words: Mapping[str, Callable[[T], str]] = field(default_factory=dict)
    flags: Mapping[str, Test[T]] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """All names, numbers first."""
        return (*self.numbers, *self.words, *self.flags)


def parse(typed: str, fields: Fields[T]) -> Test[T]:
    """The test that was typed; everything passes an empty one.

    Raises:
        Wrong: it is not a filter.
    """
    if len(typed) > LONGEST:
        raise Wrong(f"The filter has {len(typed):,} characters; at most {LONGEST} are taken.")
    tokens = _tokens(typed)
    return _Parser(tokens, len(typed), fields).all() if tokens else lambda _: True


# --- words -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    """``word``, ``text`` (in quotes), ``op``, or the sign itself: ``(`` ``)`` ``|`` ``&`` ``!``."""
    text: str
    position: int
    """From 1, as people count."""


_TOKEN: Final = re.compile(
    r"""\s*(?: (?P<text>"[^"]*"|'[^']*') | (?P<op><=|>=|!=|!~|==|[<>=~]) | (?P<sign>\|\|?|&&?|[()!]) """
    r"""| (?P<word>[^\s()|&!<>=~"']+) )""",
    re.VERBOSE,
)


def _tokens(typed: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    typed = typed.rstrip()
    while at < len(typed):
        found = _TOKEN.match(typed, at)
        if found is None:
            # Everything else is a word's character: only a quote that nothing closes is left.
            start = at + len(typed[at:]) - len(typed[at:].lstrip())
            raise Wrong(f"The quote at character {start + 1} is not closed.")
        kind = found.lastgroup or ""
        text, position = found[kind], found.start(kind) + 1
        if kind == "sign":
            kind = text = text[0]
        elif kind == "word" and text.lower() in ("and", "or", "not"):
            kind = {"and": "&", "or": "|", "not": "!"}[text.lower()]
        tokens.append(_Token(kind, text[1:-1] if kind == "text" else text, position))
        at = found.end()
    return tokens


# --- terms -----------------------------------------------------------------------------------------------------------


class _Parser(Generic[T]):
    def __init__(self, tokens: list[_Token], length: int, fields: Fields[T]) -> None:
        self._tokens, self._length, self._fields = tokens, length, fields
        self._at = 0
        self._depth = 0

    def all(self) -> Test[T]:
        test = self._some()
        token = self._next()
        if token is not None:
            raise Wrong(f"{_quoted(token)} at character {token.position} closes nothing.")
        return test

    def _next(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _take(self, kind: str) -> bool:
        token = self._next()
        if token is None or token.kind != kind:
            return False
        self._at += 1
        return True

    def _some(self) -> Test[T]:
        tests = [self._any()]
        while self._take("|"):
            tests.append(self._any())
        return tests[0] if len(tests) == 1 else lambda thing: any(test(thing) for test in tests)

    def _any(self) -> Test[T]:
        tests = [self._one()]
        while (token := self._next()) is not None and token.kind not in ("|", ")"):
            self._take("&")
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda thing: all(test(thing) for test in tests)

    def _one(self) -> Test[T]:
        token = self._next()
        if token is None:
            raise Wrong(f"Something is missing at the end, after character {self._length}.")
        self._at += 1
        if token.kind in ("!", "("):
            self._depth += 1
            if self._depth > _DEEPEST:
                raise Wrong(f"The brackets at character {token.position} are too deep.")
            test = self._negated() if token.kind == "!" else self._bracketed(token)
            self._depth -= 1
            return test
        if token.kind not in ("word", "text"):
            raise Wrong(f"{_quoted(token)} at character {token.position} has nothing before it.")
        op = self._next()
        if token.kind == "word" and op is not None and op.kind == "op":
            self._at += 1
            return self._compared(token, op)
        if token.kind == "word" and token.text.lower() in self._fields.flags:
            return self._fields.flags[token.text.lower()]
        if token.kind == "word" and (token.text.lower() in {*self._fields.numbers, *self._fields.words}):
            raise Wrong(f'"{token.text}" at character {token.position} is a field and compared with nothing.')
        words, text = token.text.lower(), self._fields.text
        return lambda thing: words in text(thing).lower()

    def _negated(self) -> Test[T]:
        test = self._one()
        return lambda thing: not test(thing)

    def _bracketed(self, opened: _Token) -> Test[T]:
        test = self._some()
        if not self._take(")"):
            raise Wrong(f"The bracket at character {opened.position} is not closed.")
        return test

    def _compared(self, name: _Token, op: _Token) -> Test[T]:
        value = self._next()
        if value is None or value.kind not in ("word", "text"):
            raise Wrong(f'"{name.text}{op.text}" at character {name.position} is compared with nothing.')
        self._at += 1
        key, sign = name.text.lower(), "=" if op.text == "==" else op.text
        if key in self._fields.numbers:
            return _numbers(name, sign, value, self._fields.numbers[key])
        if key in self._fields.words:
            return _words(name, sign, value, self._fields.words[key])
        raise Wrong(
            f'"{name.text}" at character {name.position} is not a field; there are {", ".join(self._fields.names())}. '
            "What is to be found as it stands goes in quotes."
        )


_NUMBER: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(k|M)?(.*)", re.ASCII)
_RANGE: Final = re.compile(r"(\d+)-(\d+)", re.ASCII)


def _number(text: str) -> float | None:
    found = _NUMBER.fullmatch(text)
    if found is None or found[3] not in ("", *UNITS):
        return None
    return float(found[1]) * {"k": 1e3, "M": 1e6}.get(found[2] or "", 1.0)


def _numbers(name: _Token, sign: str, value: _Token, of: Callable[[T], float | None]) -> Test[T]:
    if sign in ("~", "!~"):
        raise Wrong(
            f'"{sign}" after "{name.text}" at character {name.position} is for words; numbers have = != < <= > >=.'
        )
    if sign in ("=", "!="):
        spans = _spans(value)
        if sign == "=":
            return lambda thing: _within(of(thing), spans)
        # What is unknown is not known to be another number either.
        return lambda thing: (said := of(thing)) is not None and not _within(said, spans)
    limit = _number(value.text)
    if limit is None:
        raise Wrong(_not_a_number(value))
    return {
        "<": lambda thing: (said := of(thing)) is not None and said < limit,
        "<=": lambda thing: (said := of(thing)) is not None and said <= limit,
        ">": lambda thing: (said := of(thing)) is not None and said > limit,
        ">=": lambda thing: (said := of(thing)) is not None and said >= limit,
    }[sign]


_Span = tuple[float, float] | None
"""From and to, both of it; None for what is unknown."""


def _within(said: float | None, spans: list[_Span]) -> bool:
    if said is None:
        return None in spans
    return any(span is not None and span[0] <= said <= span[1] for span in spans)


def _spans(value: _Token) -> list[_Span]:
    spans: list[_Span] = []
    for part in value.text.split(","):
        found = _RANGE.fullmatch(part)
        number = _number(part)
        if part == "?":
            spans.append(None)
        elif found is not None:
            spans.append((float(found[1]), float(found[2])))
        elif number is not None:
            spans.append((number, number))
        else:
            raise Wrong(_not_a_number(value))
    return spans


def _words(name: _Token, sign: str, value: _Token, of: Callable[[T], str]) -> Test[T]:
    words = value.text.lower()

    def same(thing: T) -> bool:
        said = of(thing).lower()
        return said == words or words in said.split()

    tests: dict[str, Test[T]] = {
        "=": same,
        "!=": lambda thing: not same(thing),
        "~": lambda thing: words in of(thing).lower(),
        "!~": lambda thing: words not in of(thing).lower(),
    }
    if sign not in tests:
        raise Wrong(f'"{sign}" after "{name.text}" at character {name.position} is for numbers; words have = != ~ !~.')
    return tests[sign]


def _not_a_number(value: _Token) -> str:
    return f'"{value.text}" at character {value.position} is not a number; 50, 80%, 3-5, 1,4,8-11 or ? (unknown) are.'


def _quoted(token: _Token) -> str:
    return f'"{token.text}"'
