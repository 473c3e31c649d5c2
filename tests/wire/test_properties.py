"""What holds for every legal message, and for whatever becomes of its bytes."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree  # type: ignore[import-untyped]

from tests.wire.sameness import same
from tests.wire.strategies import CHARACTERS, MESSAGES, TEXTS
from unimsg import wire
from unimsg.bodies import Fields
from unimsg.errors import WireFormatError
from unimsg.message import Message, ReceivedMessage
from unimsg.values import Float, Int
from unimsg.wire import generic, hot, judge, shape, split, strict
from unimsg.wire.values import TYPE_NAMES

SCHEMAS = Path(wire.__file__).parent / "schema"
RNG = etree.RelaxNG(etree.parse(SCHEMAS / "unimsg-1.rng"))
XSD = etree.XMLSchema(etree.parse(SCHEMAS / "unimsg-1.xsd"))
CALM = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def contents(message: Message[Any]) -> tuple[Any, ...]:
    return dict(message.head), dict(message.properties), message.body_kind, message.payload


def strictly(data: bytes) -> ReceivedMessage[Any]:
    return judge.judge(strict.parse(data), data)


@CALM
@given(MESSAGES)
def test_any_message_survives_every_way(parts: Any) -> None:
    head, properties, (kind, payload) = parts
    data = wire.encode_parts(head, properties, kind, payload)
    expected = (dict(sorted(head.items())), properties, kind, payload)
    for message in (wire.decode(data), strictly(data), wire.decode_element(ET.fromstring(data))):
        assert same(contents(message), expected)
        assert list(message.head) == sorted(message.head)
        assert wire.encode(message) == data
    assert wire.encode(wire.decode(wire.encode_envelope(wire.decode(data)))) == data
    assert wire.encode_parts(*contents(wire.decode(data))) == data


@CALM
@given(MESSAGES)
def test_what_is_written_is_canonical_and_valid(parts: Any) -> None:
    head, properties, (kind, payload) = parts
    data = wire.encode_parts(head, properties, kind, payload)
    element = etree.fromstring(data)
    assert etree.tostring(element, method="c14n", exclusive=True, with_comments=False) == data
    assert ET.canonicalize(data.decode()).encode() == data
    assert RNG.validate(element), RNG.error_log
    assert XSD.validate(etree.fromstring(wire.encode_envelope(wire.decode(data)))), XSD.error_log


@CALM
@given(MESSAGES)
def test_code_made_for_a_shape_writes_and_reads_the_same(parts: Any) -> None:
    head, properties, (kind, payload) = parts
    rows = payload.items() if kind == "map" else [(name, value) for name, value, _ in payload] if kind == "fields" else []
    fids = [fid for _, _, fid in payload] if kind == "fields" else [None] * len(rows)
    plain = {f"p{number}": value for number, value in enumerate(properties.values())}
    names = [f"r{number}" for number in range(len(rows))]
    if kind == "map":
        payload = dict(zip(names, payload.values(), strict=True))
    elif kind == "fields":
        payload = Fields(list(zip(names, [value for _, value in rows], fids, strict=True)))
    made = shape.Shape(
        tuple(head),
        tuple(shape.Row(name, TYPE_NAMES.get(type(value), "")) for name, value in plain.items()),
        kind,
        tuple(shape.Row(name, TYPE_NAMES.get(type(value), ""), fid) for name, (_, value), fid in zip(names, rows, fids, strict=True)),
    )
    expected = generic.write(head, plain, kind, payload)
    if not shape.fits(made):
        return
    values = payload.values() if kind == "map" else [value for _, value, _ in payload] if kind == "fields" else payload
    kinds = [type(value) for value in (*properties.values(), *(value for _, value in rows))]
    try:
        written = shape.make_writer(made, kinds)(head, plain, values)
    except hot._UNFIT:
        pass
    else:
        assert written == expected
    found = shape.ShapeReader(made).read(expected.decode(), expected)
    if found is not None:
        assert same(contents(found), contents(strictly(expected)))


@CALM
@given(MESSAGES, st.data())
def test_mutants_are_refused_or_mean_what_the_judge_says(parts: Any, data: st.DataObject) -> None:
    head, properties, (kind, payload) = parts
    stanza = wire.encode_parts(head, properties, kind, payload)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(stanza)))
        piece = data.draw(
            st.binary(max_size=2)
            | CHARACTERS.map(lambda text: text.encode("utf-8", "surrogatepass"))
            | st.sampled_from([b"&lt;", b"&#13;", b"<", b">", b'"', b"<a/>"])
        )
        stanza = stanza[:at] + piece + stanza[at + data.draw(st.integers(0, 3)) :]
    try:
        expected = strictly(stanza)
    except WireFormatError:
        with pytest.raises(WireFormatError, match=r"\w"):
            wire.decode(stanza)
        return
    message = wire.decode(stanza)
    canonical = wire.encode(expected)
    assert wire.encode(message) == canonical
    if expected.wire[0] is judge.TREES:
        assert wire.encode(wire.decode(canonical)) == canonical
    outcome = []
    for one in (message, expected):
        try:
            outcome.append(contents(one))
        except WireFormatError:
            outcome.append(("unreadable",))
    assert same(*outcome)


@CALM
@given(TEXTS)
def test_a_split_message_is_what_the_judge_says(text: str) -> None:
    data = wire.encode_parts({"id": "ID:1"}, {"a": text, "b": 1}, "map", {"c": text, "d": Float(0.1)})
    message = split.split(data.decode(), data)
    if message is not None:
        assert same(contents(message), contents(strictly(data)))


@CALM
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float_has_the_fewest_digits_that_read_back(number: float) -> None:
    from unimsg.wire.lexical import READERS, WRITERS

    text = WRITERS["float"](Float(number))
    assert same(READERS["float"](text), Float(number))
    digits = len(Decimal(text).normalize().as_tuple().digits) if number else 1
    if digits > 1:
        assert float(Float(float(f"{number:.{digits - 2}e}"))) != number or abs(number) > 3.4e38


def test_types_survive_a_second_journey() -> None:
    data = wire.encode_parts({}, {"i": Int(3)}, None, None)
    again = wire.encode_parts({}, dict(wire.decode(data).properties), None, None)
    assert again == data
