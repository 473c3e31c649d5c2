"""The specification of the service is true: its examples, and what our client and the service really say, are of its schema."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import xmlschema

import unimsg
import unimsg_xmpp
from tests.house.documents import ROOT
from unimsg import Queue, Topic
from unimsg_xmpp.conditions import TABLE
from unimsg_xmpp.protocol import NAMESPACE
from unimsg_xmpp.stream import Stream

SCHEMA = xmlschema.XMLSchema10(str(Path(unimsg_xmpp.__file__).parent / "schema" / "queue-1.xsd"))
TEXT = (ROOT / "docs" / "xmpp-service.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```xml\n(.*?)```", TEXT, re.DOTALL)


def ours(root: ET.Element) -> list[ET.Element]:
    """Return the outermost elements of the protocol."""
    if root.tag.startswith(f"{{{NAMESPACE}}}"):
        return [root]
    return [found for kid in root for found in ours(kid)]


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_an_example_is_of_the_schema(block: str) -> None:
    found = ours(ET.fromstring(f'<x xmlns="jabber:client">{block}</x>'))
    assert found
    for element in found:
        SCHEMA.validate(element)


def test_every_condition_is_in_the_text_and_in_the_schema() -> None:
    for row in TABLE:
        assert f"`{row.name}`" in TEXT or f"<{row.name}/>" in TEXT, row.name
        assert row.name in SCHEMA.elements, row.name


@pytest.mark.parametrize("url", ["prosody", "ejabberd"], indirect=True)
async def test_what_travels_is_of_the_schema(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[ET.Element] = []
    asked: Any = Stream.request

    def request(self: Stream, to: str | None, kind: str, payload: str, timeout: float | None = None) -> Any:
        said.append(ET.fromstring(payload))
        future = asked(self, to, kind, payload, timeout)
        future.add_done_callback(lambda done: None if done.cancelled() or done.exception() else said.extend(list(done.result())))
        return future

    monkeypatch.setattr(Stream, "request", request)
    queue, topic = Queue(uuid.uuid4().hex), Topic(uuid.uuid4().hex)
    async with unimsg.connect(url, client_id="me") as connection, connection.producer(queue) as producer:
        await producer.send("x", properties={"n": 1})
        await producer.send("y", delivery_delay=0.01)
        assert [message.body async for message in connection.browse(queue, selector="n = 1")] == ["x"]
        async with connection.consumer(queue, selector="n = 1", mode="individual") as consumer:
            message = await consumer.receive()
            await message.extend(10)
            await message.release(delay=0.01)
            message = await consumer.receive()
            await message.reject("no such account")
        async with connection.consumer(topic, subscription="desk", durable=True), connection.consumer(Topic(f"{topic.name}.>"), overflow="drop", backlog=5):
            await connection.inspect()
        async with connection.session("transacted") as session, session.consumer(queue) as taker, session.producer(queue) as sender:
            await taker.receive()
            await sender.send("z")
            await session.commit()
        await connection.temporary_queue()
        await connection.unsubscribe("desk")
        await connection.purge(queue)
        await connection.delete(queue)
        with pytest.raises(unimsg.InvalidDestinationError):
            await connection.delete(queue)

    elements = [element for each in said for element in ours(each)]
    names = {element.tag.rpartition("}")[2] for element in elements}
    assert {
        "open",
        "opened",
        "submit",
        "submitted",
        "consume",
        "consuming",
        "deliver",
        "settle",
        "settled",
        "extend",
        "extended",
        "cancel",
        "cancelled",
    } <= names
    assert {"commit", "committed", "declare", "browse", "page", "inspect", "contents", "unsubscribe", "purge", "purged", "delete", "close"} <= names
    for element in elements:
        SCHEMA.validate(element)
