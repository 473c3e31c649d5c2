"""What a type checker sees of the API: this module is checked by `make types`; running it shows that it also runs."""

from typing import Any, assert_type

from pydantic import BaseModel

import unimsg
from unimsg import Connection, Consumer, Message, Producer, Queue, Receipt, ReceivedMessage, Topic


class Order(BaseModel):
    symbol: str
    lots: int


ORDERS = Queue("orders", Order)


async def test_the_type_of_a_destination_reaches_bodies(memory_url: str) -> None:
    order = Order(symbol="VOD.L", lots=3)
    async with unimsg.connect(memory_url) as connection:
        assert_type(connection, Connection)
        async with connection.producer(ORDERS) as producer, connection.consumer(ORDERS) as consumer:
            assert_type(producer, Producer[Order])
            assert_type(consumer, Consumer[Order])
            assert_type(await producer.send(order), Message[Order])
            assert_type(await producer.submit(order), Receipt[Order])
            message = await consumer.receive()
            assert_type(message, ReceivedMessage[Order])
            assert_type(message.body, Order)
            assert_type(message.body_as(Order), Order)
            assert_type(await consumer.receive(timeout=1), ReceivedMessage[Order] | None)
            async with connection.session("client") as session, session.consumer(ORDERS) as another:
                assert_type(another, Consumer[Order])
        async with connection.producer() as free, connection.consumer(Topic("t")) as plain:
            assert_type(free, Producer[Any])
            assert_type(plain, Consumer[Any])
        assert_type([seen.body async for seen in connection.browse(ORDERS)], list[Order])
