"""Who may do what: the rules, and what the service makes of them for real addresses."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.xmpp.guests import Guest, place, serving
from unimsg.destination import Queue, TemporaryQueue, Topic, parse_destination
from unimsg.errors import InvalidClientIDError, InvalidDestinationError, SecurityError
from unimsg.testing import Server
from unimsg_xmpp.protocol import element
from unimsg_xmpp.service.access import Access, read_file, rule_of

ALICE = "alice@example.org"


@pytest.mark.parametrize(
    ("rule", "destination", "covered"),
    [
        ("*", "topic:md.>", True),
        ("queue:orders", "queue:orders", True),
        ("queue:orders", "queue:orders.eu", False),
        ("queue:orders.*", "queue:orders.eu", True),
        ("queue:orders.*", "queue:orders.eu.west", False),
        ("queue:orders.*", "topic:orders.eu", False),
        ("topic:md.>", "topic:md", False),
        ("topic:md.>", "topic:md.US.IBM", True),
        ("topic:md.>", "topic:md.US.*", True),
        ("topic:md.>", "topic:md.>", True),
        ("topic:md.>", "topic:>", False),
        ("topic:md.>", "topic:*.US", False),
        ("topic:md.*", "topic:md.>", False),
        ("topic:md.*", "topic:md.*", True),
        ("topic:md.*.IBM", "topic:md.*.*", False),
        ("topic:md.US", "topic:md.*", False),
        ("topic:>", "topic:>", True),
        ("topic:>", "topic:*", True),
        ("topic:*", "topic:a.b", False),
    ],
)
def test_a_rule_covers_a_pattern_only_if_it_covers_all_of_it(rule: str, destination: str, covered: bool) -> None:
    access = Access([rule_of(f"{ALICE}=consume:{rule}")])
    assert access.may(ALICE, "consume", parse_destination(destination)) is covered


@pytest.mark.parametrize(
    ("who", "bare", "named"),
    [
        ("*", "x@y", True),
        (ALICE, ALICE, True),
        ("Alice@EXAMPLE.org", ALICE, True),
        (ALICE, "alice@example.org.evil", False),
        ("*@example.org", "bob@example.org", True),
        ("*@example.org", "bob@evil-example.org", False),
        ("*@example.org", "example.org", False),
        ("*@example.org", "bob@sub.example.org", False),
        ("example.org", "example.org", True),
    ],
)
def test_who_is_named(who: str, bare: str, named: bool) -> None:
    assert Access([rule_of(who)]).knows(bare) is named


def test_who_may_consume_may_set_aside_and_no_more() -> None:
    access = Access([rule_of(f"{ALICE}=consume:queue:orders.*")])
    assert access.may(ALICE, "publish", Queue("dead.orders.eu"))
    assert not access.may(ALICE, "publish", Queue("dead.bills"))
    assert not access.may(ALICE, "consume", Queue("dead.orders.eu"))
    assert not access.may(ALICE, "publish", Queue("orders.eu"))
    assert not access.may(ALICE, "publish", Topic("dead.orders.eu"))
    assert access.may(ALICE, "publish", TemporaryQueue("anybody.1"))


@pytest.mark.parametrize(
    "text", ["", "alice@example.org/desk", "a@b@c d", "bob@example.org=", "bob@example.org=fly", "*=consume:orders", "*=consume:queue:a..b"]
)
def test_a_rule_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        rule_of(text)


def test_a_file_of_rules(tmp_path: Path) -> None:
    path = tmp_path / "acl.toml"
    path.write_text(
        '[[allow]]\nwho = ["alice@example.org", "*@partner.example"]\nmay = "consume"\non = ["queue:a.*", "topic:b"]\n[[allow]]\nwho = "root@example.org"\n'
    )
    access = Access(read_file(path))
    assert access.may("x@partner.example", "consume", Topic("b"))
    assert not access.may("x@partner.example", "manage", Topic("b"))
    assert access.may("root@example.org", "manage", Queue("anything"))
    for bad in ("allow = 1", "[[allow]]\nmay = 'consume'", "[[allow]]\nwho = 1", "[[allow]]\nwho = '*'\nmay = 'fly'", "[allow", "[[deny]]\nwho = '*'"):
        path.write_text(bad)
        with pytest.raises(ValueError, match=r"acl\.toml"):
            read_file(path)


async def test_each_request_needs_its_right(xmpp_server: Server) -> None:
    rules = ("alice@localhost", "bob@localhost=publish:queue:in.*", "bob@localhost=consume:queue:out.*", "bob@localhost=consume:topic:md.*")
    async with serving(xmpp_server, *rules) as service, Guest(xmpp_server, service.jid, "bob") as bob, Guest(xmpp_server, service.jid) as alice:
        await bob.open()
        await alice.open()
        await alice.send("queue:secret.a", "x")
        await alice.send("queue:out.a", "y")
        allowed = [
            element("submit", {"to": "queue:in.a"}),
            element("submit", {"to": "queue:dead.out.a"}),
            element("consume", {"consumer": "ok", "destination": "queue:out.a", "credit": 0}),
            element("consume", {"consumer": "ok2", "destination": "topic:md.*", "credit": 0}),
            element("browse", {"destination": "queue:out.a"}),
        ]
        refused = [
            element("submit", {"to": "queue:out.a"}),
            element("submit", {"to": "queue:secret.a"}),
            element("consume", {"consumer": "n1", "destination": "queue:in.a", "credit": 0}),
            element("consume", {"consumer": "n2", "destination": "topic:md.>", "credit": 0}),
            element("browse", {"destination": "queue:secret.a"}),
            element("declare", {"destination": "queue:out.a"}),
            element("delete", {"destination": "queue:in.a"}),
            element("purge", {"destination": "queue:out.a"}),
        ]
        for payload in allowed:
            await bob.say(payload)
        for payload in refused:
            with pytest.raises(SecurityError):
                await bob.say(payload)
        places = [each.get("destination") for each in await bob.ask("inspect")]
        assert "queue:secret.a" not in places
        assert {"queue:in.a", "queue:out.a"} <= set(places)
        assert await alice.depth("queue:out.a") == (1, 0)


async def test_a_stranger_gets_nothing(xmpp_server: Server) -> None:
    async with serving(xmpp_server, "alice@localhost") as service, Guest(xmpp_server, service.jid, "bob") as bob, Guest(xmpp_server, service.jid) as alice:
        await alice.open()
        queue = f"queue:{place()}"
        with pytest.raises(SecurityError):
            await bob.open()
        for name in ("submit", "consume", "renew", "nonsense", "settle"):
            with pytest.raises(SecurityError):
                await bob.ask(name, destination=queue, to=queue, consumer="c1", credit=1)
        await alice.send(queue, "x")
        assert bob.deliveries.empty()
        assert service.sessions == 1


async def test_temporary_queues_are_their_connections_own(xmpp_server: Server) -> None:
    async with serving(xmpp_server) as service, Guest(xmpp_server, service.jid) as alice, Guest(xmpp_server, service.jid, "bob") as bob:
        await alice.open()
        queue = f"temporary-queue:{alice.connection}.1"
        await alice.ask("declare", destination=queue)
        for thief in (alice.connection, alice.connection[:12], f"{alice.connection}0"):
            bob.connection = thief
            with pytest.raises(InvalidClientIDError):
                await bob.open()
        bob.connection = place()
        await bob.open()
        await bob.send(queue, "an answer")
        for name in ("browse", "purge", "delete", "declare"):
            with pytest.raises(InvalidDestinationError):
                await bob.ask(name, destination=queue)
        with pytest.raises(InvalidDestinationError):
            await bob.ask("consume", consumer="c1", destination=queue, credit=1)
        assert queue not in [each.get("destination") for each in await bob.ask("inspect")]
        assert await alice.depth(queue) == (1, 0)


async def test_a_shared_subscription_of_others_cannot_be_taken_away(xmpp_server: Server) -> None:
    rules = ("alice@localhost", "bob@localhost=consume:topic:b.*")
    async with serving(xmpp_server, *rules) as service, Guest(xmpp_server, service.jid) as alice, Guest(xmpp_server, service.jid, "bob") as bob:
        await alice.open()
        await bob.open()
        await alice.ask("consume", consumer="c1", destination="topic:a.x", subscription="audit", durable=True, shared=True, credit=0)
        await alice.ask("cancel", consumer="c1")
        await alice.send("topic:a.x", "kept")
        with pytest.raises(SecurityError):
            await bob.ask("consume", consumer="c1", destination="topic:b.x", subscription="audit", durable=True, shared=True, credit=1)
        with pytest.raises(SecurityError):
            await bob.ask("unsubscribe", subscription="audit")
        await alice.ask("consume", consumer="c2", destination="topic:a.x", subscription="audit", durable=True, shared=True, credit=1)
        assert await alice.taken(1) == ["kept"]


async def test_a_client_id_belongs_to_its_account(xmpp_server: Server) -> None:
    async with serving(xmpp_server) as service, Guest(xmpp_server, service.jid) as alice, Guest(xmpp_server, service.jid, "bob") as bob:
        await alice.open(client_id="desk")
        await bob.open(client_id="desk")
        async with Guest(xmpp_server, service.jid) as again:
            with pytest.raises(InvalidClientIDError):
                await again.open(client_id="desk")


async def test_a_new_list_counts_at_once(xmpp_server: Server) -> None:
    async with serving(xmpp_server) as service, Guest(xmpp_server, service.jid) as alice, Guest(xmpp_server, service.jid, "bob") as bob:
        await alice.open()
        await bob.open()
        queue = f"queue:{place()}"
        await alice.ask("consume", consumer="c1", destination=queue, credit=1)
        service.access = Access([rule_of("alice@localhost=publish")])
        ended = await asyncio.wait_for(alice.ended.get(), 20)
        assert (ended.get("consumer"), ended.get("error")) == ("c1", "access-denied")
        await alice.send(queue, "still")
        assert (await asyncio.wait_for(bob.presences.get(), 20)).get("type") == "unavailable"
        with pytest.raises(SecurityError):
            await bob.send(queue, "no more")
        with pytest.raises(SecurityError):
            await alice.ask("consume", consumer="c2", destination=queue, credit=1)
