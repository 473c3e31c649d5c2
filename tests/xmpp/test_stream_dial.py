"""Where a domain's servers are is found by SRV records (RFC 2782), asked of a name server of our own."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import cast

import aiodns
import pytest

from tests.xmpp.streams import PING, Relay, opened, refused
from unimsg.errors import ConnectionFailedError, ConnectionLostError
from unimsg.registry import URL
from unimsg.testing import Server
from unimsg_xmpp import stream_dial
from unimsg_xmpp.settings import settings_of
from unimsg_xmpp.stream_dial import addresses_of

Record = tuple[int, int, str]
"""Priority, port and target; "" is the root, which says that there is no such service."""


class NameServer(asyncio.DatagramProtocol):
    """Answers questions for SRV records (RFC 1035, 4.1) out of `records`; of anything else it knows nothing."""

    def __init__(self) -> None:
        self.records: dict[str, list[Record]] = {}
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        end = data.index(b"\0", 12) + 5
        question, labels, at = data[12:end], [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += data[at] + 1
        found = self.records.get(".".join(labels).lower(), [])
        head = data[:2] + struct.pack("!HHHHH", 0x8180 | (0 if found else 3), 1, len(found), 0, 0)
        self.transport.sendto(head + question + b"".join(self._record(*each) for each in found), addr)

    def _record(self, priority: int, port: int, target: str) -> bytes:
        name = b"".join(bytes([len(label)]) + label.encode() for label in target.split(".") if label) + b"\0"
        return b"\xc0\x0c" + struct.pack("!HHIH", 33, 1, 60, 6 + len(name)) + struct.pack("!HHH", priority, 1, port) + name


@pytest.fixture
async def records(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, list[Record]]]:
    """Give the records of the name server that is asked."""
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    monkeypatch.setattr(stream_dial, "DNSResolver", partial(aiodns.DNSResolver, nameservers=["127.0.0.1"], udp_port=server.port))
    yield server.records
    transport.close()
    await server.closed.wait()


async def asked(options: str) -> list[tuple[str, int]]:
    return await addresses_of(settings_of(URL(f"xmpp://a:p@example.org{options}")))


async def test_records_are_tried_in_their_order(records: dict[str, list[Record]]) -> None:
    records["_xmpp-client._tcp.example.org"] = [(20, 2, "two.example.org"), (10, 1, "one.example.org")]
    records["_xmpps-client._tcp.example.org"] = [(0, 443, "tls.example.org")]

    assert await asked("") == [("one.example.org", 1), ("two.example.org", 2)]
    assert await asked("?tls=direct") == [("tls.example.org", 443)]
    assert await asked("?host=10.0.0.1") == [("10.0.0.1", 5222)]
    assert await asked("?port=99") == [("example.org", 99)]


async def test_without_records_the_domain_is_the_server(records: Mapping[str, list[Record]]) -> None:
    assert not records
    assert await asked("") == [("example.org", 5222)]
    assert await asked("?tls=direct") == [("example.org", 5223)]


async def test_a_domain_that_says_it_has_no_such_service(records: dict[str, list[Record]]) -> None:
    records["_xmpps-client._tcp.example.org"] = [(0, 0, "")]

    with pytest.raises(ConnectionLostError, match=r"_xmpps-client._tcp says that there is no such service"):
        await asked("?tls=direct")
    assert "there is no such service" in await refused("xmpp://a:p@example.org?tls=direct", ConnectionFailedError)


async def test_a_stream_goes_on_to_the_server_that_is_there(xmpp_server: Server, records: dict[str, list[Record]]) -> None:
    async with Relay(xmpp_server) as relay:
        free = relay.port
    async with Relay(xmpp_server) as silent:
        silent.reading.clear()
        records["_xmpp-client._tcp.localhost"] = [(1, free, "localhost"), (2, xmpp_server.port, "localhost")]
        records["_xmpps-client._tcp.localhost"] = [(1, silent.port, "localhost"), (2, xmpp_server.tls_port, "localhost")]
        for options in ("", "&tls=direct&timeout=2"):
            async with opened(f"xmpp://alice:pw@localhost?ca={xmpp_server.ca}{options}") as ear:
                await ear.stream.request(None, "get", PING)
