"""Several tasks on one consumer, session or connection: nobody waits for ever, and nothing is lost between them."""

import asyncio

import pytest

import unimsg
from unimsg import Connection, Queue, RedeliveryPolicy

from .cuttable import connect

QUEUE, OUT = Queue("q"), Queue("out")

pytestmark = pytest.mark.timeout(20)


async def fill(connection: Connection, *bodies: object) -> None:
    async with connection.producer(QUEUE) as producer:
        for body in bodies:
            await producer.send(body)


async def bodies_until_end(connection: Connection, queue: Queue) -> list[object]:
    async with connection.producer(queue) as producer:
        await producer.send("end")
    got: list[object] = []
    async with connection.consumer(queue) as consumer:
        while (body := (await consumer.receive()).body) != "end":
            got.append(body)
    return got


async def test_a_poll_does_not_wait_for_another_task_s_receive(connection: Connection) -> None:
    async with connection.consumer(QUEUE) as consumer:
        waiting = asyncio.create_task(consumer.receive())
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            assert await consumer.receive(timeout=0) is None  # while the other is still looking
            await asyncio.sleep(0.05)
            assert await consumer.receive(timeout=0) is None  # while the other waits
        await fill(connection, "x")
        assert (await waiting).body == "x"


async def test_a_poll_looks_behind_what_it_sets_aside(connection: Connection) -> None:
    await fill(connection, "spent", "fine")
    once = RedeliveryPolicy(max_deliveries=1)
    async with connection.session("client") as session, session.consumer(QUEUE) as consumer:
        await consumer.receive()  # the end of the session gives it back, delivered once
    async with connection.consumer(QUEUE, prefetch=1, redelivery=once) as consumer:
        message = await consumer.receive(timeout=0)
        assert message is not None
        assert message.body == "fine"


async def test_a_poll_while_the_connection_is_down_returns(memory_url: str) -> None:
    connection, line = await connect(memory_url)
    async with connection.consumer(QUEUE) as consumer:
        line.refuse_opening = 10**6
        await line.cut()
        async with asyncio.timeout(5):
            assert await consumer.receive(timeout=0) is None
    await connection.close(timeout=1)


async def test_closing_a_consumer_ends_a_receive_that_waits_for_the_connection(memory_url: str) -> None:
    connection, line = await connect(memory_url)
    consumer = await connection.consumer(QUEUE)
    line.refuse_opening = 10**6
    await line.cut()
    waiting = asyncio.create_task(consumer.receive())
    await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        await consumer.close()
        with pytest.raises(unimsg.ClosedError):
            await waiting
    await connection.close(timeout=1)


async def test_rollback_wakes_a_receive_that_waits(connection: Connection) -> None:
    await fill(connection, "x")
    async with connection.session("transacted") as session, session.consumer(QUEUE) as consumer:
        await consumer.receive()
        waiting = asyncio.create_task(consumer.receive())
        await asyncio.sleep(0.05)
        await session.rollback()
        async with asyncio.timeout(5):
            assert (await waiting).redelivered
        await session.commit()


async def test_what_is_sent_while_a_cancelled_commit_goes_on_is_in_the_next_one(connection: Connection) -> None:
    await fill(connection, *range(40))
    async with connection.session("transacted") as session, session.consumer(QUEUE) as incoming, session.producer(OUT) as outgoing:
        for number in range(20):
            await incoming.receive()
            await outgoing.send(f"first {number}")
            committing = asyncio.create_task(session.commit())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            committing.cancel()
            await asyncio.gather(committing, return_exceptions=True)
            await incoming.receive()
            await outgoing.send(f"second {number}")
            await session.commit()
    got = await bodies_until_end(connection, OUT)
    assert [body for body in got if str(body).startswith("second")] == [f"second {number}" for number in range(20)]
    assert await bodies_until_end(connection, QUEUE) == []


async def test_a_message_that_was_processed_while_others_are_restored_stays_processed(memory_url: str) -> None:
    connection, line = await connect(memory_url)
    async with connection, unimsg.connect(memory_url) as other:
        first = await connection.consumer(QUEUE, mode="individual")
        await connection.consumer(OUT)
        held, real = asyncio.Event(), line.receiver

        async def receiver(source: object, credit: int) -> object:
            if source.destination == OUT:  # type: ignore[attr-defined]
                await held.wait()
            return await real(source, credit)

        line.receiver = receiver  # type: ignore[method-assign]
        waiting = asyncio.create_task(first.receive())
        await asyncio.sleep(0)
        await line.cut()
        await asyncio.sleep(0.05)
        assert connection.health().state == "down"  # the first is restored, the second not yet
        await fill(other, "x")
        early = asyncio.create_task(first.receive())
        await asyncio.sleep(0.05)
        for task in (waiting, early):
            if task.done():
                await task.result().acknowledge()
        held.set()
        done, _ = await asyncio.wait((waiting, early), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task.result().acknowledge()
        for task in (waiting, early):
            task.cancel()
        await asyncio.gather(waiting, early, return_exceptions=True)
        (info,) = [info for info in await other.inspect() if info.destination == QUEUE]
        assert (info.depth, info.in_flight) == (0, 0)


async def test_a_consumer_closed_during_a_restoration_keeps_nobody_from_being_restored(memory_url: str) -> None:
    connection, line = await connect(memory_url)
    async with connection, unimsg.connect(memory_url) as other:
        one, _two, three = [await connection.consumer(Queue(f"q{number}")) for number in range(3)]
        real = line.receiver
        restored: list[str] = []

        async def receiver(source: object, credit: int) -> object:
            name = source.destination.name  # type: ignore[attr-defined]
            if name == "q0" and not restored:
                closing = asyncio.create_task(one.close())
                await asyncio.sleep(0.05)
                await closing
            restored.append(name)
            return await real(source, credit)

        line.receiver = receiver  # type: ignore[method-assign]
        await line.cut()
        await connection.link.up()
        assert restored == ["q0", "q1", "q2"]
        infos = {info.destination.name: info.consumers for info in await other.inspect()}
        assert infos == {"q0": 0, "q1": 1, "q2": 1}
        assert three.in_hand == 0


async def test_two_closings_at_once_confirm_what_was_submitted(url: str) -> None:
    connection = await unimsg.connect(url)
    producer = await connection.producer(QUEUE)
    receipts = [await producer.submit(number) for number in range(800)]
    await asyncio.gather(connection.close(), connection.close())
    assert [receipt.error() for receipt in receipts] == [None] * 800


async def test_stale_and_expired_are_counted_for_the_connection_not_for_those_that_are_open(memory_url: str) -> None:
    connection, line = await connect(memory_url)
    async with connection, connection.producer(QUEUE) as producer:
        async with connection.consumer(QUEUE) as consumer:
            await producer.send("x")
            await consumer.receive()
            await line.cut()  # before the acknowledgement travelled
            await connection.link.up()
            assert connection.health().stale == 1
        assert connection.health().stale == 1


async def test_a_program_that_ends_with_work_left_ends(url: str) -> None:
    def program() -> None:
        async def publish() -> None:
            async with unimsg.connect(url) as connection, connection.producer(QUEUE) as producer:
                for number in range(100_000):
                    await producer.submit(number)

        async def main() -> None:
            task = asyncio.create_task(publish())
            await asyncio.sleep(0.05)
            assert not task.done()

        asyncio.run(main())

    async with asyncio.timeout(15):
        await asyncio.to_thread(program)
