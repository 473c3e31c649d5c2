"""What a stranger may try: each is a clear error, quickly, and costs no more memory than it must."""

from __future__ import annotations

import base64
import zlib
from datetime import datetime
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from unimsg import wire
from unimsg.bodies import Fields
from unimsg.errors import MessageFormatError, MessageTooLargeError, WireFormatError
from unimsg.values import Vector
from unimsg.wire import hot

EMPTY = wire.encode_parts({}, {}, None, None)


def batch(packed: bytes, count: str = "1", encoding: str = "zlib") -> bytes:
    return f'<batch xmlns="urn:unimsg:1" count="{count}" encoding="{encoding}">{base64.b64encode(packed).decode()}</batch>'.encode()


def test_a_batch_keeps_frames_order_and_bytes() -> None:
    frames = [wire.encode_parts({"id": f"ID:{number}"}, {"n": number}, "text", "</envelope>\n") for number in range(25)]
    later = b'<message xmlns="jabber:client"><envelope xmlns="urn:unimsg:2"/></message>'
    packed = wire.encode_batch([*frames, later])
    assert len(packed) < sum(map(len, frames)) / 3
    assert wire.decode_batch(packed) == [*frames, later]
    assert wire.decode_batch_element(ET.fromstring(packed)) == [*frames, later]


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (batch(zlib.compress(bytes(wire.MAX_BATCH + 1))), "more than 16777216 bytes"),
        (batch(zlib.compress(bytes(1))), "no length at byte 0"),
        (batch(b"junk"), "no zlib stream"),
        (batch(zlib.compress(b"1:x,")[:-1]), "ends too soon"),
        (batch(zlib.compress(b"1:x,") + b"y"), "follow"),
        (batch(zlib.compress(b"2:x,")), "does not end where it says"),
        (batch(zlib.compress(b"9999999:x,")), "does not end where it says"),
        (batch(zlib.compress(b"01:x,")), "no length"),
        (batch(zlib.compress(b"1:x,1:y,")), "count='1' and holds 2"),
        (batch(zlib.compress(b"1:x," * 10_001), "10000"), "more than 10000"),
        (batch(zlib.compress(b"1:x,"), "0"), "its count"),
        (batch(zlib.compress(b"1:x,"), "10001"), "its count"),
        (batch(zlib.compress(b"1:x,"), "1", "gzip"), "encoding='zlib'"),
        (b'<batch xmlns="urn:unimsg:1" count="1" encoding="zlib">*</batch>', "no base64"),
        (b'<batch xmlns="urn:unimsg:1" count="1" encoding="zlib"><x/></batch>', "not elements"),
        (EMPTY, "not <batch"),
    ],
)
def test_bad_batches_are_refused(data: bytes, cause: str) -> None:
    with pytest.raises(WireFormatError, match=cause):
        wire.decode_batch(data)


def test_batches_that_cannot_be_are_not_written() -> None:
    for frames in ([], [EMPTY] * (wire.MAX_BATCH_COUNT + 1), [b""]):
        with pytest.raises(MessageFormatError):
            wire.encode_batch(frames)
    with pytest.raises(MessageTooLargeError):
        wire.encode_batch([bytes(wire.MAX_BATCH // 2)] * 3)


def test_size_limits_hold_both_ways() -> None:
    room = wire.MAX_STANZA - len(wire.encode_parts({}, {}, "text", ""))
    largest = wire.encode_parts({}, {}, "text", "x" * room)
    assert len(largest) == wire.MAX_STANZA
    assert len(wire.decode(largest).body) == room
    with pytest.raises(MessageTooLargeError) as error:
        wire.encode_parts({}, {}, "text", "x" * (room + 1))
    assert (error.value.size, error.value.limit) == (wire.MAX_STANZA + 1, wire.MAX_STANZA)
    with pytest.raises(WireFormatError, match="at most 16777216"):
        wire.decode(largest.replace(b"x", b"xx", 1))


def nested(levels: int) -> Fields:
    fields = Fields({"x": 1})
    for _ in range(levels):
        fields = Fields({"f": fields})
    return fields


class Odd:
    def __repr__(self) -> str:
        return "Odd()"


@pytest.mark.parametrize(
    ("head", "properties", "body", "place"),
    [
        ({"priority": 10}, {}, None, "header priority"),
        ({"id": 5}, {}, None, "header id"),
        ({"timestamp": "now"}, {}, None, "header timestamp"),
        ({"timestamp": datetime(2026, 1, 1)}, {}, None, "time zone"),  # noqa: DTZ001  (that is the point)
        ({"destination": "exchange:x"}, {}, None, "header destination"),
        ({"colour": "red"}, {}, None, "no header 'colour'"),
        ({"type": "x" * 65_537}, {}, None, "header type"),
        ({}, {"": 1}, None, "a name is a text"),
        ({}, {"n" * 1025: 1}, None, "a name is a text"),
        ({}, {"p": 2**63}, None, "property 'p'"),
        ({}, {"p": Odd()}, None, "property 'p' = Odd"),
        ({}, {"p": Decimal("NaN")}, None, "property 'p'"),
        ({}, {"p": Decimal("1E+64")}, None, "64 characters"),
        ({}, {"p": Decimal("1E-999999")}, None, "64 characters"),
        ({}, {"p": datetime(2026, 1, 1)}, None, "time zone"),  # noqa: DTZ001
        ({}, {"p": Fields()}, None, "only fields hold fields"),
        ({}, {"p": Vector([1, "x"], of="long")}, None, r"property 'p'\[1\]"),
        ({}, {"p": Vector([True], of="long")}, None, "of long"),
        ({}, {"p": Vector([300], of="byte")}, None, r"property 'p'\[0\]"),
        ({}, {"p": Vector([], of="fields")}, None, "a vector is of one of"),
        ({}, {}, ("map", {"k": Odd()}), r"body\['k'\]"),
        ({}, {}, ("stream", [1, Odd()]), r"body\[1\]"),
        ({}, {}, ("fields", Fields({"a": Fields({"b": Odd()})})), r"body\['a'\]\['b'\]"),
        ({}, {}, ("fields", Fields([("a", 1, -1)])), "fid"),
        ({}, {}, ("fields", nested(13)), "nested too deeply"),
        ({}, {}, ("stream", [None] * 9998), "10000 elements"),
        ({}, {}, ("text", 5), "body = 5"),
        ({}, {}, ("bytes", "x"), "body = 'x'"),
        ({}, {}, ("table", None), "kind 'table'"),
    ],
)
def test_what_cannot_be_carried_is_refused_with_its_place(head: dict[str, Any], properties: dict[str, Any], body: Any, place: str) -> None:
    kind, payload = body or (None, None)
    for _ in range(hot.WRITE_AFTER + 2 if kind != "stream" else 1):  # also once the shape has code of its own
        with pytest.raises(MessageFormatError, match=place):
            wire.encode_parts(head, properties, kind, payload)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_opening_tag_that_lost_its_end_is_refused(number: int) -> None:
    names = {f"p{place}": place for place in (1, 2, 3)}
    for data in (wire.encode_parts({}, names, None, None), wire.encode_parts({}, {}, "map", names)):
        wire.decode(data)  # the tags are known by now
        with pytest.raises(WireFormatError):
            wire.decode(data.replace(b'type="long">%d<' % number, b'type="long"<'))


def test_a_header_that_lost_its_end_is_refused() -> None:
    data = wire.encode_parts({"id": "", "type": ""}, {}, None, None)
    wire.decode(data)  # the names are known by now
    with pytest.raises(WireFormatError):
        wire.decode(data.replace(b'type="">', b'type=">'))


def test_a_header_may_start_with_the_end_of_a_tag() -> None:
    for head in ({"id": ">"}, {"id": "", "type": ">"}, {"id": ">", "type": ">"}):
        assert dict(wire.decode(wire.encode_parts(head, {"a": 1}, "text", "")).head) == head


def test_true_is_no_field_id_though_it_equals_1() -> None:
    hot.forget()
    for _ in range(hot.WRITE_AFTER + 2):
        wire.encode_parts({}, {}, "fields", Fields([("a", 5, 1)]))
    with pytest.raises(MessageFormatError, match="fid"):
        wire.encode_parts({}, {}, "fields", Fields([("a", 5, True)]))


def test_one_unreadable_property_leaves_the_others_readable() -> None:
    data = b'<envelope xmlns="urn:unimsg:1" id="ID:1"><property name="a" type="long">1_0</property>'
    data += b'<property name="b" type="long">2</property><body type="text">t</body></envelope>'
    message = wire.decode(data)
    assert (message.message_id, message.body, message.properties["b"], list(message.properties)) == ("ID:1", "t", 2, ["a", "b"])
    with pytest.raises(WireFormatError, match="property 'a' = '1_0' is no long"):
        message.properties["a"]
    assert "unreadable" in repr(message)
    assert wire.encode_envelope(message) == data


def test_a_later_version_is_a_foreign_message() -> None:
    data = b"<message xmlns='jabber:client'><envelope xmlns='urn:unimsg:3' id='x'/></message>"
    message = wire.decode(data)
    assert (dict(message.head), dict(message.properties), message.body_kind, message.body) == ({}, {"JMS_unimsg_foreign": "urn:unimsg:3"}, "bytes", data)
    assert wire.encode(message) == data
    with pytest.raises(MessageFormatError, match="urn:unimsg:3"):
        wire.encode_envelope(message)
    element = wire.decode_element(ET.fromstring(data))
    assert dict(wire.decode(element.body).properties) == dict(message.properties)


def test_elements_that_no_parser_gave_are_refused() -> None:
    def element(tag: Any, text: str | None = None, **attrib: str) -> Any:
        node = ET.Element("{urn:unimsg:1}envelope")
        child = ET.SubElement(node, "{urn:x}y", attrib)
        child.tag, child.text = tag, text
        return node

    for hostile in (
        element("{urn:x}y", "\0"),
        element("{urn:x}y", a="\ud800"),
        element("{urn:x}a b"),
        element("{urn:x}a><b"),
        element(ET.Comment),
        element("{urn:x}y", **{'a="1" b': "2"}),
    ):
        with pytest.raises(WireFormatError):
            wire.decode_element(hostile)
    deep = root = ET.Element("{urn:unimsg:1}envelope")
    for _ in range(20):
        deep = ET.SubElement(deep, "{urn:x}y")
    with pytest.raises(WireFormatError, match="nested more than 16"):
        wire.decode_element(root)
    wide = ET.Element("{urn:unimsg:1}envelope")
    wide.extend([ET.Element("{urn:x}y") for _ in range(wire.MAX_ELEMENTS + 1)])
    with pytest.raises(WireFormatError, match="more than 10000 elements"):
        wire.decode_element(wide)


def test_caches_are_bounded_whoever_sends_what() -> None:
    hot.forget()
    for number in range(hot.MAX_WRITERS + 50):
        wire.decode(wire.encode_parts({}, {f"p{number}": 1}, None, None))
    assert len(hot._writers) <= hot.MAX_WRITERS
    assert len(hot._samples) <= hot.MAX_WRITERS
    for number in range(hot.MAX_READERS + 2):
        data = wire.encode_parts({}, {f"q{number}": 1}, None, None)
        for _ in range(hot.SAMPLE * (hot.READ_AFTER + 1)):
            wire.decode(data)
    assert len(hot._readers) == hot.MAX_READERS
