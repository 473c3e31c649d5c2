"""Dead letters: where they go, what they tell, and that nothing is ever dropped."""

import pytest

import unimsg
from unimsg import Connection, Queue, RedeliveryPolicy, Topic, values
from unimsg.driver import Frame, Route

QUEUE = Queue("q")


async def send(connection: Connection, body: object, **options: object) -> None:
    async with connection.producer(QUEUE) as producer:
        await producer.send(body, **options)  # type: ignore[arg-type]


async def test_reject_goes_to_the_dead_queue_with_its_story(connection: Connection) -> None:
    await send(connection, {"k": values.Int(1)}, properties={"p": values.Short(2)}, correlation_id="c", time_to_live=3600)
    async with connection.consumer(QUEUE, mode="individual") as consumer:
        original = await consumer.receive()
        await original.reject("no such account")
    async with connection.consumer(Queue("dead.q")) as dead:
        letter = await dead.receive()

    assert (letter.message_id, letter.destination, letter.body, letter.correlation_id) == (original.message_id, QUEUE, original.body, "c")
    assert letter.expiration is None
    assert type(letter.body["k"]) is values.Int
    assert dict(letter.properties) == {
        "p": 2,
        "JMS_unimsg_reason": "no such account",
        "JMS_unimsg_origin": "queue:q",
        "JMS_unimsg_deliveries": 1,
    }


async def test_a_policy_bounds_the_deliveries(connection: Connection) -> None:
    await send(connection, "poison")
    policy = RedeliveryPolicy(max_deliveries=2, dead_letter=Queue("morgue"))
    async with connection.consumer(QUEUE, mode="individual", redelivery=policy) as consumer:
        for count in (1, 2):
            message = await consumer.receive()
            assert message.delivery_count == count
            await message.release()
        await send(connection, "next")
        assert (await consumer.receive()).body == "next"
    async with connection.consumer(Queue("morgue")) as dead:
        letter = await dead.receive()
        assert (letter.body, letter.properties["JMS_unimsg_deliveries"]) == ("poison", 2)


async def test_a_message_that_its_consumers_die_with_is_buried_on_receipt(url: str) -> None:
    policy = RedeliveryPolicy(max_deliveries=2)
    async with unimsg.connect(url, redelivery=policy) as connection:
        await send(connection, "killer")
        for _ in range(2):
            async with unimsg.connect(url) as doomed, doomed.consumer(QUEUE, mode="individual") as consumer:
                await consumer.receive()
        await send(connection, "next")
        async with connection.consumer(QUEUE) as consumer:
            assert (await consumer.receive()).body == "next"
        async with connection.consumer(Queue("dead.q")) as dead:
            letter = await dead.receive()
            assert letter.body == "killer"
            assert "without being settled" in letter.properties["JMS_unimsg_reason"]


async def test_without_a_policy_deliveries_have_no_end(connection: Connection) -> None:
    await send(connection, "again")
    async with connection.consumer(QUEUE, mode="individual") as consumer:
        for count in range(1, 30):
            message = await consumer.receive()
            assert message.delivery_count == count
            await message.release()


async def test_rollbacks_count_too(connection: Connection) -> None:
    await send(connection, "poison")
    async with connection.session("transacted") as session, session.consumer(QUEUE, redelivery=RedeliveryPolicy(max_deliveries=2)) as consumer:
        for _ in range(2):
            await consumer.receive()
            await session.rollback()
        await send(connection, "next")
        assert (await consumer.receive()).body == "next"
        await session.commit()
    async with connection.consumer(Queue("dead.q")) as dead:
        assert (await dead.receive()).body == "poison"


async def test_bytes_that_are_no_stanza_become_a_letter_of_their_own(embedded_url: str) -> None:
    async with unimsg.connect(embedded_url) as connection:  # the XMPP service lets no such bytes in
        await _no_stanza(connection)


async def _no_stanza(connection: Connection) -> None:
    driver = connection.link.driver
    sender = await driver.sender(QUEUE)
    await sender.send([Frame(b"<not a stanza", Route(QUEUE))])
    await send(connection, "neighbour")
    async with connection.consumer(QUEUE) as consumer:
        assert (await consumer.receive()).body == "neighbour"
    async with connection.consumer(Queue("dead.q")) as dead:
        letter = await dead.receive()
        assert letter.body == b"<not a stanza"
        assert "no unimsg stanza" in letter.properties["JMS_unimsg_reason"]


async def test_a_rejected_message_of_a_subscription_goes_to_the_subscription_s_dead_queue(connection: Connection) -> None:
    async with connection.consumer(Topic("t.>"), subscription="desk", shared=True, mode="individual") as consumer:
        async with connection.producer(Topic("t.a")) as producer:
            await producer.send("x")
        await (await consumer.receive()).reject("why not")
    async with connection.consumer(Queue("dead.desk")) as dead:
        letter = await dead.receive()
        assert (letter.body, letter.properties["JMS_unimsg_origin"]) == ("x", "topic:t.a")


async def test_releases_rest_as_the_policy_says(connection: Connection) -> None:
    policy = RedeliveryPolicy(delay=0.1, factor=2.0, max_delay=0.15)
    assert [policy.rest(count) for count in (1, 2, 3)] == pytest.approx([0.1, 0.15, 0.15])
    await send(connection, "x")
    async with connection.consumer(QUEUE, mode="individual", redelivery=policy) as consumer:
        await (await consumer.receive()).release()
        assert await consumer.receive(timeout=0) is None
        assert (await consumer.receive()).delivery_count == 2


@pytest.mark.parametrize(
    "policy",
    [
        RedeliveryPolicy(max_deliveries=0),
        RedeliveryPolicy(dead_letter=Topic("t")),  # type: ignore[arg-type]
        RedeliveryPolicy(delay=-1),
        RedeliveryPolicy(factor=0.5),
    ],
)
async def test_a_policy_that_makes_no_sense_is_refused(memory_url: str, policy: RedeliveryPolicy) -> None:
    with pytest.raises(ValueError):
        await unimsg.connect(memory_url, redelivery=policy)


async def test_a_property_of_an_unknown_type_is_buried_with_its_message_and_disturbs_no_selector(connection: Connection) -> None:
    strange = (
        b'<message xmlns="jabber:client" type="normal"><envelope xmlns="urn:unimsg:1" id="ID:1">'
        b'<property name="later" type="quaternion">1 2 3 4</property></envelope></message>'
    )
    sender = await connection.link.driver.sender(QUEUE)
    await sender.send([Frame(strange, Route(QUEUE))])
    async with connection.consumer(QUEUE, mode="individual") as consumer:
        await (await consumer.receive()).reject("strange")
    await connection.purge(QUEUE)
    async with connection.producer(Queue("dead.q")) as producer:
        await producer.send("plain", properties={"later": 1})
    async with connection.consumer(Queue("dead.q"), selector="later = 1") as dead:
        assert (await dead.receive()).body == "plain"
    async with connection.consumer(Queue("dead.q")) as dead:
        letter = await dead.receive()
        assert b'<property name="later" type="quaternion">1 2 3 4</property>' in unimsg.wire.encode(letter)
