"""The doctor, on both servers: as they should be, as Debian ships them, and with each thing wrong that can be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from unimsg.driver import Finding, Identity
from unimsg.registry import make_driver
from unimsg.testing import LAUNCHERS, Server, Service


async def examined(url: str) -> dict[str, Finding]:
    return {finding.subject: finding async for finding in make_driver(url, Identity("the-doctor")).diagnose()}


async def test_all_is_well(xmpp_server: Server, xmpp_service: Service) -> None:
    found = await examined(xmpp_service.url("alice"))
    assert {subject: finding.level for subject, finding in found.items() if subject != "pubsub"} == dict.fromkeys(
        ("connection", "TLS", "server", "service", "rights", "rate", "stanza size"), "ok"
    )
    assert xmpp_service.jid in found["service"].text
    assert found["pubsub"].level == ("warn" if xmpp_server.kind == "prosody" else "ok")


async def test_what_is_wrong_is_said_first_and_alone(xmpp_server: Server, xmpp_service: Service) -> None:
    good = xmpp_service.url("alice")
    wrong = {
        good.replace(":pw@", ":s3cr3t@"): "login",
        good.replace(f"port={xmpp_server.port}", "port=1"): "connection",
        good.partition("&ca=")[0]: "TLS",
    }
    for url, subject in wrong.items():
        found = await examined(url)
        assert [(finding.subject, finding.level) for finding in found.values()] == [(subject, "fail")], url
        assert "s3cr3t" not in str(found), "a password is never shown"


async def test_without_a_service_it_says_how_to_start_one(xmpp_server: Server) -> None:
    found = await examined(xmpp_server.url("alice", "pw", service="nothing.localhost"))
    assert found["service"].level == "fail"
    assert "unimsg serve" in found["service"].remedy
    assert ("component_secret" if xmpp_server.kind == "prosody" else "ejabberd_service") in found["service"].remedy


@pytest.fixture(params=sorted(LAUNCHERS))
def stock(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Give a server with the limits that Debian ships."""
    with LAUNCHERS[request.param](limits="stock") as server:
        yield server


@pytest.mark.timeout(120)
async def test_stock_limits_are_too_low_and_the_lines_that_mend_them_are_printed(stock: Server) -> None:
    found = await examined(stock.url("alice", "pw", service="none"))
    assert found["rate"].level == "fail"
    assert ("limits" if stock.kind == "prosody" else "shaper: none") in found["rate"].remedy
