"""What becomes of what a client holds: when it leaves, is cut, falls silent; when the service, the server or another service comes and goes."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.xmpp.guests import Guest, place, serving
from unimsg.errors import ConnectionFailedError, IllegalStateError, InvalidURLError, SecurityError, StoreError
from unimsg.registry import URL
from unimsg.testing import Server
from unimsg_xmpp.conditions import NoSessionError
from unimsg_xmpp.discovery import features_of, items_of
from unimsg_xmpp.protocol import NAMESPACE, element
from unimsg_xmpp.service.access import Access, rule_of
from unimsg_xmpp.service.alone import AnotherServiceError
from unimsg_xmpp.service.service import Service

ALL = Access([rule_of("*@localhost")])


async def hold(guest: Guest, queue: str) -> None:
    await guest.open()
    await guest.ask("consume", consumer="c1", destination=queue, credit=10)
    assert await guest.taken(1) == ["work"]


async def again(guest: Guest, queue: str) -> tuple[list[str], str | None]:
    """Take what comes back; return it with its counts."""
    await guest.ask("consume", consumer="again", destination=queue, credit=10)
    delivered, texts = await asyncio.wait_for(guest.deliveries.get(), 20)
    return texts, delivered.get("counts")


async def test_what_a_client_held_goes_back_when_it_leaves(xmpp_server: Server) -> None:
    async with serving(xmpp_server) as service, Guest(xmpp_server, service.jid) as guest:
        await guest.open()
        queue = f"queue:{place()}"
        await guest.send(queue, "work")
        async with Guest(xmpp_server, service.jid, "bob") as bob:
            await hold(bob, queue)
            bob.stream.send(f'<presence type="unavailable" to="{service.jid}"/>')
            await guest.until(queue, (1, 0))
            with pytest.raises(NoSessionError):
                await bob.ask("renew")
            await hold(bob, queue)
            bob.stream.native.transport.abort()
            await guest.until(queue, (1, 0))
        assert await again(guest, queue) == (["work"], "3")


async def test_what_was_delivered_to_a_client_that_answers_nothing_goes_back(xmpp_server: Server) -> None:
    async with serving(xmpp_server, lease=0.6) as service, Guest(xmpp_server, service.jid) as guest:
        await guest.open(lease=20)
        queue = f"queue:{place()}"
        await guest.send(queue, *map(str, range(200)))
        async with Guest(xmpp_server, service.jid, "bob") as bob:
            bob.answers = False
            await bob.open()
            await bob.ask("consume", consumer="c1", destination=queue, credit=1000)
            assert len(await bob.taken(40)) == 40  # four stanzas of ten, and no more until they are answered
            assert await guest.depth(queue) == (160, 40)
            with pytest.raises(NoSessionError):
                while True:  # it asks, and so shows life; but it does not answer
                    await bob.ask("renew")
                    await asyncio.sleep(0.05)
            assert bob.came() == []
            assert await guest.depth(queue) == (200, 0)


async def test_a_silent_client_loses_what_it_did_not_extend(xmpp_server: Server) -> None:
    async with serving(xmpp_server, lease=0.5) as service, Guest(xmpp_server, service.jid) as guest:
        await guest.open(lease=20)
        queue = f"queue:{place()}"
        await guest.send(queue, "long", "short")
        async with Guest(xmpp_server, service.jid, "bob") as bob:
            await bob.open()
            await bob.ask("consume", consumer="c1", destination=queue, credit=10)
            await bob.taken(2)
            assert (await bob.ask("extend", consumer="c1", deliveries="1", seconds=30)).get("stale") is None
            await guest.until(queue, (1, 1))
            settled = await bob.ask("settle", element("accept", {"deliveries": "1-2"}, nested=True), consumer="c1")
            assert settled.get("stale") == "2"


async def test_a_client_that_comes_back_finds_its_place_free(xmpp_server: Server) -> None:
    async with serving(xmpp_server) as service, Guest(xmpp_server, service.jid) as guest, Guest(xmpp_server, service.jid) as later:
        await guest.open(client_id="desk")
        later.connection = guest.connection
        await later.open(client_id="desk")
        with pytest.raises(NoSessionError):
            await guest.ask("renew")
        assert (await asyncio.wait_for(guest.presences.get(), 20)).get("type") == "unavailable"
        await later.open(client_id="desk")
        assert service.sessions == 1


async def test_a_service_that_stops_says_so_and_one_that_starts_goes_on(xmpp_server: Server, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'broker.db'}"
    queue = f"queue:{place()}"
    async with serving(xmpp_server, store=store) as service, Guest(xmpp_server, service.jid) as guest:
        await guest.open()
        await guest.send(queue, "work")
        await guest.ask("consume", consumer="c1", destination=queue, credit=10)
        await guest.taken(1)
        await service.stop()
        assert (await asyncio.wait_for(guest.presences.get(), 20)).get("type") == "unavailable"
        async with serving(xmpp_server, store=store):
            with pytest.raises(NoSessionError):
                await guest.ask("renew")
            await guest.open()
            assert await again(guest, queue) == (["work"], "2")


async def test_the_second_service_of_an_address_leaves_and_the_first_serves_on(xmpp_server: Server) -> None:
    async with serving(xmpp_server) as service, Guest(xmpp_server, service.jid) as guest:
        await guest.open()
        for _ in range(3):
            second = Service(service.url, f"memory://{place()}", ALL)
            with pytest.raises(IllegalStateError, match="another"):
                await second.start()
            await second.stop()
        queue = f"queue:{place()}"
        await guest.send(queue, "work")
        assert await again(guest, queue) == (["work"], None)


async def test_one_file_has_one_service(xmpp_server: Server, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'broker.db'}"
    async with serving(xmpp_server, store=store):
        other = Service(xmpp_server.component_url(xmpp_server.components[-3]), store, ALL)
        with pytest.raises(AnotherServiceError, match="one file has one service"):
            await other.start()


async def test_an_account_can_be_a_service(xmpp_server: Server) -> None:
    service = Service(xmpp_server.url("carol", "pw", tls="off"), f"memory://{place()}", ALL)
    await service.start()
    try:
        assert service.jid == "carol@localhost/unimsg"
        async with Guest(xmpp_server, service.jid) as guest, Guest(xmpp_server, service.jid, "bob") as bob:
            assert NAMESPACE in await features_of(guest.stream, service.jid)
            await guest.open()
            queue = f"queue:{place()}"
            await guest.send(queue, "work")
            await hold(bob, queue)
            await bob.stream.close()
            await guest.until(queue, (1, 0))
            second = Service(service.url, f"memory://{place()}", ALL)
            with pytest.raises(AnotherServiceError, match="carol@localhost/unimsg"):
                await second.start()
            assert await again(guest, queue) == (["work"], "2")
    finally:
        await service.stop()


async def test_it_is_found_by_discovery(xmpp_server: Server) -> None:
    async with serving(xmpp_server) as service, Guest(xmpp_server, service.jid) as guest:
        assert {"urn:unimsg:1", NAMESPACE, f"{NAMESPACE}#zlib", "urn:xmpp:ping"} <= await features_of(guest.stream, service.jid)
        assert await items_of(guest.stream, service.jid) == []


@pytest.mark.parametrize(
    ("change", "store", "error"),
    [
        ({"password": "wrong"}, "memory://", SecurityError),
        ({"port": 1}, "memory://", ConnectionFailedError),
        ({}, "sqlite:////nowhere/at/all/broker.db", (InvalidURLError, StoreError)),
    ],
)
async def test_what_cannot_work_is_said_at_once(xmpp_server: Server, change: dict[str, str | int], store: str, error: type[Exception]) -> None:
    url = xmpp_server.component_url(xmpp_server.components[-2])
    if "password" in change:
        url = url.replace(f":{xmpp_server.component_secret}@", ":wrong@")
    if "port" in change:
        url = re.sub(r"port=\d+", "port=1", url)
    service = Service(URL(url), store, ALL)
    before = asyncio.all_tasks()
    with pytest.raises(error):
        await service.start()
    assert asyncio.all_tasks() <= before
