"""Every clause of `unimsg/driver.py`, held against the embedded doors."""

from __future__ import annotations

import asyncio
import time

import pytest

from unimsg.capabilities import FEATURES
from unimsg.destination import Queue, TemporaryQueue, TemporaryTopic, Topic
from unimsg.driver import Delivery, Driver, Identity, Outcome, Settlement, Source
from unimsg.errors import (
    ClosedError,
    ConnectionLostError,
    IllegalStateError,
    InvalidClientIDError,
    InvalidDestinationError,
    InvalidSelectorError,
    InvalidURLError,
    MessageTooLargeError,
    PartialSendError,
    TransactionRolledBackError,
)
from unimsg.registry import make_driver

from .driving import LONG, also, eat, frame, identity, opened, post, settle_all, text_of, texts

Q, T = Queue("q"), Topic("t.x")


async def test_what_is_sent_is_received_settled_and_gone(url: str) -> None:
    async with opened(url) as driver:
        await post(driver, Q, "a", "b", "c")
        receiver = await driver.receiver(Source(Q), 10)
        found = await receiver.receive(2, LONG)
        assert [(text_of(each.frame.data), each.count, each.frame.route.destination) for each in found] == [("a", 1, Q), ("b", 1, Q)]
        assert await settle_all(receiver, found) == []
        assert await settle_all(receiver, found) == [each.token for each in found], "a token is good once"
        assert await eat(receiver, 1) == ["c"]
        assert await receiver.receive(10, 0) == []
        await receiver.close()


async def test_a_poll_looks_once_and_a_time_out_ends_with_nothing(url: str) -> None:
    async with opened(url) as driver:
        receiver = await driver.receiver(Source(Q), 10)
        assert await receiver.receive(1, 0) == []
        assert await receiver.receive(1, 0.01) == []
        await post(driver, Q, "a")
        assert texts(await receiver.receive(1, 0)) == ["a"]


async def test_who_waits_is_woken(url: str) -> None:
    async with opened(url) as one, opened(url) as two:
        receiver = await one.receiver(Source(Q), 10)
        waiting = asyncio.create_task(receiver.receive(10, LONG))
        await asyncio.sleep(0)
        await post(two, Q, "a")
        assert texts(await waiting) == ["a"]


async def test_all_who_wait_get_theirs(url: str) -> None:
    async with opened(url) as driver:
        receivers = [await driver.receiver(Source(Q), 1) for _ in range(5)]
        waiting = [asyncio.create_task(each.receive(1, LONG)) for each in receivers]
        await asyncio.sleep(0)
        await post(driver, Q, *"abcde")
        assert sorted(text for found in await asyncio.gather(*waiting) for text in texts(found)) == list("abcde")


async def test_a_cancelled_receive_loses_nothing(url: str) -> None:
    async with opened(url) as driver:
        receiver = await driver.receiver(Source(Q), 10)
        got: list[str] = []
        for number in range(60):
            task = asyncio.create_task(receiver.receive(10, None))
            for _ in range(number % 7):
                await asyncio.sleep(0)
            sending = asyncio.create_task(post(driver, Q, str(number)))
            for _ in range(number % 5):
                await asyncio.sleep(0)
            task.cancel()
            try:
                found = await task
            except asyncio.CancelledError:
                found = []
            got += texts(found)
            assert all(each.count == 1 for each in found)
            assert await settle_all(receiver, found) == []
            await sending
        while len(got) < 60:
            found = await receiver.receive(10, LONG)
            assert found
            got += texts(found)
            await settle_all(receiver, found)
        assert sorted(got, key=int) == [str(number) for number in range(60)]
        await post(driver, Q, "end")
        assert await eat(receiver, 1) == ["end"]


async def test_a_cancelled_receiver_leaves_no_subscription(url: str) -> None:
    async with opened(url) as driver:
        task = asyncio.create_task(driver.receiver(Source(T), 10))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(LONG):
            while await driver.inspect():  # noqa: ASYNC110  (another connection's doing: there is nothing to wait for)
                await asyncio.sleep(0.01)


async def test_a_cancelled_send_is_done_or_not(url: str) -> None:
    async with opened(url) as driver:
        sender = await driver.sender(Q)
        for number in range(30):
            task = asyncio.create_task(sender.send([frame(Q, f"{number}.{part}") for part in range(3)]))
            for _ in range(number % 4):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await sender.send([frame(Q, "end")])
        receiver = await driver.receiver(Source(Q), 10)
        found: list[str] = []
        while "end" not in found:
            found += await eat(receiver, 1)
        whole = [text.partition(".")[0] for text in found if text.endswith(".0")]
        assert found == [f"{number}.{part}" for number in whole for part in range(3)] + ["end"]


async def test_receiving_starts_when_receiver_returns(url: str) -> None:
    async with opened(url) as one, opened(url) as two:
        await post(two, T, "before")
        receiver = await one.receiver(Source(Topic("t.*")), 10)
        await post(two, T, "after")
        assert await eat(receiver, 1) == ["after"]


async def test_settle_outcomes(url: str) -> None:
    async with opened(url) as driver:
        await post(driver, Q, "a", "b", "c")
        receiver = await driver.receiver(Source(Q), 10)
        a, b, c = await receiver.receive(3, LONG)
        # In one call: who reads ahead may otherwise have the first back before the second has its place again.
        assert list(await receiver.settle([Settlement(b.token, Outcome.RELEASE), Settlement(a.token, Outcome.UNSEEN)])) == []
        found = await receiver.receive(3, LONG)
        assert [(text_of(each.frame.data), each.count) for each in found] == [("a", 1), ("b", 2)]
        start = time.time()
        assert await settle_all(receiver, [c], Outcome.RELEASE, 0.2) == []
        (later,) = await receiver.receive(3, LONG)
        assert (text_of(later.frame.data), later.count) == ("c", 2)
        assert time.time() - start >= 0.2, "never early"


async def test_a_delayed_message_wakes_who_waits_and_is_not_early(url: str) -> None:
    async with opened(url) as one, opened(url) as two:
        receiver = await one.receiver(Source(Q), 10)
        waiting = asyncio.create_task(receiver.receive(10, LONG))
        due = time.time() + 0.2
        await post(two, Q, "later", deliver_at=due)
        assert texts(await waiting) == ["later"]
        assert time.time() >= due


async def test_close_of_a_receiver_gives_back_at_once_and_ends_its_wait(url: str) -> None:
    async with opened(url) as driver:
        await post(driver, Q, "a", "b")
        one, two = await driver.receiver(Source(Q), 10), await driver.receiver(Source(Q), 10)
        found = await one.receive(1, LONG) + await one.receive(1, LONG)
        waiting = asyncio.create_task(one.receive(1, None))
        await asyncio.sleep(0)
        await one.close()
        with pytest.raises(ClosedError):
            await waiting
        with pytest.raises(ClosedError):
            await one.receive(1, 0)
        assert await settle_all(one, found) == [each.token for each in found]
        assert list(await one.extend([each.token for each in found], 5.0)) == [each.token for each in found]
        again = await two.receive(1, LONG) + await two.receive(1, LONG)
        assert [(text_of(each.frame.data), each.count) for each in again] == [("a", 2), ("b", 2)]
        await one.close()


async def test_close_of_a_driver_ends_everything(url: str) -> None:
    async with opened(url) as other:
        async with opened(url) as driver:
            await post(driver, Q, "a")
            receiver, live = await driver.receiver(Source(Q), 10), await driver.receiver(Source(T), 10)
            sender = await driver.sender(None)
            temporary = TemporaryQueue(f"{identity(driver).connection_id}.1")
            await driver.declare(temporary)
            await receiver.receive(1, LONG)
            waiting = asyncio.create_task(live.receive(1, None))
            await asyncio.sleep(0)
        with pytest.raises(ClosedError):
            await waiting
        with pytest.raises(ClosedError):
            await sender.send([frame(Q)])
        with pytest.raises(ClosedError):
            await driver.inspect()
        await receiver.close()
        await driver.close()
        assert [(info.destination, info.consumers) for info in await other.inspect()] == [(Q, 0)]
        (back,) = await (await other.receiver(Source(Q), 1)).receive(1, LONG)
        assert back.count == 2
        with pytest.raises(InvalidDestinationError):
            await post(other, temporary, "too late")


async def test_a_closed_sender_sends_no_more(url: str) -> None:
    async with opened(url) as driver:
        sender = await driver.sender(Q)
        await sender.close()
        with pytest.raises(ClosedError):
            await sender.send([frame(Q)])


async def test_a_driver_may_be_opened_again(url: str) -> None:
    driver: Driver = make_driver(url, Identity("one-and-the-same", "bank"))
    for _ in range(2):
        await driver.open(lambda error: None)
        with pytest.raises(IllegalStateError, match="already"):
            await driver.open(lambda error: None)
        await post(driver, Q, "x")
        await driver.close()
    async with opened(url) as other:
        assert [info.depth for info in await other.inspect()] == [2]


async def test_one_connection_a_client_id(url: str) -> None:
    async with opened(url, "bank"):
        with pytest.raises(InvalidClientIDError, match="bank"):
            async with opened(url, "bank"):
                pass
        async with opened(url, "other"):
            pass
    async with opened(url, "bank"):
        pass


async def test_bad_frames_are_named_and_good_ones_arrive(url: str) -> None:
    async with opened(url) as driver:
        sender = await driver.sender(None)
        with pytest.raises(PartialSendError) as caught:
            await sender.send([frame(Q, "a"), frame(TemporaryQueue("gone")), frame(Q, "b")])
        assert list(caught.value.failures) == [1]
        with pytest.raises(InvalidDestinationError):
            await sender.send([frame(Topic("t.*"))])
        with pytest.raises(InvalidDestinationError):
            await driver.sender(Topic("t.>"))
        await sender.send([frame(Topic("nobody.listens"))])
        assert await eat(await driver.receiver(Source(Q), 10), 2) == ["a", "b"]


async def test_a_message_over_the_limit_is_refused_with_the_limit_named(url: str) -> None:
    small, limit = frame(Q, "x" * 10), len(frame(Q, "x" * 10).data)
    async with opened(also(url, f"max_message_bytes={limit}")) as driver:
        assert driver.capabilities.limits.max_message_bytes == limit
        sender = await driver.sender(Q)
        with pytest.raises(MessageTooLargeError, match="max_message_bytes") as caught:
            await sender.send([frame(Q, "ok"), frame(Q, "x" * 11)])
        assert (caught.value.size, caught.value.limit) == (limit + 1, limit)
        with pytest.raises(MessageTooLargeError):
            await driver.commit([frame(Q, "x" * 11)], [])
        await sender.send([small])
        assert await eat(await driver.receiver(Source(Q), 10), 1) == ["x" * 10]


async def test_create_require_makes_nothing_by_itself(url: str) -> None:
    async with opened(also(url, "create=require")) as driver:
        with pytest.raises(InvalidDestinationError, match="create=require"):
            await driver.sender(Q)
        with pytest.raises(InvalidDestinationError, match="create=require"):
            await driver.receiver(Source(Q), 10)
        sender = await driver.sender(None)
        with pytest.raises(InvalidDestinationError, match="create=require"):
            await sender.send([frame(Q)])
        await driver.declare(Q)
        await post(driver, Q, "a")
        assert await eat(await driver.receiver(Source(Q), 10), 1) == ["a"]


@pytest.mark.parametrize("option", ["nonsense=1", "lease=0", "lease=soon", "max_message_bytes=0", "create=maybe"])
def test_options_that_make_no_sense_are_refused_before_any_io(url: str, option: str) -> None:
    with pytest.raises(InvalidURLError, match=option.partition("=")[0]):
        make_driver(also(url, option), Identity("x"))


async def test_temporary_destinations(url: str) -> None:
    async with opened(url) as mine, opened(url) as other:
        queue, topic = (kind(f"{identity(mine).connection_id}.{kind.__name__}") for kind in (TemporaryQueue, TemporaryTopic))
        for destination in (queue, topic):
            with pytest.raises(InvalidDestinationError):
                await other.declare(destination)
            await mine.declare(destination)
            with pytest.raises(InvalidDestinationError, match="another connection"):
                await other.receiver(Source(destination), 1)
            receiver = await mine.receiver(Source(destination), 1)
            await post(other, destination, "reply")
            assert await eat(receiver, 1) == ["reply"]
            await receiver.close()
            await mine.delete(destination)
            with pytest.raises(InvalidDestinationError):
                await post(other, destination, "gone")


async def test_commit_is_all_or_nothing(url: str) -> None:
    out = Queue("out")
    async with opened(url) as driver:
        await post(driver, Q, "a", "b")
        receiver, watcher = await driver.receiver(Source(Q), 10), await driver.receiver(Source(out), 10)
        a, b = await receiver.receive(2, LONG)
        waiting = asyncio.create_task(watcher.receive(10, LONG))
        await driver.commit([frame(out, "x"), frame(out, "y")], [(receiver, [_accept(a)])])
        assert texts(await waiting) == ["x", "y"]
        with pytest.raises(TransactionRolledBackError):
            await driver.commit([frame(out, "never")], [(receiver, [_accept(b), _accept(a)])])
        assert await watcher.receive(1, 0) == []
        assert await settle_all(receiver, [b]) == []
        async with opened(url) as other:
            with pytest.raises(IllegalStateError):
                await other.commit([], [(receiver, [_accept(b)])])
        await receiver.close()
        with pytest.raises(TransactionRolledBackError):
            await driver.commit([frame(out, "never")], [(receiver, [_accept(b)])])
        await post(driver, out, "end")
        assert texts(await watcher.receive(10, LONG)) == ["end"]


def _accept(delivery: Delivery) -> Settlement:
    return Settlement(delivery.token)


async def test_extend_reports_the_stale(url: str) -> None:
    async with opened(url) as driver:
        await post(driver, Q, "a")
        receiver = await driver.receiver(Source(Q), 10)
        found = await receiver.receive(1, LONG)
        assert list(await receiver.extend([found[0].token], 5.0)) == []
        await settle_all(receiver, found)
        assert list(await receiver.extend([found[0].token], 5.0)) == [found[0].token]


async def test_declare_delete_purge_inspect(url: str) -> None:
    async with opened(url, "bank") as driver:
        await driver.declare(Q)
        await driver.declare(Q)
        await driver.declare(T)
        await post(driver, Q, "a", "b", timestamp=123.0)
        await (await driver.receiver(Source(T, subscription="s", durable=True), 1)).close()
        await post(driver, T, "1", "2", "3")
        found = [(info.destination, info.subscription, info.depth, info.in_flight, info.consumers, info.oldest) for info in await driver.inspect()]
        assert found == [(Q, None, 2, 0, 0, 123.0), (T, "s", 3, 0, 0, None)]
        assert await driver.purge(T, "s") == 3
        assert await driver.purge(Q) == 2
        await driver.unsubscribe("s")
        with pytest.raises(InvalidDestinationError):
            await driver.unsubscribe("s")
        await driver.delete(Q)
        with pytest.raises(InvalidDestinationError):
            await driver.delete(Q)
        assert list(await driver.inspect()) == []


async def test_browse_yields_in_order_and_takes_nothing(url: str) -> None:
    async with opened(url) as driver:
        sender = await driver.sender(Q)
        await sender.send([frame(Q, f"{number}", properties={"n": number}) for number in range(250)])
        assert [text_of(each.data) async for each in driver.browse(Q)] == [f"{number}" for number in range(250)]
        with pytest.raises(InvalidSelectorError):
            async for _ in driver.browse(Q, "n >"):
                pass
        assert [each async for each in driver.browse(Queue("not there"))] == []
        assert len(await eat(await driver.receiver(Source(Q), 500), 250)) == 250


async def test_diagnose_works_before_open(url: str) -> None:
    driver: Driver = make_driver(url, Identity("x"))
    found = [finding async for finding in driver.diagnose()]
    assert found
    assert {finding.level for finding in found} <= {"ok", "warn", "fail"}
    assert all(finding.subject and finding.text for finding in found)


async def test_capabilities_say_native_for_all_but_what_a_door_cannot(url: str) -> None:
    driver: Driver = make_driver(url, Identity("x"))
    not_native = {name for name in FEATURES if not driver.capabilities.native(name)} - {"direct"}  # which is XMPP's own
    assert not_native == ({"persistent"} if url.startswith("memory") else set())
    assert driver.capabilities["persistent"].note


async def test_native_errors_are_ours_already(url: str) -> None:
    async with opened(url) as driver:
        assert driver.is_retryable(ConnectionLostError("x"))
        assert not driver.is_retryable(IllegalStateError("x"))
        error = IllegalStateError("x")
        assert driver.error_of(error) is error
        assert driver.native() is not None
