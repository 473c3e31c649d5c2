"""What waits in the doors: overflow, leases of silent connections, and event loops in several threads."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest

from unimsg.broker import Broker
from unimsg.destination import Queue, Topic
from unimsg.driver import Driver, Identity, Overflow, Source
from unimsg.errors import ClosedError, ConnectionLostError, IllegalStateError, PartialSendError, SlowConsumerError
from unimsg.registry import make_driver

from .driving import LONG, also, eat, frame, opened, post, settle_all, text_of, texts

Q, T = Queue("q"), Topic("t")


async def test_block_makes_the_publisher_wait_and_nobody_else(url: str) -> None:
    async with opened(url) as driver, opened(url) as other:
        slow = await driver.receiver(Source(T, overflow=Overflow("block", 3)), 10)
        sender = await other.sender(T)
        sending = asyncio.create_task(sender.send([frame(T, str(number)) for number in range(10)]))
        await post(driver, Q, "not held up")
        assert not sending.done()
        got: list[str] = []
        while len(got) < 10:
            got += await eat(slow, 1)
        await sending
        assert got == [str(number) for number in range(10)]
        assert slow.dropped() == 0


async def test_a_blocked_send_that_is_cancelled_or_closed_has_sent_whole_frames(embedded_url: str) -> None:
    # Over a network what was sent cannot be called back: its outcome is unknown.
    async with opened(embedded_url) as driver:
        slow = await driver.receiver(Source(T, overflow=Overflow("block", 2)), 10)
        async with opened(embedded_url) as other:
            sender = await other.sender(T)
            sending = asyncio.create_task(sender.send([frame(T, str(number)) for number in range(5)]))
            await _until(driver, T, 2)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            assert await eat(slow, 2) == ["0", "1"]
            sending = asyncio.create_task(sender.send([frame(T, str(number)) for number in range(5, 9)]))
            await _until(driver, T, 2)
        with pytest.raises(PartialSendError) as caught:
            await sending
        assert sorted(caught.value.failures) == [2, 3]
        assert {type(error) for error in caught.value.failures.values()} == {ClosedError}
        await post(driver, Q, "end")
        assert await eat(slow, 2) == ["5", "6"]
        assert await slow.receive(1, 0) == []


async def _until(driver: Driver, destination: Topic[Any], depth: int) -> None:
    async with asyncio.timeout(LONG):
        while [info.depth for info in await driver.inspect() if info.destination == destination] != [depth]:  # noqa: ASYNC110  (the broker rings no bell for a publisher that blocks)
            await asyncio.sleep(0.001)


async def test_a_blocked_publisher_goes_on_when_the_subscriber_leaves(url: str) -> None:
    async with opened(url) as driver, opened(url) as other:
        slow = await driver.receiver(Source(T, overflow=Overflow("block", 1)), 10)
        sending = asyncio.create_task(post(other, T, "0", "1", "2"))
        await _until(driver, T, 1)
        await slow.close()
        await asyncio.wait_for(sending, LONG)


async def test_a_commit_waits_for_room_too(url: str) -> None:
    async with opened(url) as driver:
        slow = await driver.receiver(Source(T, overflow=Overflow("block", 1)), 10)
        await post(driver, T, "0")
        commit = asyncio.create_task(driver.commit([frame(T, "1"), frame(Q, "with it")], []))
        assert [info.destination for info in await driver.inspect()] == [T]
        assert await eat(slow, 1) == ["0"]
        await asyncio.wait_for(commit, LONG)
        assert await eat(slow, 1) == ["1"]


async def test_drop_drops_the_oldest_and_counts(url: str) -> None:
    async with opened(url) as driver:
        slow = await driver.receiver(Source(T, overflow=Overflow("drop", 3)), 10)
        await post(driver, T, *"0123456789")
        got: list[str] = []
        while got[-1:] != ["9"]:
            got += await eat(slow, 1)
        assert len(got) <= 3, "what was read ahead (the oldest, maybe) and what waits are within the limit together"
        assert got == sorted(got)
        assert slow.dropped() == 10 - len(got)
        await slow.close()
        assert slow.dropped() == 10 - len(got)


async def test_fail_cuts_the_subscription_and_tells_who_waits(url: str) -> None:
    async with opened(url) as driver:
        slow = await driver.receiver(Source(T, overflow=Overflow("fail", 2)), 10)
        waiting = asyncio.create_task(slow.receive(1, LONG))
        await asyncio.sleep(0)
        await post(driver, T, *"01234")
        with pytest.raises(SlowConsumerError):
            found = await waiting  # it may get one before it is cut, if it was quick: then the next call says so
            assert texts(found)
            await post(driver, T, *"56789")
            await slow.receive(1, 0)
        with pytest.raises(SlowConsumerError):
            await slow.receive(1, 0)


class Elsewhere:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)

    def __enter__(self) -> Elsewhere:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def start(self, work: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    async def do(self, work: Any) -> Any:
        return await asyncio.wrap_future(self.start(work))


async def test_event_loops_in_threads_share_a_broker_and_wake_each_other(url: str) -> None:
    async def serve() -> None:
        async with opened(url) as driver:
            receiver, sender = await driver.receiver(Source(Q), 10), await driver.sender(None)
            for _ in range(50):
                (ball,) = await receiver.receive(1, LONG)
                await sender.send([frame(Queue("back"), text_of(ball.frame.data))])
                await settle_all(receiver, [ball])

    with Elsewhere() as elsewhere:
        async with opened(url) as driver:
            receiver, sender = await driver.receiver(Source(Queue("back")), 10), await driver.sender(None)
            serving = elsewhere.start(serve())
            for number in range(50):
                await sender.send([frame(Q, str(number))])
                assert await eat(receiver, 1) == [str(number)]
            await asyncio.wrap_future(serving)


async def test_many_threads_at_once_lose_nothing(url: str) -> None:
    count = 300

    async def publish(start: int) -> None:
        async with opened(url) as driver:
            sender = await driver.sender(Q)
            for number in range(start, start + count, 10):
                await sender.send([frame(Q, str(each)) for each in range(number, number + 10)])

    async def consume(enough: asyncio.Event | threading.Event, into: list[str]) -> None:
        async with opened(url) as driver:
            receiver = await driver.receiver(Source(Q), 10)
            while not enough.is_set():
                found = await receiver.receive(7, 0.05)
                await settle_all(receiver, found)
                into += texts(found)
                if len(into) >= 2 * count:
                    enough.set()

    with Elsewhere() as one, Elsewhere() as two:
        got: list[str] = []
        enough = threading.Event()
        consumers = [each.start(consume(enough, got)) for each in (one, two)]
        await asyncio.gather(publish(0), two.do(publish(count)))
        await asyncio.gather(*map(asyncio.wrap_future, consumers))
        assert sorted(got, key=int) == [str(number) for number in range(2 * count)]


async def test_a_loop_that_stands_still_loses_what_it_holds_and_lives_on(embedded_url: str) -> None:
    stand_still, go_on = threading.Event(), threading.Event()
    with Elsewhere() as elsewhere:
        short = also(embedded_url, "lease=0.3")
        lost: list[BaseException] = []
        driver: Driver = make_driver(short, Identity("sleeper"))

        async def hold() -> tuple[Any, Any]:
            await driver.open(lost.append)
            receiver = await driver.receiver(Source(Q), 1)
            return receiver, await receiver.receive(1, LONG)

        async def block() -> None:
            stand_still.set()
            go_on.wait(LONG)

        async with opened(embedded_url) as other:
            await post(other, Q, "a")
            receiver, held = await elsewhere.do(hold())
            blocked = elsewhere.start(block())
            await asyncio.to_thread(stand_still.wait, LONG)
            mine = await other.receiver(Source(Q), 1)
            (again,) = await mine.receive(1, LONG)
            assert (text_of(again.frame.data), again.count) == ("a", 2)
            go_on.set()
            await asyncio.wrap_future(blocked)
            assert await elsewhere.do(settle_all(receiver, held)) == [held[0].token]
            assert await settle_all(mine, [again]) == []
            await mine.close()
            await post(other, Q, "b")
            assert texts(await elsewhere.do(receiver.receive(1, LONG))) == ["b"]
            assert lost == []
            await elsewhere.do(driver.close())


async def test_a_connection_that_another_replaced_is_lost_and_says_so(embedded_url: str) -> None:
    lost: asyncio.Queue[BaseException] = asyncio.Queue()
    driver: Driver = make_driver(embedded_url, Identity("first", "bank"))
    await driver.open(lost.put_nowait)
    receiver, sender = await driver.receiver(Source(Q), 1), await driver.sender(Q)
    waiting = asyncio.create_task(receiver.receive(1, None))
    await asyncio.sleep(0)
    # The broker gives the connection up, as it does for one that has lapsed when another asks for its client id.
    await driver.run(Broker.disconnect, "first")  # type: ignore[attr-defined]
    with pytest.raises(ConnectionLostError):
        await sender.send([frame(Q, "x")])
    assert isinstance(await asyncio.wait_for(lost.get(), LONG), ConnectionLostError)
    with pytest.raises(ConnectionLostError):
        await waiting
    with pytest.raises(ConnectionLostError):
        await driver.inspect()
    await driver.open(lost.put_nowait)
    await post(driver, Q, "again")
    assert await eat(await driver.receiver(Source(Q), 1), 1) == ["again"]
    await driver.close()
    assert lost.empty(), "told once"


async def test_memory_brokers_are_by_name_and_outlive_their_connections(memory_url: str) -> None:
    async with opened(memory_url) as driver:
        await post(driver, Q, "kept")
    async with opened(f"{memory_url}.other") as driver:
        assert list(await driver.inspect()) == []
    async with opened(memory_url) as driver:
        assert await eat(await driver.receiver(Source(Q), 1), 1) == ["kept"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
async def test_a_forked_child_sees_an_empty_broker_and_cannot_use_the_parents(memory_url: str) -> None:
    async with opened(memory_url) as driver:
        await post(driver, Q, "the parent's")
        reading, writing = os.pipe()
        child = os.fork()
        if not child:  # no event loop, no test machinery: step the coroutines by hand, and leave
            said = "nothing"
            try:
                driver.inspect().send(None)
            except IllegalStateError as error:
                said = "refused" if "fork" in str(error) else f"wrong words: {error}"
            except BaseException as error:  # noqa: BLE001  (a child must say whatever it was)
                said = repr(error)
            fresh = make_driver(memory_url, Identity("child"))
            said += f", {len(fresh.native().store.mailboxes())}"
            os.write(writing, said.encode())
            os._exit(0)
        os.waitpid(child, 0)  # noqa: ASYNC222  (the child runs no loop, and ends at once)
        assert os.read(reading, 1000).decode() == "refused, 0"
        os.close(reading)
        os.close(writing)
        assert len(await driver.inspect()) == 1


async def test_receive_does_not_suspend_when_messages_are_there(memory_url: str) -> None:
    async with opened(memory_url) as driver:
        await post(driver, Q, "a")
        receiver = await driver.receiver(Source(Q), 1)
        coroutine = receiver.receive(1, LONG)
        with pytest.raises(StopIteration) as done:
            coroutine.send(None)
        assert texts(done.value.value) == ["a"]


@pytest.mark.parametrize("timeout", [0, None])
async def test_who_always_finds_something_lets_others_have_their_turn(url: str, timeout: float | None) -> None:
    async with opened(url) as driver:
        await post(driver, Q, *map(str, range(100)))
        receiver = await driver.receiver(Source(Q), 1)
        others_turn = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(others_turn.set_result, None)
        taken = 0
        while not others_turn.done():
            taken += len(await receiver.receive(1, timeout))
        assert taken < 100


async def test_nothing_runs_on_after_close(memory_url: str) -> None:
    before = asyncio.all_tasks()
    async with opened(f"{memory_url}?lease=0.05") as driver:
        await post(driver, Q, "a", deliver_at=time.time() + 0.01)
        receiver = await driver.receiver(Source(Q), 1)
        assert await eat(receiver, 1) == ["a"]
        hub: Any = driver._hub  # type: ignore[attr-defined]
        assert len(hub._alarms) == 1
    assert asyncio.all_tasks() == before
    assert not hub._alarms
