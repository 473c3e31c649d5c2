"""What a URL says of a stream: who, where, and how it is secured (RFC 5122, RFC 7622).

xmpp://user:password@domain/resource?host=&port=&tls=&ca=&timeout=&password_file=&sasl=     an account
xmpp://:secret@unimsg.example.org?host=&port=                                                 a component (XEP-0114)
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from slixmpp import JID, InvalidJID
from slixmpp.util.sasl.client import saslprep
from slixmpp.util.stringprep_profiles import StringPrepError

from unimsg.errors import InvalidURLError
from unimsg.registry import URL

__all__ = ["PASSWORD_VARIABLE", "Settings", "settings_of"]

PASSWORD_VARIABLE = "UNIMSG_XMPP_PASSWORD"  # noqa: S105  (a name)
_PORTS = {"starttls": 5222, "off": 5222, "direct": 5223}
_COMPONENT_PORT = 5347
_NO_LOCALPART = "\"&'/:<>@ "
"""What the part before the @ cannot have (RFC 7622, 3.3.1); slixmpp would read some of it as the end of that part."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach one stream; `timeout` in seconds, for connecting and logging in.

    `tls`: "starttls" (demanded, never left out), "direct" (from the first byte) or "off": everything, messages too, can then be
    read and changed on the way. `ca`: a PEM file of authorities to trust instead of the system's. `port` is None only where
    `host` is: then both are found by SRV records. `sasl`: "scram", or "plain" to allow PLAIN, which tells the password.
    """

    user: str | None
    domain: str
    resource: str | None
    password: str | None = field(repr=False)
    host: str | None
    port: int | None
    tls: str
    ca: Path | None
    timeout: float
    component: bool
    sasl: str = "scram"


def settings_of(url: URL) -> Settings:
    """Read a URL; the caller reads further options and calls `url.finish()`. Raises InvalidURLError."""
    component = url.user is None
    jid = _address(url)
    host, port = _place(url, jid.domain)
    tls = url.choice("tls", "starttls", "direct", "off")
    sasl = url.choice("sasl", "scram", "plain")
    ca = url.option("ca", None, _path, "a PEM file of the certificate authorities to trust instead of the system's")
    timeout = url.option("timeout", 10.0, _seconds, "seconds for connecting and logging in, more than 0, at most 3600")
    if sasl == "plain" and tls == "off":
        raise InvalidURLError(f"{url}: sasl=plain with tls=off would send the password in the clear: choose one of them")
    if component:
        host, tls = host or "127.0.0.1", _component_tls(url, host or "127.0.0.1", tls)
        port = port or _COMPONENT_PORT
    elif host is not None and port is None:
        port = _PORTS[tls]
    return Settings(
        user=jid.local or None,
        domain=jid.domain,
        resource=jid.resource or None,
        password=_password(url),
        host=host,
        port=port,
        tls=tls,
        ca=_authorities(url, ca),
        timeout=timeout,
        component=component,
        sasl=sasl,
    )


def _address(url: URL) -> JID:
    user, resource = url.user or "", url.path.removeprefix("/")
    for char in _NO_LOCALPART:
        if char in user:
            hint = f": the domain stands after the last @, as in xmpp://alice@{url.host or 'example.org'}" if char == "@" else ""
            raise InvalidURLError(f"{url}: the user may not contain {char!r}{hint}")
    if not url.host:
        raise InvalidURLError(f"{url}: no domain: write xmpp://user@domain")
    if resource and not user:
        raise InvalidURLError(f"{url}: no user: a component has no resource; an account is written xmpp://user@domain/resource")
    try:
        jid = JID(f"{user}@{url.host}" if user else url.host)
        if resource:
            jid = JID(f"{jid}/{resource}")
    except (InvalidJID, UnicodeError, ValueError) as error:
        raise InvalidURLError(f"{url}: no address that XMPP knows (RFC 7622): {error}") from None
    return jid


def _place(url: URL, domain: str) -> tuple[str | None, int | None]:
    """Return the host and port to connect to; None where SRV records are to tell."""
    host = url.option("host", None, _host, "the server's name or IP address, where the domain's SRV records do not tell it")
    port = url.option("port", None, _port, "a TCP port, 1 to 65535")
    if url.port is not None:
        if port not in (None, url.port):
            raise InvalidURLError(f"{url}: two ports, {url.port} and port={port}: leave one out")
        port = url.port
    if host is None and port is not None and url.user is not None:
        host = domain
    return host, port


def _component_tls(url: URL, host: str, tls: str) -> str:
    if "tls" in url.options:
        if tls != "off":
            raise InvalidURLError(f"{url}: tls={tls}: a component's stream has no TLS (XEP-0114); without a user in it, a URL means a component")
    elif not _is_loopback(host):
        raise InvalidURLError(
            f"{url}: a component's stream has no TLS (XEP-0114), and {host} is not this machine: everything could be read on the way. "
            "Run it beside the server or through a tunnel, log in to an account instead, or say tls=off"
        )
    return "off"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761, 6.3


def _password(url: URL) -> str:
    path = url.option("password_file", None, _path, "a file whose first line is the password")
    password, source = url.password, "the URL"
    if password is None and path is not None:
        password, source = _first_line(url, path), f"password_file={path}"
    if password is None:
        password, source = os.environ.get(PASSWORD_VARIABLE), PASSWORD_VARIABLE
    if not password:
        raise InvalidURLError(
            f"{url}: no password: write it into the URL (xmpp://user:password@domain), into a file named by "
            f"password_file=, or into the environment as {PASSWORD_VARIABLE}"
        )
    try:
        saslprep(password)
    except (StringPrepError, UnicodeError):
        raise InvalidURLError(f"{url}: the password in {source} has characters that no password can have (RFC 4013)") from None
    return password


def _first_line(url: URL, path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            line = file.readline().rstrip("\r\n")
    except OSError as error:
        raise InvalidURLError(f"{url}: password_file={path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidURLError(f"{url}: password_file={path}: not UTF-8") from None
    if not line:
        raise InvalidURLError(f"{url}: password_file={path}: its first line is empty")
    return line


def _authorities(url: URL, path: Path | None) -> Path | None:
    if path is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except ssl.SSLError:
            raise InvalidURLError(f"{url}: ca={path}: no certificates in it (PEM: -----BEGIN CERTIFICATE-----)") from None
        except OSError as error:
            raise InvalidURLError(f"{url}: ca={path}: {error.strerror}") from None
    return path


def _host(text: str) -> str:
    host = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if not host or any(char in host for char in " /@[]") or not host.isprintable():
        raise ValueError(text)
    return host


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65_536:
        raise ValueError(text)
    return port


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise ValueError(text)
    return Path(text).expanduser()


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 3600:
        raise ValueError(text)
    return value
