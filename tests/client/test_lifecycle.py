"""The life of a connection: health, drain, close, requests, and refusals before any I/O."""

import asyncio
import os

import pytest

import unimsg
from unimsg import Connection, Queue, Topic

QUEUE = Queue("q")


async def test_connections_and_all_they_make_may_be_awaited_or_entered(url: str) -> None:
    connection = await unimsg.connect(url)
    producer = await connection.producer(QUEUE)
    session = await connection.session("client")
    browser = await connection.browse(QUEUE)
    await producer.send("x")
    assert [message.body async for message in browser] == ["x"]
    consumer = await connection.consumer(QUEUE)
    assert (await consumer.receive()).body == "x"
    for thing in (browser, session, consumer, producer, connection, connection):
        await thing.close()
    assert connection.health().state == "closed"


async def test_health_counts(connection: Connection) -> None:
    async with connection.producer(QUEUE) as producer, connection.consumer(QUEUE, mode="individual") as consumer:
        await producer.send("x")
        await consumer.receive()
        health = connection.health()
    assert (health.ok, health.state, health.producers, health.consumers, health.in_hand, health.unconfirmed) == (True, "up", 1, 1, 1, 0)


async def test_drain_waits_for_what_is_in_hand_and_gives_the_rest_back(url: str) -> None:
    connection = await unimsg.connect(url)
    async with connection.producer(QUEUE) as producer:
        await producer.send(0)
    consumer = await connection.consumer(QUEUE, mode="individual")
    message = await consumer.receive()
    async with connection.producer(QUEUE) as producer:
        for number in range(1, 10):
            await producer.send(number)
    draining = asyncio.create_task(connection.drain(timeout=20))
    await asyncio.sleep(0)  # its first step is to stop the consumers
    with pytest.raises(unimsg.ClosedError, match="draining"):
        await consumer.receive()
    assert not draining.done()
    await message.acknowledge()
    assert await draining is True
    async with unimsg.connect(url) as later, later.consumer(QUEUE) as rest:
        got = [await rest.receive() for _ in range(9)]
        assert [(m.body, m.delivery_count) for m in got] == [(number, 1) for number in range(1, 10)]


async def test_drain_ends_a_loop_after_the_message_in_hand(url: str) -> None:
    connection = await unimsg.connect(url)
    async with connection.producer(QUEUE) as producer:
        for number in range(5):
            await producer.send(number)
    started = asyncio.Event()
    done: list[object] = []

    async def work() -> None:
        async for message in consumer:
            started.set()
            await asyncio.sleep(0.01)
            done.append(message.body)

    consumer = await connection.consumer(QUEUE)
    working = asyncio.create_task(work())
    await started.wait()
    assert await connection.drain(timeout=20) is True
    await working
    async with unimsg.connect(url) as later, later.consumer(QUEUE) as rest:
        left = []
        while (message := await rest.receive(timeout=0)) is not None:
            left.append(message.body)
    assert done + left == list(range(5))
    assert len(done) >= 1


async def test_a_handler_may_ask_while_it_is_drained(url: str) -> None:
    async with unimsg.connect(url) as server, server.consumer(Queue("ask")) as asked:
        connection = await unimsg.connect(url)
        async with connection.producer(QUEUE) as producer:
            await producer.send("work")
        consumer = await connection.consumer(QUEUE, mode="individual")
        message = await consumer.receive()
        first = asyncio.create_task(connection.request(Queue("ask"), 1))  # opens the queue of the answers
        await server.reply(await asked.receive(), "one")
        assert (await first).body == "one"
        draining = asyncio.create_task(connection.drain(timeout=20))
        await asyncio.sleep(0)
        asking = asyncio.create_task(connection.request(Queue("ask"), 2))
        await server.reply(await asked.receive(), "two")
        assert (await asking).body == "two"
        await message.acknowledge()
        assert await draining is True


async def test_drain_gives_up_after_its_time_out(url: str) -> None:
    connection = await unimsg.connect(url)
    async with connection.producer(QUEUE) as producer:
        await producer.send("held")
    consumer = await connection.consumer(QUEUE, mode="individual")
    await consumer.receive()
    assert await connection.drain(timeout=0.1) is False
    async with unimsg.connect(url) as later, later.consumer(QUEUE) as rest:
        assert (await rest.receive()).delivery_count == 2


async def test_everything_after_close_says_so(url: str) -> None:
    async with unimsg.connect(url) as connection:
        producer = await connection.producer(QUEUE)
        consumer = await connection.consumer(QUEUE)
        session = await connection.session("transacted")
    for call in (
        lambda: producer.send(""),
        lambda: consumer.receive(),
        lambda: consumer.receive(timeout=0),
        session.commit,
        lambda: connection.request(QUEUE, ""),
        connection.temporary_queue,
        connection.inspect,
        lambda: connection.unsubscribe("s"),
    ):
        with pytest.raises(unimsg.ClosedError):
            await call()
    with pytest.raises(unimsg.ClosedError):
        connection.browse(QUEUE)


async def test_a_request_without_a_deadline_ends_with_its_connection(url: str) -> None:
    connection = await unimsg.connect(url)
    asking = asyncio.create_task(connection.request(QUEUE, "?"))
    async with unimsg.connect(url) as other, other.consumer(QUEUE) as consumer:
        await consumer.receive()
        await connection.close()
        with pytest.raises(unimsg.ClosedError):
            await asking


async def test_late_answers_and_strangers_do_not_disturb(connection: Connection) -> None:
    async with connection.consumer(QUEUE) as consumer:
        with pytest.raises(TimeoutError, match=r"queue:q within 0.05 s"):
            await connection.request(QUEUE, "slow", timeout=0.05)
        late = await consumer.receive()
        asking = asyncio.create_task(connection.request(QUEUE, "quick", timeout=10, correlation_id="mine"))
        request = await consumer.receive()
        await connection.reply(late, "too late")
        await connection.reply(request, "in time")
        answer = await asking
    assert (answer.body, answer.correlation_id) == ("in time", "mine")


async def test_reply_needs_somebody_who_waits(connection: Connection) -> None:
    async with connection.producer(QUEUE) as producer, connection.consumer(QUEUE) as consumer:
        await producer.send("no question")
        with pytest.raises(unimsg.InvalidDestinationError, match="reply_to"):
            await connection.reply(await consumer.receive(), "answer")


async def test_a_client_id_has_one_live_connection(url: str) -> None:
    async with unimsg.connect(url, client_id="me"):
        with pytest.raises(unimsg.InvalidClientIDError, match="me"):
            await unimsg.connect(url, client_id="me")
    async with unimsg.connect(url, client_id="me"):
        pass


@pytest.mark.parametrize(
    ("bad", "error", "said"),
    [
        ("nonsense", unimsg.InvalidURLError, "no URL"),
        ("teleport://x", unimsg.BackendNotFoundError, "memory://"),
        ("memory://?leese=3", unimsg.InvalidURLError, "lease"),
        ("memory://?lease=soon", unimsg.InvalidURLError, "seconds"),
        ("memory://?lease=1&lease=2", unimsg.InvalidURLError, "twice"),
        ("sqlite://", unimsg.InvalidURLError, "sqlite:///"),
    ],
)
async def test_bad_urls_are_refused_with_a_way_out(bad: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        await unimsg.connect(bad)


async def test_a_password_in_a_url_is_never_shown() -> None:
    for bad in ("teleport://joe:s3cret@host/x", "memory://joe:s3cret@host/?nope=1", "joe:s3cret@host"):
        with pytest.raises(unimsg.UnimsgError) as caught:
            await unimsg.connect(bad)
        assert "s3cret" not in str(caught.value)


async def test_purge_delete_and_inspect(connection: Connection) -> None:
    async with connection.producer(QUEUE) as producer:
        for number in range(3):
            await producer.send(number)
    (info,) = [info for info in await connection.inspect() if info.destination == QUEUE]
    assert (info.depth, info.in_flight, info.consumers) == (3, 0, 0)
    assert await connection.purge(QUEUE) == 3
    await connection.delete(QUEUE)
    assert QUEUE not in [info.destination for info in await connection.inspect()]
    with pytest.raises(unimsg.InvalidDestinationError):
        await connection.delete(Queue("never made"))
    with pytest.raises(unimsg.InvalidDestinationError):
        await connection.unsubscribe("never made")


async def test_a_connection_is_refused_in_a_forked_child(memory_url: str) -> None:
    async with unimsg.connect(memory_url) as connection:
        connection._pid = os.getpid() + 1  # what the child of a fork would see
        with pytest.raises(unimsg.IllegalStateError, match="fork"):
            await connection.consumer(QUEUE)
        connection._pid = os.getpid()


async def test_browsing_is_for_queues_that_are_ours(connection: Connection, url: str) -> None:
    with pytest.raises(unimsg.InvalidDestinationError):
        connection.browse(Topic("t"))
    with pytest.raises(unimsg.InvalidSelectorError):
        connection.browse(QUEUE, selector="a >")
    async with unimsg.connect(url) as other:
        theirs = await other.temporary_queue()
        with pytest.raises(unimsg.InvalidDestinationError):
            connection.browse(theirs)
