"""The object: identity, names, limits of what it holds, and the three views of a message."""

from __future__ import annotations

import copy
import pickle
import re
from collections import ChainMap
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import pytest

from unimsg.destination import Queue
from unimsg.driver import Route
from unimsg.errors import InvalidSelectorError, UnimsgError
from unimsg.headers import DeliveryMode
from unimsg.message import Message
from unimsg.selector import Selector, compile_selector
from unimsg.selector.selector import program_of


def test_equal_hashed_shown_and_pickled_by_text() -> None:
    one, two = Selector("a = 1"), Selector("a = 1")
    assert one == two
    assert hash(one) == hash(two)
    assert len({one, two, Selector("a  = 1")}) == 2
    assert one != Selector("a = 2")
    assert one != "a = 1"
    assert repr(one) == "Selector('a = 1')"
    assert str(one) == one.text == "a = 1"
    assert pickle.loads(pickle.dumps(one)) == one
    assert pickle.loads(pickle.dumps(one)).matches({"a": 1})
    assert copy.deepcopy(one) == one


def test_immutable() -> None:
    selector = Selector("a = 1")
    with pytest.raises(AttributeError, match="immutable"):
        selector.text = "b = 1"
    with pytest.raises(AttributeError, match="immutable"):
        del selector.text


def test_names_are_the_identifiers() -> None:
    assert Selector("a = 1 AND (b LIKE 'c' OR JMSType IN ('d') OR a IS NULL) AND TRUE").names == {"a", "b", "JMSType"}
    assert Selector("1 = 1").names == frozenset()


def test_a_text_is_parsed_once() -> None:
    text = "once = 1"
    Selector(text)
    before = program_of.cache_info()
    Selector(text)
    after = program_of.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)


def test_the_errors_of_a_text_are_new_each_time() -> None:
    errors = []
    for _ in range(2):
        with pytest.raises(InvalidSelectorError) as caught:
            Selector("a =")
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert isinstance(errors[0], UnimsgError)
    assert pickle.loads(pickle.dumps(errors[0])).position == 3


@pytest.mark.parametrize("blank", [None, "", " ", " \t\r\n\f"])
def test_none_and_blank_are_no_selector(blank: str | None) -> None:
    assert compile_selector(blank) is None


def test_compile_selector_compiles_or_refuses() -> None:
    assert compile_selector("a = 1") == Selector("a = 1")
    selector = Selector("b")
    assert compile_selector(selector) is selector
    with pytest.raises(InvalidSelectorError):
        compile_selector("a =")
    with pytest.raises(InvalidSelectorError, match="text"):
        compile_selector(5)  # type: ignore[arg-type]


def test_any_mapping_will_do() -> None:
    selector = Selector("a = 1 AND b IS NULL")
    for mapping in ({"a": 1}, MappingProxyType({"a": 1}), ChainMap({}, {"a": 1, "b": None})):
        assert selector.matches(mapping)
        assert selector.evaluate(mapping) is True


def test_of_an_and_only_what_decides_is_looked_up() -> None:
    class Watched(dict[str, Any]):
        def get(self, name: str, default: Any = None) -> Any:
            seen.append(name)
            return super().get(name, default)

    seen: list[str] = []
    assert not Selector("a = 1 AND b = 2").matches(Watched(a=0, b=2))
    assert seen == ["a"]


SENT = datetime(2026, 11, 23, 20, 0, 0, 123_999, tzinfo=UTC)
MESSAGE: Message[Any] = Message(
    "x",
    message_id="ID:1",
    correlation_id="c-1",
    type="order",
    priority=7,
    delivery_mode=DeliveryMode.NON_PERSISTENT,
    timestamp=SENT,
    group_id="g",
    group_seq=3,
    properties={"price": 101, "venue": "LSE"},
)
ROUTE = Route(
    Queue("q"),
    message_id="ID:1",
    correlation_id="c-1",
    type="order",
    timestamp=SENT.timestamp(),
    persistent=False,
    group="g",
    group_seq=3,
    priority=7,
    properties={"price": 101, "venue": "LSE"},
)
MILLISECONDS = 1_795_464_000_123

VIEWED = [
    ("JMSDeliveryMode = 'NON_PERSISTENT'", True),
    ("JMSDeliveryMode = 'PERSISTENT'", False),
    ("JMSPriority = 7", True),
    ("JMSPriority > 4 AND JMSPriority <> 8", True),
    ("JMSMessageID = 'ID:1'", True),
    ("JMSMessageID IS NULL", False),
    (f"JMSTimestamp = {MILLISECONDS}", True),
    (f"JMSTimestamp > {MILLISECONDS}", False),
    ("JMSCorrelationID LIKE 'c-_'", True),
    ("JMSType IN ('order', 'quote')", True),
    ("NOT JMSType IN ('order')", False),
    ("JMSXGroupID = 'g' AND JMSXGroupSeq = 3", True),
    ("price > 100 AND venue = 'LSE'", True),
    ("price > 100 AND JMSType = 'quote'", False),
    ("absent IS NULL AND JMSXOther IS NULL", True),
    ("absent = 1 OR NOT (absent = 1)", False),
]


@pytest.mark.parametrize(("text", "expected"), VIEWED)
def test_headers_and_properties_of_messages_and_routes(text: str, expected: bool) -> None:
    selector = Selector(text)
    assert selector.matches_message(MESSAGE) is expected
    assert selector.matches_route(ROUTE) is expected


@pytest.mark.parametrize(
    "text",
    [
        "JMSDeliveryMode = 'PERSISTENT'",
        "JMSPriority = 4",
        "JMSMessageID IS NULL AND JMSTimestamp IS NULL AND JMSCorrelationID IS NULL AND JMSType IS NULL",
        "JMSXGroupID IS NULL AND JMSXGroupSeq IS NULL",
        "price IS NULL",
    ],
)
def test_defaults_of_headers_that_are_not_set(text: str) -> None:
    assert Selector(text).matches_message(Message("x"))
    assert Selector(text).matches_route(Route(Queue("q")))


def test_a_header_of_a_mapping_is_just_a_name() -> None:
    assert Selector("JMSType = 'order'").matches({"JMSType": "order"})
    assert Selector("JMSPriority IS NULL").matches({})


def test_a_property_called_like_a_header_on_the_wire_is_no_header() -> None:
    route = Route(Queue("q"), properties={"type": "x", "JMSType": "y"}, type="order")
    assert Selector("type = 'x' AND JMSType = 'order'").matches_route(route)


@pytest.mark.parametrize("microseconds", [0, 1, 999, 1000, 123_456, 999_999, 1_005_000])
@pytest.mark.parametrize("day", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC), datetime(2199, 12, 31, tzinfo=UTC)])
def test_timestamps_are_whole_milliseconds_in_both_views(day: datetime, microseconds: int) -> None:
    moment = day + timedelta(microseconds=microseconds)
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    selector = Selector(f"JMSTimestamp = {expected}")
    assert selector.matches_message(Message("x", timestamp=moment))
    assert selector.matches_route(Route(Queue("q"), timestamp=moment.timestamp()))


class Unread(Mapping[str, Any]):
    """Properties that must not be read."""

    def fail(self, *_: object) -> NoReturn:
        raise AssertionError("read")

    __getitem__ = fail
    __len__ = fail
    get = fail

    def __iter__(self) -> Iterator[str]:
        self.fail()


def test_properties_are_read_only_where_one_is_named() -> None:
    route = Route(Queue("q"), type="order", properties=Unread())
    assert Selector("JMSType = 'order' AND JMSPriority = 4").matches_route(route)
    with pytest.raises(AssertionError, match="read"):
        Selector("JMSType = 'order' AND price = 4").matches_route(route)


def test_the_examples_of_the_document_are_selectors() -> None:
    document = (Path(__file__).parents[2] / "docs" / "selectors.md").read_text(encoding="utf-8")
    table = document.split("## By examples")[1].split("##")[0]
    examples = re.findall(r"^\| `(.+?)` \|", table, flags=re.MULTILINE)
    assert len(examples) > 10
    for example in examples:
        assert Selector(example).names
