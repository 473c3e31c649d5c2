"""publish, listen, request and browse: what goes in comes out, whole, and is acknowledged when it is out."""

import base64
import json
import time

import pytest

from unimsg import wire

from .command import start, unimsg


def test_lines_become_messages_and_come_out_in_order(shared: str) -> None:
    sent = unimsg("publish", "queue:q", url=shared, stdin="first\n\n株 <&>\nwithout an end".encode())
    got = unimsg("listen", "queue:q", "--count", "4", "--timeout", "20", url=shared)

    assert (sent.code, got.code) == (0, 0)
    assert [record["body"] for record in got.records] == ["first", "", "株 <&>", "without an end"]
    assert [record["id"] for record in got.records] == [record["id"] for record in sent.records]


def test_what_was_printed_is_acknowledged(shared: str) -> None:
    unimsg("publish", "queue:q", "a", "b", url=shared)
    assert [record["body"] for record in unimsg("listen", "queue:q", "-n", "1", url=shared).records] == ["a"]
    assert [(record["body"], "delivery_count" in record) for record in unimsg("browse", "queue:q", url=shared).records] == [("b", False)]


@pytest.mark.parametrize("data", [b"a\r\nb\x00\xff\n\n", b"", b"\n", b"x" * 300_000], ids=["binary", "empty", "newline", "large"])
def test_the_whole_input_as_bytes(shared: str, data: bytes) -> None:
    assert unimsg("publish", "queue:q", "--whole", "--format", "bytes", url=shared, stdin=data).code == 0
    (record,) = unimsg("listen", "queue:q", "-n", "1", url=shared).records
    assert (record["body_kind"], base64.b64decode(record["body"])) == ("bytes", data)


def test_a_long_input_arrives_whole_and_in_order(shared: str) -> None:
    lines = [f"{number} {'y' * (number % 300)}" for number in range(3000)]
    sent = unimsg("publish", "queue:q", "--quiet", url=shared, stdin="\n".join(lines).encode())
    got = unimsg("listen", "queue:q", "--count", "3000", "--mode", "client", url=shared)

    assert (sent.code, sent.out) == (0, "")
    assert [record["body"] for record in got.records] == lines
    assert unimsg("browse", "queue:q", url=shared).out == "", "client mode acknowledges all of them at the end"


def test_json_travels_as_it_is_written(shared: str) -> None:
    unimsg("publish", "queue:q", "--format", "json", '{"price": 1.10, "legs": [{"a": 12345678901234567890}]}', url=shared)
    got = unimsg("browse", "queue:q", "--stanza", url=shared)
    assert wire.decode(got.out.encode()).payload == '{"price": 1.10, "legs": [{"a": 12345678901234567890}]}'


def test_headers_and_typed_properties(shared: str) -> None:
    said = [
        "-p",
        "symbol=IBM",
        "-p",
        "lot:int=300",
        "-p",
        "price:decimal=182.310",
        "-p",
        "hot:boolean=true",
        "-p",
        "at:datetime=2026-11-22T14:10:00+01:00",
        "-p",
        "nothing:null=",
    ]
    said += [
        "--type",
        "order",
        "--correlation-id",
        "c-1",
        "--priority",
        "9",
        "--ttl",
        "3600",
        "--group",
        "g",
        "--reply-to",
        "topic:answers",
        "--non-persistent",
        "--message-id",
        "ID:mine",
    ]
    assert unimsg("publish", "queue:q", "buy", *said, url=shared).code == 0

    (record,) = unimsg("browse", "queue:q", url=shared).records
    stanza = unimsg("browse", "queue:q", "--stanza", url=shared).out

    assert record["properties"] == {"symbol": "IBM", "lot": 300, "price": "182.310", "hot": True, "at": "2026-11-22T13:10:00Z", "nothing": None}
    wanted = {
        "id": "ID:mine",
        "type": "order",
        "correlation_id": "c-1",
        "priority": 9,
        "group_id": "g",
        "reply_to": "topic:answers",
        "delivery_mode": "non-persistent",
    }
    assert {name: record.get(name) for name in wanted} == wanted
    assert '<property name="lot" type="int">300</property>' in stanza
    assert '<property name="price" type="decimal">182.310</property>' in stanza


def test_a_delayed_message_is_not_there_yet(shared: str) -> None:
    unimsg("publish", "queue:q", "later", "--delay", "3600", url=shared)
    unimsg("publish", "queue:q", "now", url=shared)
    assert [record["body"] for record in unimsg("browse", "queue:q", url=shared).records] == ["now"]


def test_a_selector_chooses(shared: str) -> None:
    for lots in (1, 2, 3):
        unimsg("publish", "queue:q", f"{lots}", "-p", f"lots:int={lots}", url=shared)
    assert [record["body"] for record in unimsg("listen", "queue:q", "-s", "lots >= 2", "-n", "2", url=shared).records] == ["2", "3"]
    assert [record["body"] for record in unimsg("browse", "queue:q", url=shared).records] == ["1"]


def test_a_stanza_comes_byte_for_byte(shared: str) -> None:
    unimsg("publish", "queue:q", "1 < 2", url=shared)
    got = unimsg("listen", "queue:q", "-n", "1", "--stanza", url=shared)
    assert wire.encode(wire.decode(got.out.encode())) == got.out.removesuffix("\n").encode()


def test_hostile_text_is_harmless(shared: str) -> None:
    """What a stranger wrote must not steer the reader's terminal."""
    unimsg("publish", "queue:q", "--whole", url=shared, stdin="\x1b]0;owned\x07 \x9b31m\u202e".encode())
    for way in ("--json", "--text"):
        said = unimsg("browse", "queue:q", way, url=shared).out
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(said)
        assert "owned" in said


def test_nothing_in_time(shared: str) -> None:
    assert unimsg("listen", "queue:q", "--timeout", "0.1", url=shared) == (1, "", "")
    unimsg("publish", "queue:q", "one", url=shared)
    got = unimsg("listen", "queue:q", "--count", "2", "--timeout", "0.3", url=shared)
    assert (got.code, len(got.records)) == (1, 1)


def test_a_topic_is_heard_from_the_moment_it_says_so(shared: str) -> None:
    listener = start(["listen", "topic:news.>", "--count", "2", "--timeout", "30"], shared)
    deadline = time.monotonic() + 30
    while not any(record["destination"] == "topic:news.>" for record in unimsg("list", url=shared).records):
        assert time.monotonic() < deadline
    unimsg("publish", "topic:other", "not for it", url=shared)
    unimsg("publish", "topic:news.uk", "a", "b", url=shared)
    out, err = listener.communicate(timeout=30)
    assert (listener.returncode, err) == (0, b"")
    assert [json.loads(line)["body"] for line in out.splitlines()] == ["a", "b"]


def test_a_durable_subscription_collects(shared: str) -> None:
    said = ("listen", "topic:news", "--subscription", "ledger", "--durable", "--client-id", "bank")
    assert unimsg(*said, "--timeout", "0.1", url=shared).code == 1
    unimsg("publish", "topic:news", "kept", url=shared)
    assert [record["body"] for record in unimsg(*said, "-n", "1", "-t", "20", url=shared).records] == ["kept"]
    assert unimsg("delete", "--subscription", "ledger", "--client-id", "bank", url=shared).code == 0
    assert unimsg("list", url=shared).records == []


def test_request_and_answer(shared: str) -> None:
    asking = start(["request", "queue:squares", "--format", "json", '{"number": 12}', "--timeout", "30"], shared)
    (question,) = unimsg("listen", "queue:squares", "-n", "1", "-t", "30", url=shared).records
    assert question["body"] == {"number": 12}
    sent = unimsg("publish", question["reply_to"], "144", "--correlation-id", question["id"], url=shared)
    out, err = asking.communicate(timeout=30)
    assert (sent.code, asking.returncode, err) == (0, 0, b"")
    assert json.loads(out)["body"] == "144"


def test_a_request_that_nobody_answers(shared: str) -> None:
    got = unimsg("request", "queue:nobody", "hello?", "--timeout", "0.2", url=shared)
    assert (got.code, got.out) == (1, "")
    assert "no answer from queue:nobody within 0.2 s" in got.err
