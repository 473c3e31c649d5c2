"""Amending a stanza changes what was asked and nothing else."""

import pytest

from unimsg import Message, WireFormatError, values, wire
from unimsg.wire.amend import amend

STRANGE = (
    b'<message xmlns="jabber:client" type="normal"><envelope xmlns="urn:unimsg:1" xmlns:x="urn:x" expiration="2026-11-23T10:00:00Z" id="ID:1" '
    b'new-header="kept" x:hop="7"><property name="n" type="int"> 007 </property><property name="d" type="double">1.0E16</property>'
    b'<property name="later" type="quaternion">1 2 3 4</property><body type="text">b</body><x:trace>t</x:trace></envelope></message>'
)


def test_only_what_was_asked_is_changed() -> None:
    before = wire.encode(wire.decode(STRANGE))

    after = amend(STRANGE, {"expiration"}, {"why": "a < b", "n": values.Int(1)})

    assert b'expiration="' not in after
    assert after.replace(b'<property name="why" type="string">a &lt; b</property><property name="n" type="int">1</property>', b"") == before.replace(
        b' expiration="2026-11-23T10:00:00Z"', b""
    ).replace(b'<property name="n" type="int"> 007 </property>', b"")
    assert wire.encode(wire.decode(after)) == after
    assert wire.decode(after).properties["why"] == "a < b"


def test_a_plain_message_amended_equals_one_that_was_built_so() -> None:
    message = Message("x", properties={"a": 1}, type="t")
    assert wire.decode(amend(wire.encode(message), (), {"b": "\r"})) == Message("x", properties={"a": 1, "b": "\r"}, type="t")


@pytest.mark.parametrize("data", [b"", b"<message", b'<message xmlns="jabber:client"><envelope xmlns="urn:unimsg:2"/></message>'])
def test_what_is_no_stanza_of_this_version_is_refused(data: bytes) -> None:
    with pytest.raises(WireFormatError):
        amend(data, (), {})
