"""Typed values: they compute like Python's, stay in their range, and survive pickling."""

import math
import pickle
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from unimsg import values
from unimsg.values import Byte, Char, Float, Int, NanoTime, Short, UByte, UInt, ULong, UShort, Vector


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        (Byte, -128, 127),
        (Short, -32768, 32767),
        (Int, -(2**31), 2**31 - 1),
        (UByte, 0, 255),
        (UShort, 0, 65535),
        (UInt, 0, 2**32 - 1),
        (ULong, 0, 2**64 - 1),
    ],
)
def test_ranges(kind: type[int], low: int, high: int) -> None:
    assert (kind(low), kind(high)) == (low, high)
    assert str(kind(high)) == str(high)
    for outside in (low - 1, high + 1):
        with pytest.raises(ValueError, match=kind.__name__):
            kind(outside)
    assert type(pickle.loads(pickle.dumps(kind(1)))) is kind


def test_float_is_rounded_to_32_bits() -> None:
    assert Float(0.1) == 0.10000000149011612
    assert math.isnan(Float(math.nan))
    assert Float(math.inf) == math.inf
    assert math.copysign(1, Float(-0.0)) == -1
    with pytest.raises(ValueError, match="32 bits"):
        Float(1e39)


def test_char_is_one_code_point() -> None:
    assert Char("🚀") == "🚀"
    for bad in ("", "ab"):
        with pytest.raises(ValueError, match="exactly one"):
            Char(bad)


def test_nanotime_counts_from_the_epoch() -> None:
    assert NanoTime(1_500_000_001).datetime == datetime(1970, 1, 1, 0, 0, 1, 500000, tzinfo=UTC)
    assert NanoTime(NanoTime.low).datetime == datetime(1, 1, 1, tzinfo=UTC)
    assert NanoTime(NanoTime.high).datetime == datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    with pytest.raises(ValueError, match="years"):
        NanoTime(NanoTime.high + 1)


def test_vectors_know_the_type_of_their_items() -> None:
    assert Vector([1.0, 2.0]).of == "double"
    assert Vector([Decimal(1)]).of == "decimal"
    assert Vector([Int(1)]).of == "int"
    assert Vector([], of="long") == Vector([], of="long")
    assert Vector([1], of="long") != Vector([1], of="int")
    assert pickle.loads(pickle.dumps(Vector(["a b"]))) == Vector(["a b"])
    for bad in ([], [1, "a"], [object()], [Vector([1])]):
        with pytest.raises(ValueError, match="Vector"):
            Vector(bad)


def test_every_wrapper_has_a_wire_type_of_its_own() -> None:
    types = [wrapper.wire_type for wrapper in values.WRAPPERS]  # type: ignore[attr-defined]
    assert len(set(types)) == len(types)
    assert not set(types) & set(values.NATIVE_TYPES.values())
