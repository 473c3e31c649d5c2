"""Any legal message, for hypothesis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from unimsg.bodies import Field, Fields
from unimsg.values import Byte, Char, Float, Int, NanoTime, Short, UByte, UInt, ULong, UShort, Vector

CHARACTERS = st.characters() | st.characters(categories=["Cs", "Cc"]) | st.sampled_from("\\<>&\"'\r\n\t\ufffe\uffff\ud800\udfffu0]")
TEXTS = st.text(CHARACTERS, max_size=12).map(lambda text: text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass"))
"""Python texts; two surrogates that stand together are one character in every encoding, so they are joined here."""
NAMES = TEXTS.filter(bool)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-11, minutes=-30))])
TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=ZONES)  # noqa: DTZ001  (bounds; hypothesis adds the zone)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=None, min_value=Decimal(-(10**20)), max_value=Decimal(10**20)).filter(
    lambda d: len(format(d, "f")) <= 64
)
INTEGERS = [st.integers(kind.low, kind.high).map(kind) for kind in (Byte, Short, Int, UByte, UShort, UInt, ULong, NanoTime)]
LONGS = st.integers(-(2**63), 2**63 - 1)
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "long": LONGS,
    "double": st.floats(),
    "float": st.floats(width=32).map(Float),
    "string": TEXTS,
    "char": CHARACTERS.map(Char),
    "bytes": st.binary(max_size=20),
    "decimal": DECIMALS,
    "datetime": TIMES,
    "nanotime": INTEGERS[-1],
    "int": INTEGERS[2],
    "unsigned-long": INTEGERS[6],
}
VECTORS = st.sampled_from(sorted(SCALARS)).flatmap(lambda of: st.lists(SCALARS[of], max_size=4).map(lambda items: Vector(items, of=of)))
VALUES = st.one_of(st.none(), *SCALARS.values(), *INTEGERS, VECTORS)
FIELD_IDS = st.none() | st.integers(0, 2**32 - 1)
FIELDS = st.recursive(
    st.lists(st.builds(Field, NAMES, VALUES, FIELD_IDS), max_size=4).map(Fields),
    lambda inner: st.lists(st.builds(Field, NAMES, VALUES | inner, FIELD_IDS), max_size=3).map(Fields),
    max_leaves=4,
)
BODIES: st.SearchStrategy[tuple[str | None, Any]] = st.one_of(
    st.just((None, None)),
    st.tuples(st.just("text"), TEXTS),
    st.tuples(st.just("object"), TEXTS),
    st.tuples(st.just("bytes"), st.binary(max_size=50)),
    st.tuples(st.just("map"), st.dictionaries(NAMES, VALUES, max_size=5)),
    st.tuples(st.just("stream"), st.lists(VALUES, max_size=5)),
    st.tuples(st.just("fields"), FIELDS),
)
PLACES = st.builds(
    lambda kind, levels: f"{kind}:{'.'.join(levels)}",
    st.sampled_from(["queue", "topic", "temporary-queue", "temporary-topic"]),
    st.lists(st.text(CHARACTERS, min_size=1, max_size=5).filter(lambda t: "." not in t and ">" not in t), min_size=1, max_size=3),
).map(lambda text: text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass"))
UTC_TIMES = TIMES.map(lambda time: time.astimezone(UTC))
HEADS = st.fixed_dictionaries(
    {},
    optional={
        "correlation-id": TEXTS,
        "delivery-mode": st.just("non-persistent"),
        "delivery-time": UTC_TIMES,
        "destination": PLACES,
        "expiration": UTC_TIMES,
        "group-id": TEXTS,
        "group-seq": st.integers(-(2**31), 2**31 - 1),
        "id": TEXTS,
        "origin": TEXTS,
        "priority": st.sampled_from([0, 1, 2, 3, 5, 6, 7, 8, 9]),
        "reply-to": PLACES,
        "timestamp": UTC_TIMES,
        "type": TEXTS,
    },
)
MESSAGES = st.tuples(HEADS, st.dictionaries(NAMES, VALUES, max_size=6), BODIES)
