"""What the service does for a client that is written by hand from docs/xmpp-service.md, on both servers."""

from __future__ import annotations

import asyncio

import pytest

from tests.xmpp.guests import Guest, envelope, place, serving
from unimsg.errors import (
    ClosedError,
    IllegalStateError,
    InvalidDestinationError,
    InvalidSelectorError,
    ResourceAllocationError,
    TransactionRolledBackError,
    UnimsgError,
    WireFormatError,
)
from unimsg.testing import Server
from unimsg_xmpp.conditions import NoSessionError
from unimsg_xmpp.protocol import BadRequestError, element
from unimsg_xmpp.service.limits import Limits


async def test_a_message_goes_in_and_comes_out_once(xmpp_server: Server) -> None:
    async with serving(xmpp_server) as service, Guest(xmpp_server, service.jid) as guest:
        opened = await guest.open(lease=20)
        assert opened.get("lease") == "20"
        assert opened.get("packing") is None
        queue = f"queue:{place()}"
        await guest.ask("consume", consumer="c1", destination=queue, credit=10)
        await guest.send(queue, "one", "two")
        assert await guest.taken(2) == ["one", "two"]
        assert await guest.depth(queue) == (0, 2)
        settled = await guest.ask("settle", element("accept", {"deliveries": "1-2"}, nested=True), consumer="c1")
        assert settled.get("stale") is None
        assert await guest.depth(queue) == (0, 0)
        await guest.ask("close")
        with pytest.raises(NoSessionError):
            await guest.ask("renew")


async def test_a_message_that_is_submitted_twice_is_taken_once(xmpp_server: Server) -> None:
    async with serving(xmpp_server) as service, Guest(xmpp_server, service.jid) as guest:
        await guest.open()
        queue = f"queue:{place()}"
        for _ in range(2):
            await guest.ask("submit", envelope(queue, "ID:same"))
        assert await guest.depth(queue) == (1, 0)


async def test_what_is_refused_is_told_by_its_place_and_the_rest_is_taken(xmpp_server: Server) -> None:
    async with serving(xmpp_server) as service, Guest(xmpp_server, service.jid) as guest:
        await guest.open()
        queue = f"queue:{place()}"
        nameless = f'<envelope xmlns="urn:unimsg:1" destination="{queue}"/>'
        broken = f'<envelope xmlns="urn:unimsg:1" destination="{queue}" id="ID:b" priority="high"/>'
        homeless = '<envelope xmlns="urn:unimsg:1" id="ID:h"/>'
        answer = await guest.ask("submit", nameless + envelope(queue) + broken + homeless + envelope("topic:a.*"))
        assert [(kid.get("at"), kid.get("error")) for kid in answer] == [
            ("0", "malformed-message"),
            ("2", "malformed-message"),
            ("3", "invalid-destination"),
            ("4", "invalid-destination"),
        ]
        assert await guest.depth(queue) == (1, 0)
        with pytest.raises(WireFormatError, match="id"):
            await guest.ask("submit", nameless)
        with pytest.raises(InvalidDestinationError):
            await guest.ask("submit", homeless)
        await guest.ask("submit", homeless, to=queue)
        assert await guest.depth(queue) == (2, 0)


async def test_an_empty_submission_makes_the_queue(xmpp_server: Server) -> None:
    async with serving(xmpp_server) as service, Guest(xmpp_server, service.jid) as guest, Guest(xmpp_server, service.jid, "bob") as strict:
        await guest.open()
        await strict.open(create="require")
        queue = f"queue:{place()}"
        with pytest.raises(InvalidDestinationError):
            await strict.send(queue, "lost")
        await guest.ask("submit", to=queue)
        await strict.send(queue, "kept")
        assert await guest.depth(queue) == (1, 0)


async def test_each_outcome_does_what_it_says(xmpp_server: Server) -> None:
    async with serving(xmpp_server) as service, Guest(xmpp_server, service.jid) as guest:
        await guest.open()
        name = place()
        queue = f"queue:{name}"
        await guest.send(queue, "accepted", "released", "unseen", "rejected")
        await guest.ask("consume", consumer="c1", destination=queue, credit=4)
        assert len(await guest.taken(4)) == 4
        parts = [
            element("accept", {"deliveries": 1}, nested=True),
            element("release", {"deliveries": 2}, nested=True),
            element("unseen", {"deliveries": 3}, nested=True),
            element("reject", {"deliveries": 4, "reason": "no such account"}, nested=True),
        ]
        settled = await guest.ask("settle", "".join([*parts, element("accept", {"deliveries": "1 99"}, nested=True)]), consumer="c1")
        assert settled.get("stale") == "1 99"
        await guest.ask("credit", consumer="c1", up_to=6)
        counts: dict[str, str] = {}
        while len(counts) < 2:
            delivered, texts = await asyncio.wait_for(guest.deliveries.get(), 20)
            counts.update(zip(texts, (delivered.get("counts") or " ".join("1" * len(texts))).split(), strict=True))
        assert counts == {"released": "2", "unseen": "1"}
        page = await guest.ask("browse", destination=f"queue:dead.{name}")
        assert len(page) == 1
        properties = {kid.get("name"): kid.text for kid in page[0] if kid.tag.endswith("}property")}
        assert properties["JMS_unimsg_reason"] == "no such account"
        assert properties["JMS_unimsg_origin"] == queue


async def test_a_look_is_answered_after_what_there_is(xmpp_server: Server) -> None:
    async with serving(xmpp_server) as service, Guest(xmpp_server, service.jid) as guest:
        await guest.open()
        queue = f"queue:{place()}"
        await guest.ask("consume", consumer="c1", destination=queue, credit=0)
        assert await guest.look("c1", 500) == []
        texts = [str(number) for number in range(123)]
        await guest.ask("cancel", consumer="c1", seen=0)
        await guest.send(queue, *texts)
        await guest.ask("consume", consumer="c2", destination=queue, credit=0)
        assert await guest.look("c2", 50) == texts[:50]
        assert await guest.look("c2", 500) == texts[50:]
        assert await guest.look("c2", 500) == []


async def test_cancelling_gives_back_uncounted_what_nobody_saw(xmpp_server: Server) -> None:
    async with serving(xmpp_server) as service, Guest(xmpp_server, service.jid) as guest:
        await guest.open()
        queue = f"queue:{place()}"
        await guest.send(queue, "seen", "unseen")
        await guest.ask("consume", consumer="c1", destination=queue, credit=2)
        await guest.taken(2)
        await guest.ask("cancel", consumer="c1", seen=1)
        with pytest.raises(ClosedError):
            await guest.ask("cancel", consumer="c1")
        await guest.ask("consume", consumer="c1", destination=queue, credit=2)
        delivered, texts = await asyncio.wait_for(guest.deliveries.get(), 20)
        assert (texts, delivered.get("counts"), delivered.get("first")) == (["seen", "unseen"], "2 1", "1")


async def test_a_transaction_in_parts_is_all_or_nothing(xmpp_server: Server) -> None:
    async with serving(xmpp_server) as service, Guest(xmpp_server, service.jid) as guest:
        await guest.open()
        queue, bills = f"queue:{place()}", f"queue:{place()}"
        await guest.send(queue, "order")
        await guest.ask("consume", consumer="c1", destination=queue, credit=1)
        await guest.taken(1)

        def submit(text: str = "", more: str = "") -> str:
            return element("submit", None, envelope(bills, text=text, more=more), nested=True)

        settle = element("settle", {"consumer": "c1"}, element("accept", {"deliveries": 1}, nested=True), nested=True)
        await guest.ask("commit", submit("one"), id="t1", more=True)
        assert await guest.depth(bills) == (0, 0)
        await guest.ask("commit", submit("two") + settle, id="t1")
        assert await guest.depth(bills) == (2, 0)
        assert await guest.depth(queue) == (0, 0)
        with pytest.raises(TransactionRolledBackError):
            await guest.ask("commit", submit("three") + settle, id="t2")
        # A part that was refused spoils those that follow: none of them is a transaction of its own.
        with pytest.raises(WireFormatError):
            await guest.ask("commit", submit("four") + submit("five", ' priority="high"'), id="t3", more=True)
        with pytest.raises(TransactionRolledBackError):
            await guest.ask("commit", submit("six"), id="t3", more=True)
        with pytest.raises(TransactionRolledBackError):
            await guest.ask("commit", submit("seven"), id="t3")
        with pytest.raises(TransactionRolledBackError):
            await guest.ask("commit", submit("eight"), id="t4", part=2)
        assert await guest.depth(bills) == (2, 0)
        await guest.ask("commit", submit("nine"), id="t3")
        assert await guest.depth(bills) == (3, 0)


async def test_a_browse_goes_page_by_page_and_takes_nothing(xmpp_server: Server) -> None:
    async with serving(xmpp_server, limits=Limits(browses=2)) as service, Guest(xmpp_server, service.jid) as guest:
        await guest.open()
        queue = f"queue:{place()}"
        await guest.send(queue, *map(str, range(120)))
        texts: list[str | None] = []
        page = await guest.ask("browse", destination=queue)
        while True:
            texts += [each[0].text for each in page]
            if page.get("more") is None:
                break
            assert len(page) <= 50
            page = await guest.ask("browse", more=page.get("more"))
        assert texts == [str(number) for number in range(120)]
        assert await guest.depth(queue) == (120, 0)
        first = await guest.ask("browse", destination=queue)
        await guest.ask("browse", destination=queue)
        with pytest.raises(ResourceAllocationError):
            await guest.ask("browse", destination=queue)
        await guest.ask("browse", end=first.get("more"))
        with pytest.raises(ClosedError):
            await guest.ask("browse", more=first.get("more"))
        with pytest.raises(InvalidSelectorError):
            await guest.ask("browse", destination=queue, selector="price >")


async def test_a_list_of_many_long_names_comes_in_pages_that_fit(xmpp_server: Server) -> None:
    async with serving(xmpp_server) as service, Guest(xmpp_server, service.jid) as guest:
        await guest.open()
        wanted = sorted(f"queue:{number:03}{'&' * 900}" for number in range(150))
        await asyncio.gather(*(guest.ask("declare", destination=name) for name in wanted))
        found: list[str | None] = []
        after: str | None = None
        pages = 0
        while True:
            contents = await guest.ask("inspect", after=after)
            found += [each.get("destination") for each in contents]
            pages += 1
            after = contents.get("more")
            if after is None:
                break
        assert found == wanted
        assert pages > 2


async def test_managing(xmpp_server: Server) -> None:
    async with serving(xmpp_server) as service, Guest(xmpp_server, service.jid) as guest:
        await guest.open(client_id="desk")
        queue, topic = f"queue:{place()}", f"topic:{place()}"
        await guest.ask("declare", destination=queue)
        await guest.send(queue, "a", "b")
        assert (await guest.ask("purge", destination=queue)).get("count") == "2"
        await guest.ask("delete", destination=queue)
        with pytest.raises(InvalidDestinationError):
            await guest.ask("delete", destination=queue)
        await guest.ask("consume", consumer="s", destination=topic, subscription="audit", durable=True, credit=1)
        with pytest.raises(IllegalStateError):
            await guest.ask("unsubscribe", subscription="audit")
        await guest.ask("cancel", consumer="s")
        await guest.ask("unsubscribe", subscription="audit")
        with pytest.raises(InvalidDestinationError):
            await guest.ask("unsubscribe", subscription="audit")


async def test_the_limits_are_kept(xmpp_server: Server) -> None:
    limits = Limits(sessions=2, sessions_each=1, consumers=1, requests=4)
    async with serving(xmpp_server, limits=limits) as service, Guest(xmpp_server, service.jid) as guest:
        await guest.open()
        async with Guest(xmpp_server, service.jid) as twin, Guest(xmpp_server, service.jid, "bob") as bob, Guest(xmpp_server, service.jid, "carol") as carol:
            with pytest.raises(ResourceAllocationError):
                await twin.open()
            await bob.open()
            with pytest.raises(ResourceAllocationError):
                await carol.open()
        queue = f"queue:{place()}"
        await guest.ask("consume", consumer="c1", destination=queue, credit=0)
        with pytest.raises(ResourceAllocationError):
            await guest.ask("consume", consumer="c2", destination=queue, credit=0)
        with pytest.raises(ResourceAllocationError):
            await guest.ask("credit", consumer="c1", up_to=10_001)
        await guest.ask("cancel", consumer="c1")
        with pytest.raises(BadRequestError):
            await guest.ask("consume", consumer="c3", destination=queue, credit=10_001)
        answers = await asyncio.gather(*(guest.ask("purge", destination=queue) for _ in range(50)), return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, BaseException)]
        assert all(isinstance(error, ResourceAllocationError) for error in refused)
        assert len(answers) - len(refused) >= 4
        await guest.ask("renew")


async def test_a_full_live_subscription_stops_submissions_and_nothing_else(xmpp_server: Server) -> None:
    async with serving(xmpp_server) as service, Guest(xmpp_server, service.jid) as guest, Guest(xmpp_server, service.jid, "bob") as slow:
        await guest.open()
        await slow.open()
        topic, queue = f"topic:{place()}", f"queue:{place()}"
        await slow.ask("consume", consumer="c1", destination=topic, backlog=1, credit=0)
        await guest.send(queue, "work")
        await guest.ask("consume", consumer="q", destination=queue, credit=1)
        await guest.taken(1)
        blocked = asyncio.ensure_future(guest.send(topic, "one", "two", "three"))
        settled = await guest.ask("settle", element("accept", {"deliveries": 1}, nested=True), consumer="q")
        assert settled.get("stale") is None
        assert not blocked.done()
        await slow.ask("credit", consumer="c1", up_to=10)
        assert await slow.taken(3) == ["one", "two", "three"]
        await blocked


async def test_a_consumer_that_fell_behind_is_told_that_it_ended(xmpp_server: Server) -> None:
    async with serving(xmpp_server) as service, Guest(xmpp_server, service.jid) as guest:
        await guest.open()
        topic = f"topic:{place()}"
        await guest.ask("consume", consumer="c1", destination=topic, overflow="fail", backlog=2, credit=0)
        await guest.send(topic, "a", "b", "c", "d")
        await guest.ask("credit", consumer="c1", up_to=1)
        ended = await asyncio.wait_for(guest.ended.get(), 20)
        assert (ended.get("consumer"), ended.get("error")) == ("c1", "slow-consumer")
        with pytest.raises(UnimsgError):
            await guest.ask("credit", consumer="c1", up_to=2)
