"""The patterns of LIKE as functions, in time linear in the text whatever the pattern.

A pattern is cut at its `%`: the first piece must stand at the beginning, the last at the end, and those between are
found one after the other, each as early as it can be. So nothing is ever tried twice, as a regular expression with
several `.*` would (`'%a%a%a%a%b'`). A piece without `_` is found by `str.find`; one with, by the shift-and algorithm
(Baeza-Yates and Gonnet, 1992): one step of integer arithmetic for each character of the text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import EllipsisType

__all__ = ["matcher"]

Piece = tuple[str | None, ...]
Find = Callable[[str, int], int]


def matcher(pattern: Sequence[str | EllipsisType | None]) -> Callable[[str], bool]:
    """Return the function that tells whether a text is of the pattern (characters, None for `_`, Ellipsis for `%`)."""
    pieces: list[list[str | None]] = [[]]
    for item in pattern:
        if isinstance(item, EllipsisType):
            pieces.append([])
        else:
            pieces[-1].append(item)
    head, tail = tuple(pieces[0]), tuple(pieces[-1])
    middle = [tuple(piece) for piece in pieces[1:-1] if piece]
    if len(pieces) == 1:
        return _whole(head)
    if None not in head and None not in tail:
        return _plain("".join(head), middle, "".join(tail))  # type: ignore[arg-type]
    return _general(head, middle, tail)


def _whole(piece: Piece) -> Callable[[str], bool]:
    if None not in piece:
        return "".join(piece).__eq__  # type: ignore[arg-type]
    length, stands = len(piece), _stands(piece)
    return lambda text: len(text) == length and stands(text, 0)


def _plain(head: str, middle: list[Piece], tail: str) -> Callable[[str], bool]:
    """Match pieces at both ends that have no `_`; the commonest shapes are one call."""
    if not middle:
        if not tail:
            return lambda text: text.startswith(head)
        if not head:
            return lambda text: text.endswith(tail)
    elif len(middle) == 1 and not head and not tail and None not in middle[0]:
        inner = "".join(middle[0])  # type: ignore[arg-type]
        return lambda text: inner in text
    return _general(tuple(head), middle, tuple(tail))


def _general(head: Piece, middle: list[Piece], tail: Piece) -> Callable[[str], bool]:
    begins, ends = _stands(head), _stands(tail)
    finders = [(_finder(piece), len(piece)) for piece in middle]
    shortest = len(head) + len(tail) + sum(length for _, length in finders)

    def matches(text: str) -> bool:
        last = len(text) - len(tail)
        if len(text) < shortest or not begins(text, 0) or not ends(text, last):
            return False
        place = len(head)
        for find, length in finders:
            place = find(text, place)
            if place < 0:
                return False
            place += length
        return place <= last

    return matches


def _stands(piece: Piece) -> Callable[[str, int], bool]:
    """Return the function that tells whether a piece stands at a place of a text that is long enough."""
    if None not in piece:
        plain = "".join(piece)  # type: ignore[arg-type]
        return lambda text, place: text.startswith(plain, place)
    wanted = [(number, character) for number, character in enumerate(piece) if character is not None]
    return lambda text, place: all(text[place + number] == character for number, character in wanted)


def _finder(piece: Piece) -> Find:
    """Return the function that finds a piece at or behind a place of a text: where it begins, or -1."""
    if None not in piece:
        plain = "".join(piece)  # type: ignore[arg-type]
        return lambda text, place: text.find(plain, place)
    anything = sum(1 << number for number, character in enumerate(piece) if character is None)
    masks: dict[str, int] = {}
    for number, character in enumerate(piece):
        if character is not None:
            masks[character] = masks.get(character, anything) | 1 << number
    accept, back = 1 << len(piece) - 1, len(piece) - 1

    def find(text: str, place: int) -> int:
        # Bit n of `state` is set when the n + 1 characters that end here are the first n + 1 of the piece.
        state = 0
        for number in range(place, len(text)):
            state = (state << 1 | 1) & masks.get(text[number], anything)
            if state & accept:
                return number - back
        return -1

    return find
