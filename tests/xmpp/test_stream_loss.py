"""A stream that breaks says so once and can be opened again; one that is under pressure, or is sent evil, does not break."""

from __future__ import annotations

import asyncio
import logging
import uuid

import pytest

from tests.xmpp.streams import PING, Ear, Relay, opened, refused
from unimsg.errors import ConnectionLostError, IllegalStateError
from unimsg.testing import LAUNCHERS, Server
from unimsg_xmpp.stream import StanzaError, StreamError

MEGABYTE = 1 << 20


@pytest.mark.parametrize("kind", sorted(LAUNCHERS))
async def test_a_server_that_is_killed_and_comes_back(kind: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(kind)  # skips where it is not installed
    with LAUNCHERS[kind](users=["alice"]) as server:
        async with opened(server.url()) as ear, opened(server.component_url()) as service:
            asked = ear.stream.request(service.stream.jid, "get", '<take xmlns="urn:x"/>')
            await service.iqs.get()
            await asyncio.to_thread(server.kill)

            for each in (ear, service):
                assert isinstance(await each.losses.get(), ConnectionLostError)
                assert not each.stream.up
            with pytest.raises(ConnectionLostError):
                await asked
            with pytest.raises(ConnectionLostError):
                await ear.stream.drain()
            for each in (ear, service):
                await each.stream.close()
                with pytest.raises(ConnectionLostError, match="nobody listens") as caught:
                    await each.stream.open()
                assert caught.value.retryable

            await asyncio.to_thread(server.start)
            for each in (ear, service):
                await each.stream.open()
            assert (await ear.stream.request(None, "get", PING)).get("type") == "result"
            assert ear.losses.empty()

            await asyncio.to_thread(server.shut)  # this time it says goodbye
            error = await ear.losses.get()
            assert isinstance(error, ConnectionLostError)
            assert error.retryable


@pytest.mark.parametrize("tls", ["starttls", "off"])
async def test_a_connection_that_is_cut(xmpp_server: Server, tls: str) -> None:
    async with Relay(xmpp_server) as relay, opened(xmpp_server.url(port=relay.port, tls=tls)) as ear:
        for _ in range(3):
            asked = ear.stream.request(None, "get", PING)
            relay.reading.clear()
            relay.cut()
            assert isinstance(await ear.losses.get(), ConnectionLostError)
            await asyncio.gather(asked, return_exceptions=True)
            await ear.stream.close()
            relay.reading.set()
            await ear.stream.open()
        assert ear.losses.empty()


async def test_who_takes_over_an_address_is_named_and_not_fought(xmpp_server: Server) -> None:
    url = xmpp_server.url().replace("?", f"/{uuid.uuid4().hex}?")
    async with opened(url) as first, opened(url) as second:
        error = await first.losses.get()
        assert isinstance(error, StreamError)
        assert error.condition == "conflict"
        assert "another connection took over this address" in str(error)
        assert not error.retryable
        await second.stream.request(None, "get", PING)


async def test_a_second_component_of_one_name(prosody: Server) -> None:
    url = prosody.component_url("other7")
    async with opened(url) as first:
        assert "another component is connected under this name" in await refused(url, IllegalStateError)
        await first.stream.request("localhost", "get", PING)


async def test_a_stanza_that_is_too_large_is_named(prosody: Server) -> None:
    assert prosody.running
    with LAUNCHERS["prosody"](users=["alice"], max_stanza=65_536) as server:
        async with opened(server.url()) as ear:
            ear.stream.send(f'<message to="alice@localhost"><body>{"x" * 70_000}</body></message>')
            error = await ear.losses.get()
            assert isinstance(error, StreamError)
            assert error.condition == "policy-violation"
            assert "a stanza was larger than the server takes" in str(error)


@pytest.mark.parametrize("tls", ["starttls", "off"])
async def test_a_peer_that_does_not_read_slows_us_and_costs_no_memory(xmpp_server: Server, tls: str) -> None:
    async with Relay(xmpp_server) as relay, opened(xmpp_server.url(port=relay.port, tls=tls)) as ear:
        stanza = f'<message to="{ear.stream.jid}" type="normal"><body>{"x" * 65_536}</body></message>'
        count = 20 * MEGABYTE // len(stanza)
        largest = written = 0
        relay.reading.clear()

        async def write() -> None:
            nonlocal largest, written
            for _ in range(count):
                ear.stream.send(stanza)
                written += 1
                largest = max(largest, ear.stream.native.transport.get_write_buffer_size())
                await ear.stream.drain()

        writing = asyncio.ensure_future(write())
        while written == 0 or ear.stream._room.is_set():  # noqa: ASYNC110  (the transport tells the stream, and nobody else)
            await asyncio.sleep(0)
        assert 0 < written < count

        relay.reading.set()
        await writing
        for _ in range(count):
            await ear.messages.get()
        assert largest < MEGABYTE
        assert ear.losses.empty()


async def test_who_waits_for_room_hears_of_a_loss(xmpp_server: Server) -> None:
    async with Relay(xmpp_server) as relay, opened(xmpp_server.url(port=relay.port)) as ear:
        relay.reading.clear()
        while ear.stream._room.is_set():
            ear.stream.send(" " * 65_536)
            await asyncio.sleep(0)
        waiting = [asyncio.ensure_future(ear.stream.drain()) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)

        relay.cut()
        for task in waiting:
            with pytest.raises(ConnectionLostError):
                await task
        await ear.losses.get()


async def test_closing_waits_for_nobody_for_long(xmpp_server: Server) -> None:
    loop = asyncio.get_running_loop()
    async with Relay(xmpp_server) as relay, opened(xmpp_server.url(port=relay.port)) as ear:
        relay.reading.clear()
        ear.stream.send(" " * 20 * MEGABYTE)
        began = loop.time()
        await ear.stream.close()
        assert loop.time() - began < 5


async def test_handlers_that_fail_harm_nobody(xmpp_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("of the handler")

    async with opened(xmpp_server.url("alice")) as alice, opened(xmpp_server.url("bob")) as bob:
        alice.stream._on_message = alice.stream._on_iq = fail
        bob.stream.send(f'<message to="{alice.stream.jid}" type="normal"/>')
        with pytest.raises(StanzaError, match="internal-server-error"):
            await bob.stream.request(alice.stream.jid, "get", '<take xmlns="urn:x"/>')
        await bob.stream.request(alice.stream.jid, "get", PING)
    assert [record.levelno for record in caplog.records if record.name == "unimsg"] == [logging.ERROR, logging.ERROR]


EVIL = {
    "deep": "<a>" * 2000 + "</a>" * 2000,
    "wide": "<a/>" * 50_000,
    "attributes": "<a " + " ".join(f"a{n}='{n}'" for n in range(5000)) + "/>",
    "error that is none": '<error type="odd"><x xmlns="urn:x"/><y xmlns="urn:x"/></error>',
}


@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL)
async def test_evil_stanzas_break_nothing(xmpp_server: Server, evil: str) -> None:
    async with opened(xmpp_server.url("alice")) as alice, opened(xmpp_server.url("bob")) as bob:
        to = f'to="{alice.stream.jid}"'
        asked = alice.stream.request(bob.stream.jid, "get", '<take xmlns="urn:x"/>')
        name = (await bob.iqs.get()).get("id")
        for stanza in (
            f'<message {to} type="normal">{evil}</message>',
            f'<message {to} type="error">{evil}</message>',
            f"<presence {to}>{evil}</presence>",
            f'<iq {to} type="result" id="unasked">{evil}</iq>',
            f'<iq {to} type="error" id="unasked">{evil}</iq>',
            f'<iq {to} type="error" id="{name}">{evil}</iq>',
        ):
            bob.stream.send(stanza)
        with pytest.raises(StanzaError, match="undefined-condition"):
            await asked
        await bob.stream.request(alice.stream.jid, "get", PING)
        assert alice.stream.up


async def test_nobody_is_told_of_a_loss_that_he_asked_for(xmpp_server: Server) -> None:
    ear = Ear(xmpp_server.url())
    await ear.stream.open()
    await ear.stream.close()
    await asyncio.sleep(0)
    assert ear.losses.empty()
