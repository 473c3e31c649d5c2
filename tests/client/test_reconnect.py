"""A connection that breaks: what was not confirmed is sent again, consumers come back, and nothing hangs."""

import asyncio

import pytest

import unimsg
from unimsg import Backoff, Queue, Topic

from .cuttable import connect

QUEUE = Queue("q")


async def test_a_producer_goes_on_after_a_cut(memory_url: str) -> None:
    connection, line = await connect(memory_url)
    async with connection, unimsg.connect(memory_url) as other, other.consumer(QUEUE) as consumer:
        producer = await connection.producer(QUEUE)
        await producer.send(1)
        await line.cut()
        await producer.send(2)
        assert [(await consumer.receive()).body, (await consumer.receive()).body] == [1, 2]
        assert connection.health().reconnects == 1
        await producer.close()


async def test_what_was_submitted_survives_several_cuts_in_order(memory_url: str) -> None:
    connection, line = await connect(memory_url)
    async with connection, unimsg.connect(memory_url) as other, other.consumer(QUEUE) as consumer:
        producer = await connection.producer(QUEUE)

        async def publish() -> None:
            for number in range(5000):
                await producer.submit(number)

        publishing = asyncio.create_task(publish())
        got = []
        for number in range(5000):
            got.append((await consumer.receive()).body)
            if number in (100, 2000, 4000):
                await line.cut()
        await publishing
        await producer.flush()

    # A cut may repeat what was in flight, and never loses or reorders the first arrivals.
    assert list(dict.fromkeys(got)) == list(range(len(set(got))))


async def test_a_lost_confirmation_repeats_the_send_and_the_message_arrives(memory_url: str) -> None:
    connection, line = await connect(memory_url)
    async with connection, unimsg.connect(memory_url) as other, other.consumer(QUEUE) as consumer:
        producer = await connection.producer(QUEUE)
        line.lose_answers = 1
        sent = await producer.send("x")
        own = await producer.send("y", message_id="ID:own")
        line.lose_answers = 1
        await producer.send("z", message_id="ID:own-2")
        await producer.send("end")
        bodies = []
        while (message := await consumer.receive()).body != "end":
            bodies.append((message.message_id, message.body))

    assert (sent.message_id, "x") in bodies
    assert bodies.count((own.message_id, "y")) == 1
    assert bodies.count(("ID:own-2", "z")) == 1  # the broker remembers ids that the user gave


async def test_a_waiting_receive_goes_on_after_a_cut(memory_url: str) -> None:
    connection, line = await connect(memory_url)
    async with connection, unimsg.connect(memory_url) as other, connection.consumer(QUEUE) as consumer:
        waiting = asyncio.create_task(consumer.receive())
        await asyncio.sleep(0)
        await line.cut()
        async with other.producer(QUEUE) as producer:
            await producer.send("after the cut")
        assert (await waiting).body == "after the cut"


async def test_a_live_subscription_is_back_before_anybody_hears_of_it(memory_url: str) -> None:
    connection, line = await connect(memory_url)
    async with connection, unimsg.connect(memory_url) as other, connection.consumer(Topic("t")) as consumer:
        await line.cut()
        await connection.link.up()
        async with other.producer(Topic("t")) as producer:
            await producer.send("heard")
        assert (await consumer.receive()).body == "heard"


async def test_acknowledgements_from_before_the_cut_are_ignored_and_the_messages_come_again(memory_url: str) -> None:
    connection, line = await connect(memory_url)
    async with connection, connection.producer(QUEUE) as producer, connection.consumer(QUEUE, mode="individual") as consumer:
        await producer.send("x")
        before = await consumer.receive()
        await line.cut()
        await connection.link.up()
        await before.acknowledge()
        again = await consumer.receive()
        assert (again.body, again.redelivered) == ("x", True)
        await again.acknowledge()


async def test_a_transaction_that_was_cut_is_rolled_back(memory_url: str) -> None:
    connection, line = await connect(memory_url)
    async with connection, connection.producer(QUEUE) as producer:
        await producer.send("x")
        async with connection.session("transacted") as session, session.consumer(QUEUE) as consumer, session.producer(Queue("out")) as out:
            await consumer.receive()
            await out.send("never")
            await line.cut()
            await connection.link.up()
            with pytest.raises(unimsg.TransactionRolledBackError) as caught:
                await session.commit()
            assert caught.value.retryable
            async with session.transaction():
                assert (await consumer.receive()).redelivered
                await out.send("once")
        async with connection.consumer(Queue("out")) as watcher:
            assert (await watcher.receive()).body == "once"
            assert await watcher.receive(timeout=0) is None


async def test_reconnecting_is_tried_again_until_it_works(memory_url: str) -> None:
    connection, line = await connect(memory_url)
    async with connection, connection.producer(QUEUE) as producer:
        line.refuse_opening = 3
        await line.cut()
        assert connection.health().state == "down"
        await producer.send("x")
        assert connection.health().ok


async def test_giving_up_fails_what_waits_and_nothing_hangs(memory_url: str) -> None:
    connection, line = await connect(memory_url, backoff=Backoff(first=0.01, most=0.01, give_up=0.05))
    producer = await connection.producer(QUEUE)
    consumer = await connection.consumer(QUEUE)
    waiting = asyncio.create_task(consumer.receive())
    await asyncio.sleep(0)
    line.refuse_opening = 10**6
    await line.cut()
    receipt = await producer.submit("x")
    with pytest.raises(unimsg.ConnectionFailedError):
        await receipt
    with pytest.raises(unimsg.ConnectionFailedError):
        await waiting
    with pytest.raises(ConnectionError):  # the built-in one catches it too
        await producer.send("y")
    await connection.close()


async def test_closing_while_it_is_down_does_not_hang(memory_url: str) -> None:
    connection, line = await connect(memory_url)
    producer = await connection.producer(QUEUE)
    line.refuse_opening = 10**6
    await line.cut()
    receipt = await producer.submit("x")
    await connection.close(timeout=0.1)
    with pytest.raises(unimsg.ClosedError):
        await receipt


async def test_temporary_destinations_come_back_with_their_connection(memory_url: str) -> None:
    connection, line = await connect(memory_url)
    async with connection:
        queue = await connection.temporary_queue()
        async with connection.consumer(queue) as consumer, connection.producer(queue) as producer:
            await line.cut()
            await producer.send("still mine")
            assert (await consumer.receive()).body == "still mine"
