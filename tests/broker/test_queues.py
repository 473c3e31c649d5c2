"""Queues: order, competing consumers, counts, expiry, delay, selectors, groups, deduplication."""

from __future__ import annotations

import pytest

from unimsg.destination import Queue, TemporaryQueue, TemporaryTopic, Topic
from unimsg.driver import Outcome, Settlement, Source
from unimsg.errors import IllegalStateError, InvalidDestinationError, InvalidSelectorError, PartialSendError

from .desk import START, Desk, frame, texts

Q = Queue("q")


def test_order_is_priority_then_sequence(desk: Desk) -> None:
    link = desk.link("c")
    for number, priority in enumerate([1, 9, 4, 9, 0, 4]):
        desk.post(link, Q, f"{priority}.{number}", priority=priority)
    assert desk.eat(desk.consumer(link, Q)) == ["9.1", "9.3", "4.2", "4.5", "1.0", "0.4"]


def test_each_message_goes_to_one_consumer_and_both_get_their_share(desk: Desk) -> None:
    link = desk.link("c")
    one, two = desk.consumer(link, Q), desk.consumer(link, Q)
    desk.post(link, Q, *(str(number) for number in range(10)))
    first, second = desk.get(one), desk.get(two)
    assert len(first) == 5
    assert second
    rest = desk.get(one) + desk.get(two) + desk.get(one) + desk.get(two) + desk.get(one)
    assert sorted(first + second + rest, key=int) == [str(number) for number in range(10)]


def test_a_queue_is_made_by_sending_or_by_listening_unless_create_is_require(desk: Desk) -> None:
    link = desk.link("c")
    desk.post(link, Q, "early")
    assert desk.eat(desk.consumer(link, Q)) == ["early"]
    with pytest.raises(InvalidDestinationError, match="create=require"):
        desk.send([frame(Queue("other"))], link, create=False)
    with pytest.raises(InvalidDestinationError, match="create=require"):
        desk.attach(Source(Queue("other")), link, create=False)
    desk.declare(Queue("other"), link)
    desk.send([frame(Queue("other"), "x")], link, create=False)
    assert desk.depth(Queue("other")) == 1


def test_what_is_released_returns_to_its_place_with_its_count(desk: Desk) -> None:
    link = desk.link("c")
    one = desk.consumer(link, Q)
    desk.post(link, Q, "a", "b", "c", "d")
    a, b, c = desk.take(one, 3)
    assert desk.back(one, b) == []
    assert desk.back(one, a, Outcome.UNSEEN) == []
    found = desk.take(one, 10)
    assert [(each.frame.data, each.count) for each in found] == [(b"a", 1), (b"b", 2), (b"d", 1)]
    assert desk.back(one, c) == []
    assert [(each.frame.data, each.count) for each in desk.take(one, 10)] == [(b"c", 2)]


def test_a_consumer_that_leaves_returns_all_in_place_counted(desk: Desk) -> None:
    link = desk.link("c")
    one = desk.consumer(link, Q)
    desk.post(link, Q, "a", "b", "c")
    tokens = [each.token for each in desk.take(one, 2)]
    desk.detach(one)
    two = desk.consumer(link, Q)
    assert [(each.frame.data, each.count) for each in desk.take(two, 10)] == [(b"a", 2), (b"b", 2), (b"c", 1)]
    assert desk.settle(one, [Settlement(token) for token in tokens]) == tokens
    assert desk.settle(two, [Settlement(token) for token in tokens]) == tokens, "another's tokens are stale too"


def test_a_token_is_good_once(desk: Desk) -> None:
    link = desk.link("c")
    one = desk.consumer(link, Q)
    desk.post(link, Q, "a")
    (first,) = desk.take(one, 1)
    desk.back(one, first, Outcome.UNSEEN)
    (second,) = desk.take(one, 1)
    assert desk.settle(one, [Settlement(first.token)]) == [first.token]
    assert desk.settle(one, [Settlement(second.token)]) == []
    assert desk.settle(one, [Settlement(second.token)]) == [second.token]
    assert desk.get(one) == []


def test_expired_messages_are_never_delivered_nor_browsed_and_go(desk: Desk) -> None:
    link = desk.link("c")
    one = desk.consumer(link, Q)
    desk.post(link, Q, "short", expires_at=START + 5)
    desk.post(link, Q, "long", expires_at=START + 50)
    desk.now = START + 4.999
    assert texts_of_browse(desk, link) == ["short", "long"]
    desk.now = START + 5
    assert texts_of_browse(desk, link) == ["long"]
    assert desk.get(one) == ["long"]
    assert [info.depth for info in desk.inspect()] == [0]


def test_expired_messages_are_not_delivered_between_two_sweeps_either(desk: Desk) -> None:
    link = desk.link("c")
    one = desk.consumer(link, Q)
    for text, expires in (("first", 5.0), ("second", 5.5)):
        desk.post(link, Q, text, expires_at=START + expires)
    desk.now = START + 5
    desk.tick()  # sweeps, and does not again for a second
    desk.now = START + 5.5
    assert desk.get(one) == []


def test_expired_messages_go_by_themselves(desk: Desk) -> None:
    link = desk.link("c", lease=1000.0)
    desk.post(link, Q, "short", expires_at=START + 5)
    desk.post(link, Q, "kept")
    due = desk.next_due()
    assert due is not None
    assert START < due <= START + 6
    desk.now = START + 6
    desk.tick()
    assert desk.run(lambda: desk.store.waiting(1)) == 1


def test_an_expired_message_that_comes_back_is_not_delivered_again(desk: Desk) -> None:
    link = desk.link("c")
    one = desk.consumer(link, Q)
    desk.post(link, Q, "short", expires_at=START + 5)
    (held,) = desk.take(one, 1)
    desk.now = START + 6
    desk.back(one, held)
    assert desk.get(one) == []


def texts_of_browse(desk: Desk, link: str, selector: str | None = None, page: int = 100) -> list[str]:
    found, after = [], None
    while True:
        frames, after = desk.browse(Q, selector, after, page, link)
        found += [each.data.decode() for each in frames]
        if after is None:
            return found


def test_a_delayed_message_is_never_early_and_then_in_its_place(desk: Desk) -> None:
    link = desk.link("c")
    one = desk.consumer(link, Q)
    desk.post(link, Q, "later", deliver_at=START + 10)
    desk.post(link, Q, "now", "then")
    assert desk.next_due() == START + 10
    assert texts_of_browse(desk, link) == ["now", "then"]
    assert desk.get(one, 1) == ["now"]
    desk.now = START + 9.999
    desk.tick()
    assert desk.woken == set()
    assert desk.depth(Q) == 2
    desk.now = START + 10
    desk.tick()
    assert desk.woken, "those who wait are told"
    assert desk.get(one) == ["later", "then"], "by sequence"


def test_a_release_with_delay_steps_aside(desk: Desk) -> None:
    link = desk.link("c")
    one = desk.consumer(link, Q)
    desk.post(link, Q, "a", "b")
    (a,) = desk.take(one, 1)
    desk.back(one, a, delay=3.0)
    assert desk.eat(one) == ["b"]
    desk.now = START + 2.999
    assert desk.get(one) == []
    desk.now = START + 3
    (again,) = desk.take(one, 5)
    assert again.count == 2


def test_a_selector_leaves_the_rest_to_others(desk: Desk) -> None:
    link = desk.link("c")
    picky, any_ = desk.consumer(link, Q, selector="n > 2"), None
    for number in range(5):
        desk.post(link, Q, str(number), properties={"n": number})
    assert desk.get(picky) == ["3", "4"]
    assert desk.get(picky) == []
    any_ = desk.consumer(link, Q)
    assert desk.get(any_) == ["0", "1"], "its share"
    assert desk.get(any_) == ["2"]
    assert desk.get(any_) == []


def test_a_selector_sees_what_comes_back_before_what_it_has_passed(desk: Desk) -> None:
    link = desk.link("c")
    one, two = desk.consumer(link, Q, selector="n > 2"), desk.consumer(link, Q, selector="n > 1")
    desk.post(link, Q, "3", properties={"n": 3})
    (three,) = desk.take(two, 1)
    for number in (1, 0, 4):
        desk.post(link, Q, str(number), properties={"n": number})
    assert desk.eat(one) == ["4"]
    assert desk.get(one) == []
    desk.back(two, three)
    assert desk.get(one) == ["3"]


def test_a_bad_selector_is_refused_when_it_is_presented(desk: Desk) -> None:
    link = desk.link("c")
    with pytest.raises(InvalidSelectorError):
        desk.consumer(link, Q, selector="price >")
    with pytest.raises(InvalidSelectorError):
        desk.browse(Q, "price >", None, 10, link)
    assert desk.inspect() == []


def test_a_group_goes_to_one_consumer_in_order_and_stops_no_other(desk: Desk) -> None:
    link = desk.link("c")
    one, two = desk.consumer(link, Q), desk.consumer(link, Q)
    for text in ("a1", "b1", "a2", "b2", "a3", "-"):
        desk.post(link, Q, text, group=text[0] if text != "-" else None)
    assert desk.eat(one, 1) == ["a1"]
    assert desk.eat(two, 1) == ["b1"]
    assert desk.eat(two, 1) == ["b2"], "a2 is not its own"
    assert desk.eat(two, 1) == ["-"]
    assert desk.get(two) == []
    (a2,) = desk.take(one, 1)
    assert a2.frame.data == b"a2"
    desk.detach(one)
    assert desk.get(two) == ["a2", "a3"], "the group is free, and in order"


def test_a_group_is_held_by_whoever_holds_it_even_when_nothing_waits(desk: Desk) -> None:
    link = desk.link("c")
    one, two = desk.consumer(link, Q), desk.consumer(link, Q)
    desk.post(link, Q, "a1", group="a")
    assert desk.get(one) == ["a1"]
    desk.post(link, Q, "a2", group="a")
    assert desk.get(two) == []
    assert desk.get(one) == ["a2"]


def test_a_group_that_is_free_again_is_found_by_who_has_passed_it(desk: Desk) -> None:
    link = desk.link("c")
    one, two = desk.consumer(link, Q), desk.consumer(link, Q)
    desk.post(link, Q, "a1", "a2", group="a")
    assert desk.eat(one, 1) == ["a1"]
    assert desk.get(two) == []
    assert desk.get(two) == [], "nor when it looks again"
    desk.detach(one)
    assert desk.get(two) == ["a2"]


def test_many_groups_are_forgotten_when_idle_and_kept_when_held(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unimsg.broker.broker.MANY_GROUPS", 3)
    link = desk.link("c")
    one, two = desk.consumer(link, Q), desk.consumer(link, Q)
    for group in ("a", "b", "c"):
        desk.post(link, Q, f"{group}1", group=group)
        assert desk.eat(one, 1) == [f"{group}1"]
    desk.post(link, Q, "held1", group="held")
    assert desk.get(one, 1) == ["held1"]
    desk.post(link, Q, "held2", group="held")
    desk.post(link, Q, "a2", group="a")
    assert desk.get(two) == ["a2"]
    assert desk.get(one) == ["held2"]


def test_once_drops_what_was_here_before(desk: Desk) -> None:
    link, other = desk.link("c"), Queue("other")
    desk.post(link, Q, "a", message_id="1", once=True)
    desk.post(link, Q, "a again", message_id="1", once=True)
    desk.post(link, other, "elsewhere", message_id="1", once=True)
    desk.send([frame(Q, "b", message_id="2", once=True), frame(Q, "b again", message_id="2", once=True)], link)
    desk.post(link, Q, "not asked", message_id="1")
    one = desk.consumer(link, Q)
    assert desk.eat(one) == ["a", "b", "not asked"]
    desk.post(link, Q, "even when it is gone", message_id="1", once=True)
    assert desk.eat(one) == []
    assert desk.depth(other) == 1
    desk.now += 121
    desk.post(link, Q, "the window is over", message_id="1", once=True)
    assert desk.eat(one) == ["the window is over"]


def test_once_is_bounded_in_number(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unimsg.broker.gate.DEDUPLICATION_IDS", 2)
    link = desk.link("c")
    for number in ("1", "2", "3", "2", "1"):
        desk.post(link, Q, number, message_id=number, once=True)
    assert desk.eat(desk.consumer(link, Q)) == ["1", "2", "3", "1"]


def test_browse_pages_in_order_and_takes_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unimsg.broker.admin.SCANNED", 3)
    link = desk.link("c")
    for number in range(10):
        desk.post(link, Q, str(number), priority=9 if number % 4 == 3 else 4, properties={"n": number})
    want = ["3", "7", "0", "1", "2", "4", "5", "6", "8", "9"]
    assert texts_of_browse(desk, link, page=4) == want
    assert texts_of_browse(desk, link, "n >= 8") == ["8", "9"]
    one = desk.consumer(link, Q)
    (held,) = desk.take(one, 1)
    assert texts_of_browse(desk, link, page=1) == want[1:], "what somebody holds is not there"
    desk.back(one, held)
    assert desk.eat(one) == want
    assert texts_of_browse(desk, link) == []
    with pytest.raises(InvalidDestinationError, match="topic"):
        desk.browse(Topic("t"), None, None, 10, link)


def test_purge_takes_what_waits_and_leaves_what_is_held(desk: Desk) -> None:
    link = desk.link("c")
    one = desk.consumer(link, Q)
    desk.post(link, Q, "held", "a", "b")
    (held,) = desk.take(one, 1)
    desk.post(link, Q, "later", deliver_at=START + 10)
    assert desk.purge(Q, None, link) == 3
    desk.back(one, held)
    desk.now = START + 20
    assert desk.get(one) == ["held"]
    with pytest.raises(InvalidDestinationError):
        desk.purge(Queue("nothing"), None, link)


def test_delete_refuses_what_is_missing_or_in_use(desk: Desk) -> None:
    link = desk.link("c")
    with pytest.raises(InvalidDestinationError):
        desk.delete(Q, link)
    one = desk.consumer(link, Q)
    desk.post(link, Q, "a")
    with pytest.raises(IllegalStateError, match="1 consumer"):
        desk.delete(Q, link)
    desk.detach(one)
    desk.delete(Q, link)
    assert desk.inspect() == []
    assert desk.get(desk.consumer(link, Q)) == []


def test_temporary_destinations_belong_to_their_connection_and_end_with_it(desk: Desk) -> None:
    mine, other = desk.link("mine"), desk.link("other")
    queue, topic = TemporaryQueue("mine.1"), TemporaryTopic("mine.2")
    for destination in (queue, topic):
        with pytest.raises(InvalidDestinationError, match="declare"):
            desk.consumer(mine, destination)
        with pytest.raises(InvalidDestinationError, match="starts with"):
            desk.declare(destination, other)
        desk.declare(destination, mine)
        with pytest.raises(InvalidDestinationError, match="another connection"):
            desk.consumer(other, destination)
        with pytest.raises(InvalidDestinationError, match="another connection"):
            desk.delete(destination, other)
    listening = desk.consumer(mine, topic)
    everything = desk.consumer(other, Topic(">"))
    desk.post(other, topic, "heard")
    assert desk.eat(listening) == ["heard"]
    assert desk.get(everything) == [], "an ordinary pattern does not hear temporary topics"
    desk.post(other, queue, "reply")
    assert desk.eat(desk.consumer(mine, queue)) == ["reply"]
    with pytest.raises(IllegalStateError):
        desk.delete(queue, mine)
    desk.disconnect(mine)
    for destination in (queue, topic):
        with pytest.raises(InvalidDestinationError, match="gone"):
            desk.post(other, destination, "too late")
    assert [info.destination for info in desk.inspect()] == [Topic(">")]


def test_a_bad_frame_stops_no_other(desk: Desk) -> None:
    link = desk.link("c")
    with pytest.raises(PartialSendError) as caught:
        desk.send([frame(Q, "a"), frame(TemporaryQueue("gone")), frame(Q, "b"), frame(Topic("t.*"))], link)
    assert sorted(caught.value.failures) == [1, 3]
    assert all(isinstance(error, InvalidDestinationError) for error in caught.value.failures.values())
    assert desk.eat(desk.consumer(link, Q)) == ["a", "b"]
    with pytest.raises(InvalidDestinationError):
        desk.send([frame(Topic("t.>"))], link)


def test_inspect_says_depth_in_flight_consumers_and_oldest(desk: Desk) -> None:
    link = desk.link("c")
    desk.post(link, Q, "a", "b", timestamp=START - 7)
    desk.post(link, Q, "c", timestamp=START - 3)
    desk.take(desk.consumer(link, Q), 1)
    (info,) = desk.inspect()
    assert (info.destination, info.depth, info.in_flight, info.consumers, info.oldest) == (Q, 2, 1, 1, START - 7)


def test_texts_come_whole(desk: Desk) -> None:
    link = desk.link("c")
    sent = frame(Q, "x", message_id="ID:1", type="t", group="g", priority=7, persistent=False, content_type="text/plain", foreign=True, reply_to="topic:r")
    desk.send([sent], link)
    (got,) = desk.take(desk.consumer(link, Q), 1)
    assert texts([got]) == ["x"]
    for field in ("destination", "message_id", "type", "group", "priority", "content_type", "foreign", "reply_to"):
        assert getattr(got.frame.route, field) == getattr(sent.route, field), field
