"""Who cannot be trusted, and who does not trust us, is said at once; so is where nobody is. Nothing falls back to less security."""

from __future__ import annotations

import asyncio
import base64
import re
import subprocess
from pathlib import Path

import pytest

from tests.xmpp.streams import PING, Ear, Relay, opened, refused
from unimsg.errors import ConnectionFailedError, SecurityError
from unimsg.testing import Prosody, Server
from unimsg.testing.certificates import Certificates, make_certificates


async def test_every_way_to_log_in(xmpp_server: Server) -> None:
    direct = xmpp_server.url(port=xmpp_server.tls_port, tls="direct")
    for url, secure in ((xmpp_server.url(), True), (direct, True), (xmpp_server.url(tls="off"), False), (xmpp_server.url(sasl="plain"), True)):
        async with opened(url) as ear:
            assert (ear.stream.native.transport.get_extra_info("ssl_object") is not None) == secure
            await ear.stream.request(None, "get", PING)


async def test_a_password_may_have_any_character(xmpp_server: Server) -> None:
    xmpp_server.add_users([("odd-password", "<ä,=&'\" %>")], keep=True)
    async with opened(xmpp_server.url("odd-password", "<ä,=&'\" %>")) as ear:
        assert ear.stream.jid.startswith("odd-password@localhost/")


@pytest.mark.parametrize("user", ["alice", "nobody-at-all"])
async def test_a_wrong_password_is_an_error_at_once(xmpp_server: Server, user: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    assert f"{user}@localhost: the server refuses the login: wrong user or password" in await refused(xmpp_server.url(user, "hush-hush"), SecurityError)
    assert "hush-hush" not in caplog.text


async def test_a_wrong_secret_of_a_component(xmpp_server: Server) -> None:
    url = xmpp_server.component_url("other6")
    assert "refuses the component" in await refused(url.replace(xmpp_server.component_secret, "no"), SecurityError)


async def test_a_component_that_the_server_does_not_know(prosody: Server, ejabberd: Server) -> None:
    assert "has no component of this name" in await refused(prosody.component_url("nobody"), ConnectionFailedError)
    assert "has no component of this name" in await refused(ejabberd.component_url("nobody"), SecurityError)


async def test_an_authority_that_we_do_not_trust(xmpp_server: Server, tmp_path: Path) -> None:
    other = make_certificates(tmp_path, ["localhost"]).ca
    for ca in (other, None):
        for url in (xmpp_server.url(ca=ca), xmpp_server.url(ca=ca, port=xmpp_server.tls_port, tls="direct")):
            said = await refused(url, SecurityError)
            assert re.search(r"the certificate that 127.0.0.1:\d+ shows cannot be trusted: .*ca=FILE", said)


async def test_a_certificate_for_another_name(prosody: Server) -> None:
    assert prosody.running
    with Prosody(names=("other.example",), users=()) as server:
        for url in (server.url(), server.url(port=server.tls_port, tls="direct")):
            said = await refused(url, SecurityError)
            assert "Hostname mismatch, certificate is not valid for 'localhost'" in said


def _let_expire(made: Certificates) -> None:
    """Put in the place of the certificates one that ended yesterday, signed by itself."""
    names = made.ca.with_name("names")
    names.write_text("subjectAltName=DNS:localhost\n")
    command = ["openssl", "x509", "-in", str(made.certificate), "-signkey", str(made.key), "-days", "-1", "-clrext", "-extfile", str(names)]
    old = subprocess.run(command, capture_output=True, check=True).stdout
    for path in (made.ca, made.certificate):
        path.write_bytes(old)
    made.chain.write_bytes(old + made.key.read_bytes())


async def test_a_certificate_that_has_expired(prosody: Server, tmp_path: Path) -> None:
    assert prosody.running
    server = Prosody(tmp_path, users=())
    server._certificates = made = make_certificates(tmp_path, server.names)
    _let_expire(made)
    with server:
        assert "certificate has expired" in await refused(server.url(), SecurityError)


async def test_a_server_whose_starttls_was_stripped(xmpp_server: Server) -> None:
    def strip(data: bytes) -> bytes:
        return re.sub(rb"<starttls[^>]*/>|<starttls.*?</starttls>", b"", data)

    async with Relay(xmpp_server, change=strip) as relay:
        assert "offers no STARTTLS" in await refused(xmpp_server.url(port=relay.port), SecurityError)


async def test_a_server_that_takes_passwords_in_the_clear_only(xmpp_server: Server) -> None:
    def weaken(data: bytes) -> bytes:
        return re.sub(rb"<mechanism>(?!PLAIN)[^<]*</mechanism>", b"", data)

    async with Relay(xmpp_server, change=weaken) as relay:
        said = await refused(xmpp_server.url(port=relay.port, tls="off"), SecurityError)
    assert re.search("no way to log in that we trust: the server offers (PLAIN|nothing), we want SCRAM", said)  # Prosody offers no PLAIN without TLS


def _rewrite(pattern: bytes, old: bytes, new: bytes) -> object:
    def change(data: bytes) -> bytes:
        def encoded(found: re.Match[bytes]) -> bytes:
            return found[1] + base64.b64encode(re.sub(old, new, base64.b64decode(found[2]))) + b"<"

        return re.sub(rb"(<" + pattern + rb"[^>]*>)([^<]+)<", encoded, data)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_rewrite(b"success", rb"v=.*", b"v=AAAA"), "did not prove that it knows the password"),
        (_rewrite(b"challenge", rb"i=\d+", b"i=2000000000"), "asks for 2000000000 rounds"),
        (_rewrite(b"challenge", rb"r=.", b"r=-"), "refuses the login|broke the login|closed"),
    ],
    ids=["proof", "rounds", "nonce"],
)
async def test_a_server_that_plays_false(xmpp_server: Server, change: object, said: str) -> None:
    async with Relay(xmpp_server, change=change) as relay:  # type: ignore[arg-type]
        assert re.search(said, await refused(xmpp_server.url(port=relay.port, tls="off"), SecurityError))


async def test_where_nobody_is(xmpp_server: Server) -> None:
    async with Relay(xmpp_server) as relay:
        free = relay.port
    assert f"nobody listens at 127.0.0.1:{free}" in await refused(xmpp_server.url(port=free), ConnectionFailedError)
    assert "no.such.invalid" in await refused(xmpp_server.url(host="no.such.invalid"), ConnectionFailedError)
    assert "does not serve this domain" in await refused(xmpp_server.url().replace("@localhost", "@example.org"), ConnectionFailedError)


async def test_the_wrong_port(xmpp_server: Server) -> None:
    assert "does not speak TLS from the first byte" in await refused(xmpp_server.url(tls="direct"), SecurityError)
    assert "say tls=direct" in await refused(xmpp_server.url(port=xmpp_server.tls_port), ConnectionFailedError)
    await refused(xmpp_server.url(port=xmpp_server.component_port), ConnectionFailedError)
    await refused(xmpp_server.component_url("other6", port=xmpp_server.port), ConnectionFailedError)


@pytest.mark.parametrize("options", [{}, {"tls": "direct"}, {"tls": "off"}], ids=str)
async def test_one_who_never_answers(xmpp_server: Server, options: dict[str, str]) -> None:
    async with Relay(xmpp_server) as relay:
        relay.reading.clear()
        said = await refused(xmpp_server.url(port=relay.port, timeout=0.2, **options), ConnectionFailedError)
    assert f"no answer from 127.0.0.1:{relay.port} within 0.2 s" in said


async def test_logging_in_may_be_cancelled(xmpp_server: Server) -> None:
    before = asyncio.all_tasks()
    ear = Ear(xmpp_server.url())
    for turns in range(0, 60, 3):  # at every step of the login
        opening = asyncio.ensure_future(ear.stream.open())
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await ear.stream.close()
    assert asyncio.all_tasks() <= before
    async with asyncio.timeout(20):
        await ear.stream.open()
    await ear.stream.close()
