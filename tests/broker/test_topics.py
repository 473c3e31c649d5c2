"""Topics and the four kinds of subscription (Jakarta Messaging 3.1 §8.3), no_local, overflow."""

from __future__ import annotations

import pytest

from unimsg.broker import Full
from unimsg.destination import Queue, TemporaryTopic, Topic
from unimsg.driver import Overflow, Settlement
from unimsg.errors import ConnectionLostError, IllegalStateError, InvalidDestinationError, SlowConsumerError

from .desk import START, Desk, frame

T = Topic("news.uk")


def test_every_subscription_gets_its_own_copy_by_pattern_and_selector(desk: Desk) -> None:
    link = desk.link("c")
    desk.post(link, T, "before anybody listened")
    all_, one_level, other = (desk.consumer(link, Topic(name)) for name in ("news.>", "news.*", "news.fr"))
    picky = desk.consumer(link, T, selector="n = 1")
    desk.post(link, T, "a", properties={"n": 1})
    desk.post(link, Topic("news.uk.deep"), "b", properties={"n": 1})
    desk.post(link, T, "c")
    assert desk.eat(all_) == ["a", "b", "c"]
    assert desk.eat(one_level) == ["a", "c"]
    assert desk.eat(other) == []
    assert desk.eat(picky) == ["a"]


def test_delayed_copies_go_to_the_subscriptions_of_send_time(desk: Desk) -> None:
    link = desk.link("c")
    early = desk.consumer(link, T)
    desk.post(link, T, "later", deliver_at=START + 5)
    late = desk.consumer(link, T)
    desk.now = START + 5
    assert desk.get(late) == []
    assert desk.get(early) == ["later"]


def test_no_local_is_by_connection_and_for_a_durable_one_by_client_id(desk: Desk) -> None:
    mine, other = desk.link("mine", "bank"), desk.link("other")
    live, durable = desk.consumer(mine, T, no_local=True), desk.consumer(mine, T, no_local=True, durable=True, subscription="s")
    desk.post(mine, T, "mine")
    desk.post(other, T, "theirs")
    assert desk.eat(live) == ["theirs"]
    assert desk.eat(durable) == ["theirs"]
    desk.disconnect(mine)
    again = desk.link("again", "bank")
    desk.post(again, T, "still mine: the same client id")
    desk.post(other, T, "theirs 2")
    assert desk.eat(desk.consumer(again, T, no_local=True, durable=True, subscription="s")) == ["theirs 2"]


def test_a_live_subscription_ends_with_its_consumer(desk: Desk) -> None:
    link = desk.link("c")
    one = desk.consumer(link, T)
    desk.post(link, T, "a")
    desk.detach(one)
    assert desk.inspect() == []
    with pytest.raises(ConnectionLostError):
        desk.take(one, 1)


def test_a_shared_live_subscription_lasts_until_its_last_consumer_leaves(desk: Desk) -> None:
    a, b = desk.link("a"), desk.link("b")
    one, two = (desk.consumer(link, T, shared=True, subscription="s") for link in (a, b))
    desk.post(a, T, "1", "2", "3")
    assert sorted(desk.get(one) + desk.get(two) + desk.get(one)) == ["1", "2", "3"]
    desk.detach(one)
    assert desk.get(two), "what the other had comes to the one that is left"
    desk.detach(two)
    assert desk.inspect() == []
    assert desk.get(desk.consumer(a, T, shared=True, subscription="s")) == []


def test_an_unshared_durable_subscription_needs_a_client_id_and_has_one_consumer(desk: Desk) -> None:
    with pytest.raises(IllegalStateError, match="client id"):
        desk.consumer(desk.link("anonymous"), T, durable=True, subscription="s")
    bank = desk.link("c", "bank")
    one = desk.consumer(bank, T, durable=True, subscription="s")
    with pytest.raises(IllegalStateError, match="active consumer"):
        desk.consumer(bank, T, durable=True, subscription="s")
    with pytest.raises(IllegalStateError, match="active consumer"):
        desk.unsubscribe("s", bank)
    desk.detach(one)
    desk.post(bank, T, "while nobody listened")
    desk.disconnect(bank)
    bank = desk.link("c2", "bank")
    other = desk.link("d", "other bank")
    assert desk.get(desk.consumer(other, T, durable=True, subscription="s")) == [], "another client's is another"
    one = desk.consumer(bank, T, durable=True, subscription="s")
    assert desk.eat(one) == ["while nobody listened"]
    desk.detach(one)
    desk.unsubscribe("s", bank)
    with pytest.raises(InvalidDestinationError, match="no durable subscription"):
        desk.unsubscribe("s", bank)


@pytest.mark.parametrize("change", [{"destination": Topic("other")}, {"selector": "n = 1"}, {"no_local": True}], ids=["topic", "selector", "no_local"])
def test_an_idle_durable_subscription_that_is_asked_for_differently_begins_anew(desk: Desk, change: dict[str, object]) -> None:
    link = desk.link("c", "bank")
    desk.detach(desk.consumer(link, T, durable=True, subscription="s"))
    desk.post(link, T, "old")
    asked = {"destination": T, "durable": True, "subscription": "s", **change}
    assert desk.get(desk.consumer(link, **asked)) == []  # type: ignore[arg-type]
    assert len(desk.inspect()) == 1


@pytest.mark.parametrize("durable", [True, False])
def test_a_shared_subscription_in_use_is_not_changed(desk: Desk, durable: bool) -> None:
    link = desk.link("c")
    one = desk.consumer(link, T, durable=durable, shared=True, subscription="s")
    with pytest.raises(IllegalStateError, match="in use"):
        desk.consumer(link, T, durable=durable, shared=True, subscription="s", selector="n = 1")
    with pytest.raises(IllegalStateError, match="in use"):
        desk.consumer(link, Topic("other"), durable=durable, shared=True, subscription="s")
    desk.post(link, T, "a")
    assert desk.eat(one) == ["a"]


def test_shared_and_unshared_durable_subscriptions_have_one_name_space_and_live_ones_another(desk: Desk) -> None:
    link = desk.link("c", "bank")
    desk.detach(desk.consumer(link, T, durable=True, subscription="s"))
    with pytest.raises(IllegalStateError, match="unshared, not shared"):
        desk.consumer(link, T, durable=True, shared=True, subscription="s")
    desk.consumer(link, T, shared=True, subscription="s")
    assert len(desk.inspect()) == 2


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ({"shared": True}, IllegalStateError),
        ({"durable": True}, IllegalStateError),
        ({"subscription": "s"}, IllegalStateError),
        ({"shared": True, "subscription": "s", "no_local": True}, IllegalStateError),
        ({"destination": Queue("q"), "no_local": True}, IllegalStateError),
        ({"destination": Queue("q"), "durable": True, "subscription": "s"}, IllegalStateError),
        ({"destination": TemporaryTopic("c.t"), "durable": True, "subscription": "s"}, InvalidDestinationError),
    ],
)
def test_sources_that_make_no_sense_are_refused_and_leave_nothing(desk: Desk, source: dict[str, object], error: type[Exception]) -> None:
    link = desk.link("c", "bank")
    desk.declare(TemporaryTopic("c.t"), link)
    with pytest.raises(error):
        desk.consumer(link, **{"destination": T, **source})  # type: ignore[arg-type]
    assert desk.inspect() == []


def test_purge_of_a_subscription_and_delete_of_a_topic(desk: Desk) -> None:
    link = desk.link("c", "bank")
    desk.detach(desk.consumer(link, T, durable=True, subscription="s"))
    desk.post(link, T, "a", "b")
    with pytest.raises(InvalidDestinationError, match="say which"):
        desk.purge(T, None, link)
    with pytest.raises(InvalidDestinationError, match="not there"):
        desk.purge(T, "other", link)
    assert desk.purge(T, "s", link) == 2
    with pytest.raises(IllegalStateError, match="unsubscribe 's'"):
        desk.delete(T, link)
    with pytest.raises(InvalidDestinationError):
        desk.delete(Topic("nothing"), link)
    with pytest.raises(InvalidDestinationError):
        desk.declare(Topic("a.>"), link)


def test_overflow_drop_keeps_the_newest_and_counts(desk: Desk) -> None:
    link = desk.link("c")
    slow, quick = desk.consumer(link, T, overflow=Overflow("drop", 3)), desk.consumer(link, T)
    desk.post(link, T, "0")
    assert desk.get(slow) == ["0"], "what is held is neither counted nor dropped"
    desk.post(link, T, "1", "2", priority=9)
    desk.post(link, T, "3", "4", "5")
    assert desk.dropped_of(slow) == 2
    assert desk.get(slow) == ["3", "4", "5"], "the oldest went, whatever their priority"
    assert len(desk.get(quick)) == 6
    assert desk.dropped_of(quick) == 0


def test_overflow_drop_drops_the_expired_before_the_living(desk: Desk) -> None:
    link = desk.link("c")
    slow = desk.consumer(link, T, overflow=Overflow("drop", 2))
    desk.post(link, T, "kept")
    desk.post(link, T, "short", expires_at=START + 1)
    desk.now = START + 1
    desk.post(link, T, "new")
    assert desk.dropped_of(slow) == 0
    assert desk.get(slow) == ["kept", "new"]


def test_overflow_fail_cuts_and_hands_out_nothing_more(desk: Desk) -> None:
    link = desk.link("c")
    slow, quick = desk.consumer(link, T, overflow=Overflow("fail", 2)), desk.consumer(link, T)
    desk.post(link, T, "0", "1", "2", "3")
    assert desk.dropped_of(slow) == 3, "two that waited and the one that was too many; it is no subscriber any more then"
    with pytest.raises(SlowConsumerError, match="2 messages"):
        desk.take(slow, 1)
    assert desk.get(quick) == ["0", "1", "2", "3"]
    desk.detach(slow)
    assert desk.get(desk.consumer(link, T, overflow=Overflow("fail", 2))) == []


def test_a_cut_subscription_may_settle_what_it_has(desk: Desk) -> None:
    link = desk.link("c")
    slow = desk.consumer(link, T, overflow=Overflow("fail", 1))
    desk.post(link, T, "0")
    (held,) = desk.take(slow, 1)
    desk.post(link, T, "1", "2")
    assert desk.settle(slow, [Settlement(held.token)]) == []


def test_overflow_block_stops_before_the_frame_and_goes_on_when_there_is_room(desk: Desk) -> None:
    link = desk.link("c")
    slow, quick = desk.consumer(link, T, overflow=Overflow("block", 2)), desk.consumer(link, Topic(">"))
    frames = [frame(T, "0"), frame(Topic("elsewhere"), "1"), frame(T, "2"), frame(T, "3", message_id="3", once=True), frame(T, "4")]
    with pytest.raises(Full) as full:
        desk.send(frames, link)
    assert full.value.done == 3
    assert desk.eat(quick) == ["0", "1", "2"], "nothing of the frame that found no room"
    with pytest.raises(Full) as full:
        desk.send(frames[3:], link)
    assert full.value.done == 0
    desk.post(link, Topic("elsewhere"), "others are not held up")
    assert desk.get(slow, 1) == ["0"]
    assert full.value.mailbox in desk.woken, "there is room"
    with pytest.raises(Full) as full:
        desk.send(frames[3:], link)
    assert full.value.done == 1
    assert desk.eat(slow) == ["2", "3"]
    desk.send(frames[4:], link)
    assert desk.eat(slow) == ["4"]
    assert desk.eat(quick) == ["others are not held up", "3", "4"]


def test_what_expires_makes_room(desk: Desk) -> None:
    link = desk.link("c")
    slow = desk.consumer(link, T, overflow=Overflow("block", 1))
    desk.post(link, T, "short", expires_at=START + 1)
    desk.now = START + 1
    desk.post(link, T, "next")
    assert desk.get(slow) == ["next"]


def test_who_has_lapsed_blocks_nobody(desk: Desk) -> None:
    publisher, sleeper = desk.link("p", lease=1000.0), desk.link("s", lease=10.0)
    slow = desk.consumer(sleeper, T, overflow=Overflow("block", 1))
    desk.post(publisher, T, "0")
    desk.now += 9
    with pytest.raises(Full):
        desk.post(publisher, T, "1")
    desk.now += 1
    desk.post(publisher, T, "1")
    with pytest.raises(SlowConsumerError):
        desk.take(slow, 1)
