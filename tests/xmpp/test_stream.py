"""A stream asks and is answered, by the one it asked and by nobody else, in the order of asking, on both servers."""

from __future__ import annotations

import asyncio
import re
import uuid
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.xmpp.streams import PING, Ear, opened
from unimsg.errors import ConnectionLostError, IllegalStateError, MessageFormatError
from unimsg.testing import Server
from unimsg_xmpp.stream import StanzaError, escape

COMPONENT = "other5"
XML = st.text(st.characters(exclude_categories=["Cs"]))


async def test_an_account_asks_its_server_and_itself(xmpp_server: Server) -> None:
    async with opened(xmpp_server.url()) as ear:
        assert re.fullmatch("alice@localhost/.+", ear.stream.jid)
        assert ear.stream.namespace == "jabber:client"

        for to in (None, "localhost", "alice@localhost", "ALICE@LocalHost"):
            answer = await ear.stream.request(to, "get", '<query xmlns="http://jabber.org/protocol/disco#info"/>')
            assert (answer.tag, answer.get("type")) == ("{jabber:client}iq", "result")


async def test_a_resource_may_be_chosen(xmpp_server: Server) -> None:
    resource = uuid.uuid4().hex
    async with opened(xmpp_server.url().replace("?", f"/{resource}?")) as ear:
        assert ear.stream.jid == f"alice@localhost/{resource}"


async def test_a_component_and_an_account_talk(xmpp_server: Server) -> None:
    async with opened(xmpp_server.component_url(COMPONENT)) as service, opened(xmpp_server.url()) as ear:
        assert service.stream.jid == f"{COMPONENT}.localhost"

        asked = ear.stream.request(f"queue@{COMPONENT}.localhost", "set", '<take xmlns="urn:x"/>')
        request = await service.iqs.get()
        assert request.tag == "{jabber:component:accept}iq"
        assert (request.get("from"), request[0].tag) == (ear.stream.jid, "{urn:x}take")
        service.stream.reply(request, '<taken xmlns="urn:x"/>')
        answer = await asked
        assert (answer.get("from"), answer[0].tag) == (f"queue@{COMPONENT}.localhost", "{urn:x}taken")

        back = service.stream.request(ear.stream.jid, "get", '<told xmlns="urn:x"/>')
        ear.stream.reply(await ear.iqs.get())
        assert len(await back) == 0

        ear.stream.send(f'<message to="{COMPONENT}.localhost" type="normal"><body>{escape("a<b")}</body></message>'.encode())
        message = await service.messages.get()
        assert (message.tag, message[0].text) == ("{jabber:component:accept}message", "a<b")
        ear.stream.send(f'<presence to="{COMPONENT}.localhost"/>')
        assert (await service.presences.get()).get("from") == ear.stream.jid


async def test_a_refusal_says_all_that_was_said(xmpp_server: Server) -> None:
    async with opened(xmpp_server.component_url(COMPONENT)) as service, opened(xmpp_server.url()) as ear:
        asked = ear.stream.request(service.stream.jid, "set", '<take xmlns="urn:x"/>')
        service.stream.refuse(await service.iqs.get(), "modify", "not-acceptable", "too <large>", '<size xmlns="urn:x" limit="7"/>')

        with pytest.raises(StanzaError, match="not-acceptable: too <large>") as caught:
            await asked
        error = caught.value
        assert (error.condition, error.kind, error.text, error.sender) == ("not-acceptable", "modify", "too <large>", service.stream.jid)
        assert error.element is not None
        assert (error.element.tag, error.element.get("limit")) == ("{urn:x}size", "7")


async def test_an_address_where_nobody_is(xmpp_server: Server) -> None:
    async with opened(xmpp_server.url()) as ear:
        with pytest.raises(StanzaError) as caught:
            await ear.stream.request(f"alice@localhost/{uuid.uuid4().hex}", "get", PING)
    assert caught.value.condition == "service-unavailable"


async def test_only_who_was_asked_can_answer(xmpp_server: Server) -> None:
    async with opened(xmpp_server.url("alice")) as alice, opened(xmpp_server.url("bob")) as bob, opened(xmpp_server.url("carol")) as mallory:
        asked = alice.stream.request(bob.stream.jid, "get", '<take xmlns="urn:x"/>')
        request = await bob.iqs.get()
        mallory.stream.send(f'<iq type="result" id="{request.get("id")}" to="{alice.stream.jid}"><forged xmlns="urn:x"/></iq>')
        mallory.stream.send(f'<iq type="error" id="{request.get("id")}" to="{alice.stream.jid}"/>')
        mallory.stream.send(f'<message to="{alice.stream.jid}" type="normal"/>')
        await alice.messages.get()  # so the forgeries have arrived
        assert not asked.done()

        bob.stream.reply(request, '<true xmlns="urn:x"/>')
        assert (await asked)[0].tag == "{urn:x}true"
        bob.stream.reply(request, '<again xmlns="urn:x"/>')
        await alice.stream.request(bob.stream.jid, "get", PING)
        assert alice.iqs.empty()


async def test_requests_without_an_answer(xmpp_server: Server) -> None:
    async with opened(xmpp_server.url("alice")) as alice, opened(xmpp_server.url("bob")) as bob:
        with pytest.raises(TimeoutError, match=r"bob@localhost/.* did not answer within 0.05 s"):
            await alice.stream.request(bob.stream.jid, "get", '<take xmlns="urn:x"/>', 0.05)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await alice.stream.request(bob.stream.jid, "get", '<take xmlns="urn:x"/>')
        late = [await bob.iqs.get(), await bob.iqs.get()]
        for request in late:
            bob.stream.reply(request)  # too late: nobody asks any more
        await alice.stream.request(bob.stream.jid, "get", PING)

        left = alice.stream.request(bob.stream.jid, "get", '<take xmlns="urn:x"/>')
        await alice.stream.close()
        with pytest.raises(ConnectionLostError, match="was closed"):
            await left
        for call in (lambda: alice.stream.send(" "), lambda: alice.stream.request(None, "get", PING), lambda: alice.stream.reply(late[0])):
            with pytest.raises(ConnectionLostError, match="was closed"):
                call()
        with pytest.raises(ConnectionLostError, match="was closed"):
            await alice.stream.drain()


async def test_ten_thousand_requests_at_once(xmpp_server: Server) -> None:
    async with opened(xmpp_server.url()) as ear:
        order: list[int] = []
        asked = [ear.stream.request(None, "get", PING) for _ in range(10_000)]
        for number, future in enumerate(asked):
            future.add_done_callback(lambda _, number=number: order.append(number))  # type: ignore[misc]
        await asyncio.gather(*asked)
        assert order == list(range(10_000))


async def test_a_stream_says_who_it_is(xmpp_server: Server) -> None:
    info = '<query xmlns="http://jabber.org/protocol/disco#info"{}/>'
    async with opened(xmpp_server.url("alice"), ("urn:a&b",)) as alice, opened(xmpp_server.url("bob")) as bob:
        query = (await bob.stream.request(alice.stream.jid, "get", info.format("")))[0]
        assert {feature.get("var") for feature in query} >= {"urn:a&b", "urn:xmpp:ping", "http://jabber.org/protocol/disco#info"}
        assert query[0].attrib == {"category": "client", "type": "bot", "name": "unimsg"}
        with pytest.raises(StanzaError, match="item-not-found"):
            await bob.stream.request(alice.stream.jid, "get", info.format(' node="x"'))
        version = (await bob.stream.request(alice.stream.jid, "get", '<query xmlns="jabber:iq:version"/>'))[0]
        assert version[0].text == "unimsg"
        assert alice.iqs.empty()


async def test_slixmpp_works_beside_us(xmpp_server: Server) -> None:
    async with opened(xmpp_server.url()) as ear:
        iq = ear.stream.native.make_iq_get(ito="localhost")
        iq.append(ET.fromstring(PING))
        assert (await iq.send(timeout=5))["type"] == "result"
    assert ear.stream.native is None


async def test_open_close_and_open_again(xmpp_server: Server) -> None:
    ear = Ear(xmpp_server.url())
    await ear.stream.close()
    for _ in range(3):
        async with asyncio.timeout(20):
            await ear.stream.open()
        with pytest.raises(IllegalStateError, match="is open already"):
            await ear.stream.open()
        await ear.stream.request(None, "get", PING)
        await ear.stream.close()
        await ear.stream.close()
    assert ear.losses.empty()


@given(XML)
def test_escaped_text_comes_back(text: str) -> None:
    try:
        escaped = escape(text)
    except MessageFormatError as error:
        position = int(re.search(r"position (\d+)", str(error))[1])  # type: ignore[index]
        with pytest.raises(ET.ParseError):
            ET.fromstring(f"<a>{text[position]}</a>")
    else:
        element = ET.fromstring(f'<a b="{escaped}">{escaped}</a>')
        assert element.get("b") == text
        assert (element.text or "") == text


@pytest.mark.parametrize("char", ["\0", "\x0b", "\x1f", "\ud800", "\ufffe", "\uffff"])
def test_what_xml_cannot_hold_is_refused(char: str) -> None:
    with pytest.raises(MessageFormatError, match=rf"U\+{ord(char):04X} at position 2 cannot travel"):
        escape(f"a<{char}")
