"""Producers: what is confirmed, what is refused, what a receipt tells, and what closing does."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

import unimsg
from unimsg import Connection, DeliveryMode, Message, Queue, Topic, values


async def test_send_returns_the_message_as_it_was_sent(connection: Connection) -> None:
    before = datetime.now(UTC)
    async with connection.producer(Queue("q")) as producer:
        sent = await producer.send("hello", properties={"n": 1}, type="greeting", priority=7)

    assert sent.message_id is not None
    assert sent.message_id.startswith("ID:")
    assert sent.timestamp is not None
    assert before <= sent.timestamp <= datetime.now(UTC)
    assert (sent.destination, sent.type, sent.priority, sent.body, dict(sent.properties)) == (Queue("q"), "greeting", 7, "hello", {"n": 1})


async def test_what_arrives_equals_what_was_sent(connection: Connection) -> None:
    queue = Queue("q")
    async with connection.producer(queue) as producer, connection.consumer(queue) as consumer:
        sent = await producer.send(
            {"price": Decimal("101.2500"), "at": datetime(2026, 11, 23, tzinfo=UTC), "raw": b"\x00"},
            properties={"int": values.Int(3), "float": values.Float(0.1), "char": values.Char("R"), "none": None},
            correlation_id="c",
            reply_to=Topic("answers"),
            group="g",
            group_seq=2,
            time_to_live=60,
            delivery_mode=DeliveryMode.NON_PERSISTENT,
        )
        received = await consumer.receive(timeout=10)

    assert received == sent
    assert received is not None
    assert [type(value) for value in received.properties.values()] == [values.Int, values.Float, values.Char, type(None)]
    assert (received.group_id, received.group_seq, received.reply_to) == ("g", 2, Topic("answers"))
    assert received.delivery_mode is DeliveryMode.NON_PERSISTENT


async def test_each_message_has_an_id_of_its_own(connection: Connection) -> None:
    async with connection.producer(Queue("q")) as producer:
        receipts = [await producer.submit(number) for number in range(2500)]
        sent = await asyncio.gather(*receipts)

    assert len({message.message_id for message in sent}) == 2500
    assert [receipt.message_id for receipt in receipts] == [message.message_id for message in sent]


async def test_submitted_messages_keep_their_order(connection: Connection) -> None:
    queue = Queue("q")
    async with connection.producer(queue) as producer, connection.consumer(queue) as consumer:
        for number in range(3000):
            await producer.submit(number)
        await producer.flush()
        got = [(await consumer.receive()).body for _ in range(3000)]

    assert got == list(range(3000))


async def test_submit_waits_for_room(connection: Connection) -> None:
    async with connection.producer(Queue("q")) as producer:
        for number in range(5000):
            await producer.submit(number)
            assert producer.unconfirmed <= 1000
        await producer.flush()
        assert producer.unconfirmed == 0


async def test_send_after_submit_is_in_order(connection: Connection) -> None:
    queue = Queue("q")
    async with connection.producer(queue) as producer, connection.consumer(queue) as consumer:
        for number in range(0, 100, 2):
            await producer.submit(number)
            await producer.send(number + 1)
        got = [(await consumer.receive()).body for _ in range(100)]

    assert got == list(range(100))


async def test_a_bound_producer_sends_nowhere_else(connection: Connection) -> None:
    async with connection.producer(Queue("q")) as producer:
        with pytest.raises(unimsg.UnsupportedError, match="bound to queue:q"):
            await producer.send("", to=Queue("other"))
    async with connection.producer() as free:
        with pytest.raises(unimsg.InvalidDestinationError, match="bound to no destination"):
            await free.send("")
        with pytest.raises(unimsg.InvalidDestinationError, match="pattern"):
            await free.send("", to=Topic("a.*"))
    with pytest.raises(unimsg.InvalidDestinationError, match="pattern"):
        await connection.producer(Topic("a.>"))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"priority": 10}, "priority"),
        ({"priority": True}, "priority"),
        ({"time_to_live": -1}, "time_to_live"),
        ({"time_to_live": float("nan")}, "time_to_live"),
        ({"delivery_delay": "soon"}, "delivery_delay"),
        ({"delivery_mode": "often"}, "delivery_mode"),
        ({"type": 3}, "type"),
        ({"message_id": "no-prefix"}, "ID:"),
        ({"group": "g", "group_seq": 0}, "group_seq"),
        ({"properties": {"two words": 1}}, "two words"),
        ({"properties": {"NOT": 1}}, "selector language"),
        ({"properties": {"JMSXGroupID": "g"}}, "group="),
        ({"properties": {"JMSPriority": 1}}, "reserved"),
        ({"properties": {"big": 2**63}}, "64 bits"),
        ({"properties": {"when": datetime(2026, 1, 1)}}, "time zone"),  # noqa: DTZ001  (naive on purpose)
        ({"properties": {"list": [1]}}, "list"),
    ],
)
async def test_bad_options_are_named_and_nothing_is_sent(memory_url: str, options: dict[str, object], named: str) -> None:
    queue = Queue("q")
    async with unimsg.connect(memory_url) as connection, connection.producer(queue) as producer, connection.consumer(queue) as consumer:
        with pytest.raises(unimsg.MessageFormatError, match=named):
            await producer.send("bad", **options)  # type: ignore[arg-type]
        await producer.send("good")
        assert (await consumer.receive()).body == "good"


async def test_an_unknown_option_is_a_type_error_that_lists_the_others(memory_url: str) -> None:
    async with unimsg.connect(memory_url) as connection, connection.producer(Queue("q")) as producer:
        with pytest.raises(TypeError, match=r"prority.*priority"):
            await producer.send("", prority=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"a": {"b": [1, {2}]}}, r"body\.a\.b\[1\]"),
        ({"a": [float("nan")]}, "NaN"),
        ({"legs": [{"price": Decimal(1)}]}, r"body\.legs\[0\]\.price"),
        (unimsg.Map({"deep": {}}), "map"),
        (unimsg.Stream([[1]]), "stream"),
        (object(), "object"),
        ({1: 2}, "keys"),
    ],
)
async def test_bodies_that_cannot_be_carried_say_where(memory_url: str, body: object, place: str) -> None:
    async with unimsg.connect(memory_url) as connection, connection.producer(Queue("q")) as producer:
        with pytest.raises(unimsg.MessageFormatError, match=place):
            await producer.send(body)


async def test_a_message_over_the_limit_is_refused_with_the_limit(memory_url: str) -> None:
    async with unimsg.connect(f"{memory_url}?max_message_bytes=2000") as connection, connection.producer(Queue("q")) as producer:
        await producer.send("x" * 500)
        with pytest.raises(unimsg.MessageTooLargeError, match="2000") as caught:
            await producer.send("x" * 5000)
        assert caught.value.limit == 2000
        assert caught.value.size > 5000


async def test_defaults_of_a_producer_are_overridden_by_the_send(memory_url: str) -> None:
    queue = Queue("q")
    async with unimsg.connect(memory_url) as connection, connection.consumer(queue) as consumer:
        async with connection.producer(queue, priority=8, type="t") as producer:
            await producer.send("one")
            await producer.send("two", priority=1)
        assert [(m.priority, m.type) for m in [await consumer.receive(), await consumer.receive()]] == [(8, "t"), (1, "t")]


async def test_one_s_own_message_id_is_accepted_once(connection: Connection) -> None:
    queue = Queue("q")
    async with connection.producer(queue) as producer, connection.consumer(queue) as consumer:
        for _ in range(3):
            await producer.send("again", message_id="ID:mine-1")
        await producer.send("last")
        assert [(await consumer.receive()).body, (await consumer.receive()).body] == ["again", "last"]


async def test_a_message_that_was_built_keeps_what_its_author_chose(connection: Connection) -> None:
    queue = Queue("q")
    built = Message(
        "b", properties={"p": 1}, priority=9, type="t", correlation_id="c", message_id="ID:built", expiration=datetime.now(UTC) + timedelta(hours=1)
    )
    async with connection.producer(queue) as producer, connection.consumer(queue) as consumer:
        await producer.send(built)
        got = await consumer.receive()

    assert (got.message_id, got.priority, got.type, got.correlation_id, got.expiration, dict(got.properties)) == (
        "ID:built",
        9,
        "t",
        "c",
        built.expiration,
        {"p": 1},
    )


async def test_a_received_message_that_is_sent_on_is_a_new_message_with_the_same_types(connection: Connection) -> None:
    first, second = Queue("first"), Queue("second")
    async with connection.producer() as producer, connection.consumer(first) as one, connection.consumer(second) as two:
        await producer.send({"k": values.Short(1)}, to=first, properties={"p": values.Byte(2)}, priority=6)
        received = await one.receive()
        await producer.send(received, to=second)
        again = await two.receive()

    assert again.message_id != received.message_id
    assert (again.destination, again.priority, again.body, dict(again.properties)) == (second, 6, received.body, dict(received.properties))
    assert type(again.body["k"]) is values.Short
    assert type(again.properties["p"]) is values.Byte


async def test_failures_that_nobody_looked_at_are_raised_on_leaving(memory_url: str) -> None:
    async with unimsg.connect(memory_url) as connection, unimsg.connect(memory_url) as other:
        gone = await other.temporary_queue()
        await other.delete(gone)
        with pytest.raises(ExceptionGroup, match="2 of the submitted") as caught:
            async with connection.producer() as producer:
                await producer.submit("a", to=gone)
                looked_at = await producer.submit("b", to=gone)
                await producer.submit("c", to=gone)
                with pytest.raises(unimsg.InvalidDestinationError):
                    await looked_at
        assert all(isinstance(error, unimsg.InvalidDestinationError) for error in caught.value.exceptions)


async def test_a_closed_producer_says_so(memory_url: str) -> None:
    async with unimsg.connect(memory_url) as connection:
        producer = await connection.producer(Queue("q"))
        await producer.close()
        await producer.close()
        with pytest.raises(unimsg.ClosedError):
            await producer.send("late")
    with pytest.raises(unimsg.ClosedError):
        await connection.producer(Queue("q"))
