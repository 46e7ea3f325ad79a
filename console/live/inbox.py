"""Orders to the console that drives a run, from another process of the same user.

An order is a small file in the run directory, which only its owner can enter. It appears complete under its name. The
driving console takes it by reading and removing it, and answers with a file beside it. So an order is carried out once
or not at all: the process that gave it takes it back where no console took it, and an order that is too old is refused.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

FOLDER: Final = "orders"
STALE_S: Final = 60.0
"""The process that gave an older order has gone without taking it back."""
_LOOK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Order:
    """A command to the run."""

    id: str
    command: str
    arguments: dict[str, Any] = field(default_factory=dict)
    given_t: float = 0.0
    """Epoch seconds."""


class NoAnswer(Exception):
    """The console that drives the run did not answer in time."""

    def __init__(self, *, taken: bool) -> None:
        """`taken`: the console has the order, and what became of it is unknown; else the order was taken back."""
        super().__init__("the order was taken and not answered" if taken else "the order was not taken")
        self.taken = taken


def give(
    run_directory: Path, command: str, arguments: dict[str, Any], *, patience_s: float, answer_s: float = 30.0
) -> str:
    """Gives an order and waits for its answer: why it was refused, or an empty text.

    The order must be taken within `patience_s` seconds, and then answered within `answer_s`.

    Raises:
        NoAnswer: the console hangs, or is gone.
        OSError: the directory cannot be written.
    """
    folder = run_directory / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    name = secrets.token_hex(6)
    waiting, answered = folder / f"{name}.json", folder / f"{name}.answer"
    _write(waiting, {"command": command, "arguments": arguments, "t": time.time()})
    began = time.monotonic()
    try:
        while not answered.exists():
            time.sleep(_LOOK_S)
            waited_s = time.monotonic() - began
            if waited_s > patience_s and _remove(waiting):
                raise NoAnswer(taken=False)
            if waited_s > patience_s + answer_s:
                raise NoAnswer(taken=True)
        return str(json.loads(answered.read_text()).get("refusal", ""))
    finally:
        # Also where we were interrupted: no console may find the order later.
        _remove(waiting)
        _remove(answered)


def take(run_directory: Path) -> list[Order]:
    """The waiting orders, the oldest first. A damaged or old one is refused here."""
    folder = run_directory / FOLDER
    try:
        waiting = sorted((path for path in folder.iterdir() if path.suffix == ".json"), key=lambda path: path.name)
    except OSError:
        return []
    taken = []
    for path in waiting:
        try:
            values = json.loads(path.read_text())
            order = Order(path.stem, str(values["command"]), dict(values["arguments"]), float(values["t"]))
        except OSError:
            # Taken back at this moment.
            continue
        except (ValueError, KeyError, TypeError):
            order = Order(path.stem, "")
        if not _remove(path):
            continue
        if not order.command or time.time() - order.given_t > STALE_S:
            answer(run_directory, order, "the order is damaged, or too old")
        else:
            taken.append(order)
    return sorted(taken, key=lambda order: order.given_t)


def answer(run_directory: Path, order: Order, refusal: str) -> None:
    """Answers that the order is carried out, or why not (`refusal`)."""
    try:
        _write(run_directory / FOLDER / f"{order.id}.answer", {"refusal": refusal})
    except OSError:
        # It was carried out all the same; the journal says so.
        pass


def _write(path: Path, value: dict[str, Any]) -> None:
    beside = path.with_suffix(f"{path.suffix}.part")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(value, file)
    beside.replace(path)


def _remove(path: Path) -> bool:
    """True if it was there and is gone."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
