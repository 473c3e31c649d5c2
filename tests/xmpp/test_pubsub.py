"""Without the service: topics on the server's own pubsub, read and written by any XMPP client."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import slixmpp

import unimsg
from unimsg import Queue, Topic
from unimsg.registry import URL
from unimsg.testing import Server
from unimsg_xmpp import nodes
from unimsg_xmpp.settings import settings_of
from unimsg_xmpp.stream import Stream, escape

SECONDS = 10


def topic() -> Topic[Any]:
    return Topic(f"pubsub.{uuid.uuid4().hex}")


def url(server: Server, user: str, **options: object) -> str:
    return server.url(user, "pw", service="none", **options)


@asynccontextmanager
async def raw(server: Server, user: str, messages: list[ET.Element]) -> AsyncIterator[Stream]:
    """Yield a stream of a stranger to unimsg."""
    stream = Stream(
        settings_of(URL(server.url(user, "pw"))), on_iq=lambda _: None, on_message=messages.append, on_presence=lambda _: None, on_lost=lambda _: None
    )
    await stream.open()
    try:
        yield stream
    finally:
        await stream.close()


async def test_subscribers_get_what_is_published_in_order(xmpp_server: Server) -> None:
    name = topic()
    async with unimsg.connect(url(xmpp_server, "admin")) as one, unimsg.connect(url(xmpp_server, "bob")) as two, one.producer(name) as producer:
        async with two.consumer(name) as first, two.consumer(name, selector="n > 197") as second:
            for number in range(200):
                await producer.submit({"n": number}, properties={"n": number})
            await producer.flush()
            assert [(await first.receive(timeout=SECONDS)).body["n"] for _ in range(200)] == list(range(200))  # type: ignore[union-attr]
            assert [(await second.receive(timeout=SECONDS)).body["n"] for _ in range(2)] == [198, 199]  # type: ignore[union-attr]
        assert name in [info.destination for info in await one.inspect()]


async def test_what_the_server_has_not_is_refused_before_any_io(xmpp_server: Server) -> None:
    async with unimsg.connect(url(xmpp_server, "bob")) as connection:
        with pytest.raises(unimsg.UnsupportedError, match="unimsg serve"):
            await connection.producer(Queue("orders"))
        with pytest.raises(unimsg.UnsupportedError, match="unimsg serve"):
            await connection.consumer(Queue("orders"))
        with pytest.raises(unimsg.UnsupportedError, match="pattern"):
            await connection.consumer(Topic("md.>"))
        with pytest.raises(unimsg.UnsupportedError):
            await connection.consumer(Topic("md"), subscription="s", durable=True, shared=True)


async def test_prosody_says_who_may_make_nodes(prosody: Server) -> None:
    name = topic()
    async with unimsg.connect(url(prosody, "bob")) as bob:
        with pytest.raises(unimsg.SecurityError, match=r'admins = \{ "bob@localhost" \}'):
            await bob.producer(name)
        async with unimsg.connect(url(prosody, "admin")) as admin:
            await admin.producer(name)
        async with bob.producer(name) as producer, bob.consumer(name) as consumer:  # a node that is there may be used by all
            await producer.send("x")
            assert (await consumer.receive(timeout=SECONDS)).body == "x"  # type: ignore[union-attr]


async def test_any_client_reads_our_items_and_we_read_theirs(xmpp_server: Server) -> None:
    name, messages = topic(), list[ET.Element]()
    async with unimsg.connect(url(xmpp_server, "admin")) as ours, ours.producer(name) as producer, raw(xmpp_server, "bob", messages) as theirs:
        await theirs.request("pubsub.localhost", "set", nodes.subscribe(name.name, theirs.jid))
        async with ours.consumer(name) as consumer:
            await producer.send("hello")
            assert (await consumer.receive(timeout=SECONDS)).body == "hello"  # type: ignore[union-attr]
            entry = '<entry xmlns="http://www.w3.org/2005/Atom"><title>1 &lt; 2</title></entry>'
            item = f'<publish node="{escape(name.name)}"><item>{entry}</item></publish>'
            await theirs.request("pubsub.localhost", "set", f'<pubsub xmlns="{nodes.PUBSUB}">{item}</pubsub>')
            message = await consumer.receive(timeout=SECONDS)
            assert message is not None
            assert message.properties["JMS_unimsg_foreign"] == "http://www.w3.org/2005/Atom"
            assert ET.fromstring(message.body)[0].text == "1 < 2"
    bodies = [body.text for message in messages for body in message.iter("{urn:unimsg:1}body")]
    assert bodies == ["hello"]


async def test_a_stranger_s_event_is_no_event(xmpp_server: Server) -> None:
    name, messages = topic(), list[ET.Element]()
    async with unimsg.connect(url(xmpp_server, "admin")) as ours, ours.producer(name) as producer, raw(xmpp_server, "bob", messages) as stranger:
        async with ours.consumer(name) as consumer:
            native: Any = ours.link.driver.native()
            assert isinstance(native, slixmpp.ClientXMPP)
            envelope = '<envelope xmlns="urn:unimsg:1" destination="topic:x" id="ID:forged"><body type="text">forged</body></envelope>'
            event = f'<event xmlns="{nodes.PUBSUB}#event"><items node="{escape(name.name)}"><item id="1">{envelope}</item></items></event>'
            stranger.send(f'<message to="{escape(native.boundjid.full)}">{event}</message>')
            await stranger.request(native.boundjid.full, "get", '<ping xmlns="urn:xmpp:ping"/>')  # it has arrived
            await producer.send("true")
            assert (await consumer.receive(timeout=SECONDS)).body == "true"  # type: ignore[union-attr]


async def test_hostile_items_are_dropped_and_neighbours_arrive(xmpp_server: Server) -> None:
    name, messages = topic(), list[ET.Element]()
    async with unimsg.connect(url(xmpp_server, "admin")) as ours, ours.producer(name) as producer, raw(xmpp_server, "bob", messages) as hostile:
        async with ours.consumer(name) as consumer:
            for envelope in (
                '<envelope xmlns="urn:unimsg:1" priority="eleven"/>',
                '<envelope xmlns="urn:unimsg:1">text</envelope>',
                '<envelope xmlns="urn:unimsg:1">' + "<a xmlns='urn:x'>" * 40 + "</a>" * 40 + "</envelope>",
            ):
                item = f'<publish node="{escape(name.name)}"><item>{envelope}</item></publish>'
                await hostile.request("pubsub.localhost", "set", f'<pubsub xmlns="{nodes.PUBSUB}">{item}</pubsub>')
            await producer.send("neighbour")
            assert (await consumer.receive(timeout=SECONDS)).body == "neighbour"  # type: ignore[union-attr]


async def test_a_slow_subscriber_drops_or_fails_and_holds_nobody_up(xmpp_server: Server) -> None:
    name = topic()
    async with unimsg.connect(url(xmpp_server, "admin")) as connection, connection.producer(name) as producer:
        drops = await connection.consumer(name, overflow="drop", backlog=5)
        fails = await connection.consumer(name, overflow="fail", backlog=5)
        good = await connection.consumer(name)
        for number in range(20):
            await producer.send(number)
        assert [(await good.receive(timeout=SECONDS)).body for _ in range(20)] == list(range(20))  # type: ignore[union-attr]
        assert [(await drops.receive(timeout=SECONDS)).body for _ in range(5)] == list(range(15, 20))  # type: ignore[union-attr]
        assert drops.dropped == 15
        with pytest.raises(unimsg.SlowConsumerError):
            for _ in range(20):
                await fails.receive(timeout=SECONDS)


async def test_it_comes_back_when_the_stream_was_cut(xmpp_server: Server) -> None:
    name = topic()
    async with unimsg.connect(url(xmpp_server, "admin")) as connection, connection.producer(name) as producer, connection.consumer(name) as consumer:
        await producer.send("before")
        assert (await consumer.receive(timeout=SECONDS)).body == "before"  # type: ignore[union-attr]
        native: Any = connection.link.driver.native()
        native.transport.abort()
        async with asyncio.timeout(SECONDS):
            while connection.health().reconnects == 0:  # noqa: ASYNC110  (nobody tells)
                await asyncio.sleep(0.01)
        await producer.send("after")
        assert (await consumer.receive(timeout=SECONDS)).body == "after"  # type: ignore[union-attr]


async def test_many_may_begin_with_one_topic_at_once(xmpp_server: Server) -> None:
    name = topic()
    connections = [await unimsg.connect(url(xmpp_server, "admin")) for _ in range(8)]
    try:
        consumers = await asyncio.gather(*(connection.consumer(name) for connection in connections))
        async with connections[0].producer(name) as producer:
            await producer.send("x")
        assert [(await consumer.receive(timeout=SECONDS)).body for consumer in consumers] == ["x"] * 8  # type: ignore[union-attr]
    finally:
        for connection in connections:
            await connection.close()
