"""Destinations and topic patterns."""

import pickle

import pytest
from pydantic import BaseModel

from unimsg import Destination, InvalidDestinationError, Queue, TemporaryQueue, TemporaryTopic, Topic
from unimsg.destination import parse_destination


class Order(BaseModel):
    symbol: str


@pytest.mark.parametrize("destination", [Queue("a"), Topic("a.b"), TemporaryQueue("x.1"), TemporaryTopic("x.2"), Queue("株 \r\n:queue")])
def test_a_destination_survives_its_text_form(destination: Destination[object]) -> None:
    assert parse_destination(str(destination)) == destination
    assert type(parse_destination(str(destination))) is type(destination)


def test_kind_and_name_are_the_identity_and_the_type_is_not() -> None:
    assert Queue("a") == Queue("a", Order)
    assert hash(Queue("a")) == hash(Queue("a", Order))
    assert Queue("a") != Topic("a")
    assert Queue("a") != TemporaryQueue("a")
    assert pickle.loads(pickle.dumps(Queue("a", Order))).body_type is Order
    assert repr(Queue("a", Order)) == "Queue('a', Order)"


@pytest.mark.parametrize(
    ("pattern", "heard", "unheard"),
    [
        ("a", ["a"], ["a.b", "b"]),
        ("a.*", ["a.b", "a.*"], ["a", "a.b.c", "b.a"]),
        ("a.>", ["a.b", "a.b.c"], ["a", "b.a.c"]),
        ("*.b", ["a.b", "c.b"], ["b", "a.b.b"]),
        ("*.b.>", ["a.b.c", "x.b.c.d"], ["a.b", "b.c"]),
        (">", ["a", "a.b.c"], []),
        ("*", ["a"], ["a.b"]),
        ("a*.b", ["a*.b"], ["ax.b"]),
        ("a.b+.>", ["a.b+.c"], ["a.bb.c"]),
        ("a.\n.*", ["a.\n.\n"], ["a.b.c"]),
    ],
)
def test_patterns(pattern: str, heard: list[str], unheard: list[str]) -> None:
    assert [name for name in heard + unheard if Topic(pattern).matches(name)] == heard


@pytest.mark.parametrize(("pattern", "is_pattern"), [("a.b", False), ("a.*", True), ("a.>", True), ("a*", False), ("*a.b>", False)])
def test_what_is_a_pattern(pattern: str, is_pattern: bool) -> None:
    assert Topic(pattern).is_pattern is is_pattern


@pytest.mark.parametrize("name", ["", "a..b", ".a", "a.", "a.>.b", "x" * 1025, None, 3])
def test_bad_names_are_refused(name: object) -> None:
    with pytest.raises(InvalidDestinationError):
        Topic(name)  # type: ignore[call-overload]


@pytest.mark.parametrize("text", ["", "a", "queue:", "table:x", "topic:a..b"])
def test_bad_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidDestinationError):
        parse_destination(text)


def test_a_destination_is_immutable_and_the_base_is_abstract() -> None:
    queue = Queue("a")
    with pytest.raises(AttributeError):
        queue.name = "b"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del queue.name
    with pytest.raises(InvalidDestinationError, match="abstract"):
        Destination("a")
