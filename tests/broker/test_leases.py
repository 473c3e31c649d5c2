"""Connections, client ids, leases, extensions and commits."""

from __future__ import annotations

import pytest

from unimsg.broker import Full
from unimsg.destination import Queue, TemporaryQueue, Topic
from unimsg.driver import Outcome, Overflow, Settlement
from unimsg.errors import ConnectionLostError, IllegalStateError, InvalidClientIDError, InvalidDestinationError, TransactionRolledBackError

from .desk import START, Desk, frame

Q = Queue("q")


def test_one_live_connection_has_a_client_id(desk: Desk) -> None:
    desk.link("a", "bank", lease=10.0)
    with pytest.raises(InvalidClientIDError, match="bank"):
        desk.link("b", "bank")
    desk.disconnect("a")
    desk.link("b", "bank", lease=10.0)
    desk.now += 10
    desk.link("c", "bank")
    with pytest.raises(ConnectionLostError):
        desk.heartbeat("b")
    with pytest.raises(ConnectionLostError):
        desk.post("b", Q, "x")


def test_a_connection_that_comes_again_replaces_itself(desk: Desk) -> None:
    desk.link("a", "bank")
    desk.declare(TemporaryQueue("a.1"), "a")
    desk.link("a", "bank")
    with pytest.raises(InvalidDestinationError):
        desk.post("a", TemporaryQueue("a.1"), "x")


def test_a_lease_that_runs_out_gives_back_counted_and_late_settlements_are_stale(desk: Desk) -> None:
    desk.link("silent", lease=10.0)
    desk.link("other", lease=1000.0)
    one, two = desk.consumer("silent", Q), desk.consumer("other", Q)
    desk.post("other", Q, "a", "b")
    (a,) = desk.take(one, 1)
    assert desk.next_due() == START + 10
    desk.now = START + 9.999
    desk.tick()
    assert desk.get(two) == ["b"]
    desk.now = START + 10
    desk.tick()
    assert desk.woken
    (again,) = desk.take(two, 1)
    assert (again.frame.data, again.count) == (b"a", 2)
    assert desk.settle(one, [Settlement(a.token)]) == [a.token]
    assert desk.extend(one, [a.token], 5.0) == [a.token]
    desk.post("other", Q, "c")
    assert desk.get(one) == ["c"], "it lives again"
    desk.now += 9
    desk.tick()
    assert desk.get(two) == []


def test_heartbeats_and_calls_keep_a_lease(desk: Desk) -> None:
    desk.link("a", lease=9.0)
    one = desk.consumer("a", Q)
    desk.post("a", Q, "x")
    (x,) = desk.take(one, 1)
    for step in range(10):
        desk.now += 8
        if step % 2:
            desk.heartbeat("a")
        else:
            desk.take(one, 1)
        desk.tick()
    assert desk.settle(one, [Settlement(x.token)]) == []


def test_nobody_noticed_that_a_lease_ran_out_so_it_did_not(desk: Desk) -> None:
    desk.link("a", lease=9.0)
    one = desk.consumer("a", Q)
    desk.post("a", Q, "x")
    (x,) = desk.take(one, 1)
    desk.now += 100
    assert desk.take(one, 1) == [], "its own call shows that it lives, before anything is taken back"
    assert desk.settle(one, [Settlement(x.token)]) == []


def test_an_extension_outlasts_the_lease(desk: Desk) -> None:
    desk.link("silent", lease=10.0)
    desk.link("other", lease=1000.0)
    one, two = desk.consumer("silent", Q), desk.consumer("other", Q)
    desk.post("other", Q, "a", "b", "c", group="g")
    a, b = desk.take(one, 1) + desk.take(one, 1)
    assert desk.extend(one, [a.token, "no such token"], 30.0) == ["no such token"]
    assert desk.extend(one, [a.token], 3.0) == [], "which does not shorten it"
    desk.now = START + 20
    desk.tick()
    assert desk.get(two) == [], "the group stays with whoever holds one of it"
    assert desk.settle(one, [Settlement(b.token)]) == [b.token]
    assert desk.next_due() == START + 30
    desk.now = START + 30
    desk.tick()
    assert [(each.frame.data, each.count) for each in desk.take(two, 9) + desk.take(two, 9) + desk.take(two, 9)] == [(b"a", 2), (b"b", 2), (b"c", 1)]
    assert desk.settle(one, [Settlement(a.token)]) == [a.token]
    assert desk.next_due() == START + 1000, "the lease of the other, which is not written again while most of it is left"


def test_an_extended_delivery_that_was_settled_leaves_nothing_due(desk: Desk) -> None:
    desk.link("silent", lease=10.0)
    one = desk.consumer("silent", Q)
    desk.post("silent", Q, "a")
    (a,) = desk.take(one, 1)
    desk.extend(one, [a.token], 30.0)
    desk.now = START + 20
    desk.tick()
    assert desk.settle(one, [Settlement(a.token)]) == []
    desk.now = START + 40
    desk.tick()
    assert desk.next_due() is None


def test_a_durable_subscription_of_a_silent_connection_is_given_to_the_next(desk: Desk) -> None:
    topic = Topic("t")
    desk.link("silent", "bank", lease=10.0)
    one = desk.consumer("silent", topic, durable=True, subscription="s")
    desk.post("silent", topic, "a")
    desk.take(one, 1)
    desk.now += 11
    desk.link("next", "bank")
    (a,) = desk.take(desk.consumer("next", topic, durable=True, subscription="s"), 1)
    assert a.count == 2


@pytest.mark.parametrize("durable", [True, False])
def test_who_joins_a_silent_sharer_does_not_end_it_but_who_wants_another_topic_does(desk: Desk, durable: bool) -> None:
    source = {"shared": True, "durable": durable, "subscription": "s"}
    for name in ("silent", "next"):
        desk.link(name, lease=10.0)
    silent = desk.consumer("silent", Topic("t"), **source)
    desk.now += 11
    desk.consumer("next", Topic("t"), **source)
    assert desk.get(silent) == []
    desk.now += 11
    with pytest.raises(IllegalStateError, match="in use"):
        desk.consumer("next", Topic("other"), **source)  # its own consumer is there
    desk.link("third", lease=10.0)
    desk.disconnect("next")
    desk.consumer("third", Topic("other"), **source)
    with pytest.raises(ConnectionLostError):
        desk.take(silent, 1)


def test_a_commit_does_all(desk: Desk) -> None:
    link = desk.link("c")
    inbox, outbox = desk.consumer(link, Q), desk.consumer(link, Queue("out"))
    desk.post(link, Q, "a", "b")
    a, b = desk.take(inbox, 2)
    desk.commit([frame(Queue("out"), "x"), frame(Topic("nobody"), "y")], [(inbox, [Settlement(a.token), Settlement(b.token, Outcome.RELEASE)])], link)
    assert desk.get(outbox) == ["x"]
    (b,) = desk.take(inbox, 5)
    assert (b.frame.data, b.count) == (b"b", 2)


def test_a_commit_that_cannot_do_all_does_nothing(desk: Desk) -> None:
    link = desk.link("c")
    inbox, other = desk.consumer(link, Q), desk.consumer(link, Queue("other"))
    desk.post(link, Q, "a")
    desk.post(link, Queue("other"), "o")
    (a,), (o,) = desk.take(inbox, 1), desk.take(other, 1)
    sends = [frame(Queue("out"), "x")]
    with pytest.raises(TransactionRolledBackError, match="no longer ours"):
        desk.commit(sends, [(inbox, [Settlement(a.token)]), (other, [Settlement("stale")])], link)
    with pytest.raises(TransactionRolledBackError):
        desk.commit(sends, [(inbox, [Settlement(o.token)])], link)
    with pytest.raises(InvalidDestinationError):
        desk.commit([*sends, frame(TemporaryQueue("gone"))], [(inbox, [Settlement(a.token)])], link)
    assert [info.destination.name for info in desk.inspect()] == ["other", "q"]
    assert desk.settle(inbox, [Settlement(a.token)]) == []


def test_a_commit_waits_for_room_as_a_whole(desk: Desk) -> None:
    link, topic = desk.link("c"), Topic("t")
    inbox, slow = desk.consumer(link, Q), desk.consumer(link, topic, overflow=Overflow("block", 1))
    desk.post(link, Q, "a")
    desk.post(link, topic, "0")
    (a,) = desk.take(inbox, 1)
    work = [frame(Queue("out"), "x"), frame(topic, "1"), frame(topic, "2")], [(inbox, [Settlement(a.token)])]
    with pytest.raises(Full):
        desk.commit(*work, link)
    assert desk.depth(Queue("out")) == 0
    assert desk.eat(slow) == ["0"]
    desk.commit(*work, link)
    assert desk.eat(slow) == ["1", "2"], "once there is room, the transaction goes in whole"
    assert desk.depth(Queue("out")) == 1


def test_unknown_connections_and_consumers_are_lost_not_guessed(desk: Desk) -> None:
    desk.disconnect("nobody")
    desk.detach(99)
    with pytest.raises(ConnectionLostError):
        desk.take(99, 1)
    with pytest.raises(ConnectionLostError):
        desk.consumer("nobody", Q)
    assert desk.settle(99, [Settlement(1), Settlement(2, Outcome.RELEASE)]) == [1, 2]
