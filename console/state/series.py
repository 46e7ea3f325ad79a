"""An append-only sequence that can be a field of an immutable value.

A run's curves grow by one point a step; a tuple would be copied whole each time. A `Series` shares its buffer with the
series that it grew from and remembers only its own length, so that an append costs amortised O(1), every older state
stays as it was, and stepping back in time costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Generic, TypeVar, overload

T = TypeVar("T")


class Series(Generic[T]):
    """Immutable to its holders: `append` returns another series."""

    __slots__ = ("_buffer", "_length")

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._buffer = list(items)
        self._length = len(self._buffer)

    def append(self, item: T) -> Series[T]:
        """This series with `item` at its end."""
        grown: Series[T] = Series.__new__(Series)
        buffer, length = self._buffer, self._length
        # Where another series grew from this same one already, the buffer's next slot is taken: copy. The second look
        # is for another thread that took it in between, as a thread that looks back in time may.
        if len(buffer) == length:
            buffer.append(item)
        if len(buffer) == length or buffer[length] is not item:
            buffer = [*buffer[:length], item]
        grown._buffer, grown._length = buffer, length + 1
        return grown

    def shares(self, other: Series[T]) -> bool:
        """True where one of the two grew from the other: they are equal as far as both go."""
        return self._buffer is other._buffer

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        return islice(self._buffer, self._length)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return self._buffer[slice(*index.indices(self._length))] if index.step in (None, 1) else list(self)[index]
        if not -self._length <= index < self._length:
            raise IndexError(f"{index} of {self._length}")
        return self._buffer[index % self._length]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Series) and self[:] == other[:]

    def __hash__(self) -> int:
        return hash((self._length, self._buffer[self._length - 1] if self._length else None))

    def __repr__(self) -> str:
        return f"Series(<{self._length}>)"
