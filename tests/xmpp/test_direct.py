"""Queues that are addresses: to people, to programs that know no unimsg, and packed from one of ours to another."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import unimsg
from unimsg import Queue
from unimsg.testing import Server

from .test_pubsub import SECONDS, raw


def url(server: Server, user: str, resource: str = "", **options: object) -> str:
    text = server.url(user, "pw", service="none", **options)
    return text.replace("@localhost?", f"@localhost/{resource}?") if resource else text


def desk() -> str:
    return f"desk-{uuid.uuid4().hex[:8]}"


async def test_one_to_one_between_ours_is_in_order_and_complete(xmpp_server: Server) -> None:
    resource = desk()
    queue: Queue[Any] = Queue(f"xmpp:bob@localhost/{resource}")
    async with unimsg.connect(url(xmpp_server, "bob", resource)) as bob, unimsg.connect(url(xmpp_server, "alice")) as alice:
        async with bob.consumer(queue, mode="dups_ok") as consumer, alice.producer(queue) as producer:

            async def send() -> None:
                for number in range(3000):
                    await producer.submit(number, properties={"n": number})
                await producer.flush()

            sending = asyncio.create_task(send())
            got = [await consumer.receive(timeout=SECONDS) for _ in range(3000)]
            await sending
    assert [(message.body, message.properties["n"]) for message in got if message is not None] == [(number, number) for number in range(3000)]


async def test_a_receiver_that_does_not_read_holds_its_sender(xmpp_server: Server) -> None:
    resource = desk()
    queue: Queue[Any] = Queue(f"xmpp:bob@localhost/{resource}")
    async with unimsg.connect(url(xmpp_server, "bob", resource)) as bob, unimsg.connect(url(xmpp_server, "alice")) as alice:
        async with bob.consumer(queue, mode="dups_ok") as consumer, alice.producer(queue) as producer:
            for receipt in [await producer.submit(number) for number in range(950)]:
                await receipt  # there is room for a thousand
            more = [await producer.submit(number) for number in range(950, 1100)]
            await alice.link.driver.stream.request(bob.link.driver.native().boundjid.full, "get", '<ping xmlns="urn:xmpp:ping"/>')  # type: ignore[attr-defined]
            assert not more[-1].done(), "its answer waits until there is room"
            assert [(await consumer.receive(timeout=SECONDS)).body for _ in range(1100)] == list(range(1100))  # type: ignore[union-attr]
            for receipt in more:
                await receipt


async def test_to_a_person_and_back(xmpp_server: Server) -> None:
    messages: list[ET.Element] = []
    async with unimsg.connect(url(xmpp_server, "alice")) as alice, raw(xmpp_server, "carol", messages) as carol:
        carol.send("<presence><priority>5</priority></presence>")
        await carol.request(None, "get", '<ping xmlns="urn:xmpp:ping"/>')
        async with alice.producer(Queue("xmpp:carol@localhost")) as producer, alice.consumer(Queue("xmpp:alice@localhost")) as consumer:
            await producer.send("1 < 2 & so on")
            await carol.request(None, "get", '<ping xmlns="urn:xmpp:ping"/>')  # what was sent before has arrived
            (said,) = [message for message in messages if message.find("{jabber:client}body") is not None]
            assert said.findtext("{jabber:client}body") == "1 < 2 & so on"
            assert said.find("{urn:unimsg:1}envelope") is not None
            carol.send(f'<message to="{said.get("from", "").partition("/")[0]}" type="chat"><body>and back</body></message>')
            message = await consumer.receive(timeout=SECONDS)
            assert message is not None
            assert (message.body, message.properties["JMS_unimsg_from"]) == ("and back", carol.jid)


async def test_nobody_there_is_an_error(xmpp_server: Server) -> None:
    async with unimsg.connect(url(xmpp_server, "alice")) as alice:
        for name in ("xmpp:nobody.at.all@localhost", "xmpp:bob@localhost/no-such-desk"):
            async with alice.producer(Queue(name)) as producer:
                if "/" not in name:
                    with pytest.raises(unimsg.InvalidDestinationError):
                        await producer.send("x")
        with pytest.raises(unimsg.InvalidDestinationError, match="another's"):
            await alice.consumer(Queue("xmpp:bob@localhost"))
        with pytest.raises(unimsg.InvalidDestinationError, match="address"):
            await alice.producer(Queue("xmpp:@@"))


async def test_hostile_messages_are_dropped_and_neighbours_arrive(xmpp_server: Server) -> None:
    messages: list[ET.Element] = []
    async with unimsg.connect(url(xmpp_server, "alice", desk())) as alice, raw(xmpp_server, "bob", messages) as bob:
        native: Any = alice.link.driver.native()
        jid = native.boundjid.full
        async with alice.consumer(Queue(f"xmpp:{jid}")) as consumer:
            for envelope in ('<envelope xmlns="urn:unimsg:1" priority="eleven"/>', '<batch xmlns="urn:unimsg:1" count="3" encoding="zlib">AAAA</batch>'):
                bob.send(f'<message to="{jid}">{envelope}</message>')
                bob.send(f'<iq type="set" id="{uuid.uuid4().hex}" to="{jid}"><submit xmlns="urn:unimsg:queue:1">{envelope}</submit></iq>')
            bob.send(f'<iq type="set" id="x" to="{jid}"><deliver xmlns="urn:unimsg:queue:1" consumer="c1" first="1">{envelope}</deliver></iq>')
            bob.send(f'<message to="{jid}" type="chat"><body>neighbour</body></message>')
            assert (await consumer.receive(timeout=SECONDS)).body == "neighbour"  # type: ignore[union-attr]


async def test_only_those_who_are_accepted_are_heard(xmpp_server: Server) -> None:
    messages: list[ET.Element] = []
    async with unimsg.connect(url(xmpp_server, "alice", desk(), accept="carol@localhost")) as alice:
        native: Any = alice.link.driver.native()
        jid = native.boundjid.full
        async with (
            alice.consumer(Queue(f"xmpp:{jid}")) as consumer,
            raw(xmpp_server, "bob", messages) as bob,
            raw(xmpp_server, "carol", messages) as carol,
        ):
            bob.send(f'<message to="{jid}" type="chat"><body>stranger</body></message>')
            await bob.request(jid, "get", '<ping xmlns="urn:xmpp:ping"/>')
            carol.send(f'<message to="{jid}" type="chat"><body>friend</body></message>')
            assert (await consumer.receive(timeout=SECONDS)).body == "friend"  # type: ignore[union-attr]
