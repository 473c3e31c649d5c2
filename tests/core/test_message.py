"""Messages as users build them: judged by pydantic, immutable, equal by content; and bodies by their look."""

import pickle
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from unimsg import DeliveryMode, Field, Fields, IllegalStateError, Json, Map, Message, MessageFormatError, Queue, Stream, Topic, values, wire
from unimsg.bodies import classify, load_json


class Leg(BaseModel):
    symbol: str
    lots: int


def test_a_message_has_its_headers_under_the_names_of_jms() -> None:
    at = datetime(2026, 11, 23, 12, tzinfo=timezone(timedelta(hours=1)))
    message = Message("b", correlation_id="c", type="t", destination=Topic("d"), reply_to=Queue("r"), priority=9, timestamp=at, group_id="g", group_seq=1)

    assert message.timestamp == at
    assert message.timestamp is not None
    assert message.timestamp.tzinfo is UTC
    assert (message.correlation_id, message.type, message.destination, message.reply_to) == ("c", "t", Topic("d"), Queue("r"))
    assert (message.priority, message.group_id, message.group_seq, message.message_id) == (9, "g", 1, None)
    assert (Message().priority, Message().delivery_mode, Message().body, dict(Message().properties)) == (4, DeliveryMode.PERSISTENT, None, {})


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"priority": 10}, "priority"),
        ({"timestamp": "noon"}, "timestamp"),
        ({"timestamp": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001  (naive on purpose)
        ({"destination": 3}, "destination"),
        ({"delivery_mode": 7}, "delivery_mode"),
        ({"properties": {"a b": 1}}, "a b"),
        ({"properties": "none"}, "properties"),
        ({"body": {"a": object()}}, "body"),
    ],
)
def test_what_cannot_be_is_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(MessageFormatError, match=named):
        Message(**arguments)


def test_a_message_is_immutable_and_equal_by_content() -> None:
    message = Message({"a": 1}, properties={"x": 1, "y": 2})
    with pytest.raises(AttributeError, match="no setter"):
        message.priority = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        message.properties["x"] = 2  # type: ignore[index]
    assert message == Message({"a": 1}, properties={"y": 2, "x": 1})
    assert message != Message({"a": 2}, properties={"x": 1, "y": 2})
    assert pickle.loads(pickle.dumps(message)) == message


def test_changing_what_it_was_built_of_changes_nothing() -> None:
    body, properties = {"a": 1}, {"p": 1}
    message = Message(body, properties=properties)
    body["a"], properties["p"] = 2, 2
    assert (message.payload, dict(message.properties)) == ({"a": 1}, {"p": 1})


def test_a_message_may_be_a_field_of_a_model() -> None:
    class Letter(BaseModel):
        message: Message

    letter = Letter.model_validate({"message": {"body": "hi", "priority": 2, "destination": "queue:q"}})
    assert letter.message == Message("hi", priority=2, destination=Queue("q"))
    assert letter.model_dump()["message"]["body"] == "hi"
    with pytest.raises(ValidationError, match="priority"):
        Letter.model_validate({"message": {"priority": 99}})


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (None, None),
        ("", "text"),
        (b"", "bytes"),
        (bytearray(b"x"), "bytes"),
        ({}, "map"),
        ({"a": 1, "b": Decimal("1.0"), "c": values.Int(1), "d": None}, "map"),
        ({"a": [1]}, "object"),
        ({"a": 2**63}, "object"),
        ({"": 1}, "object"),
        ([], "stream"),
        ([1, "a", b"b"], "stream"),
        ([[1]], "object"),
        ((1, 2), "stream"),
        (42, "object"),
        (True, "object"),
        (1.5, "object"),
        (Leg(symbol="x", lots=1), "object"),
        ([Leg(symbol="x", lots=1)], "object"),
        (Json({"a": 1}), "object"),
        (Map({"a": 1}), "map"),
        (Stream([1]), "stream"),
        (Fields({"a": 1}), "fields"),
    ],
)
def test_a_body_is_what_it_looks_like(body: object, kind: str | None) -> None:
    assert classify(body)[0] == kind


def test_fields_are_ordered_may_repeat_and_nest() -> None:
    fields = Fields([Field("bid", Decimal("101.25"), fid=22), ("leg", Fields({"x": 1})), ("bid", Decimal(1))])
    assert [field.name for field in fields] == ["bid", "leg", "bid"]
    assert fields["bid"] == Decimal("101.25")
    assert fields.get("ask") is None
    assert "leg" in fields
    assert fields.to_dict() == {"bid": Decimal("101.25"), "leg": {"x": 1}}
    assert pickle.loads(pickle.dumps(fields)) == fields


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a":1,"a":2}', "{", "[" * 100_000 + "]" * 100_000])
def test_json_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(MessageFormatError):
        load_json(text)


def test_big_integers_in_json_are_exact() -> None:
    assert load_json(classify(Json({"n": 10**40}))[1]) == {"n": 10**40}


async def test_a_decoded_message_cannot_be_settled() -> None:
    message = wire.decode(wire.encode(Message("x")))
    for call in (message.acknowledge, message.release, message.reject, lambda: message.extend(1)):
        with pytest.raises(IllegalStateError, match="nothing to settle"):
            await call()


def test_reading_a_received_message_badly_touches_neither_repr_nor_equality() -> None:
    message = wire.decode(wire.encode(Message(Json([1]))))
    with pytest.raises(MessageFormatError, match="Leg"):
        message.body_as(Leg)
    assert "object" in repr(message)
    assert message == Message(Json([1]))
    assert pickle.loads(pickle.dumps(message)) == message
