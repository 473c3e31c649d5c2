"""What a URL says of the connection: who, where, and how it is secured (RFC 5122, RFC 7622)."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from slixmpp import JID, InvalidJID

from unimsg.errors import InvalidURLError
from unimsg.registry import URL

__all__ = ["Settings", "settings_of"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach one XMPP stream; `timeout` in seconds, for connecting."""

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


def settings_of(url: URL) -> Settings:
    """Read a URL; the caller reads further options and calls `url.finish()`. Raises InvalidURLError."""
    try:
        jid = JID(f"{url.user}@{url.host}" if url.user else url.host)
    except InvalidJID as error:
        raise InvalidURLError(f"{url}: no XMPP address: {error}") from None
    host = url.option("host", None, str, "where to connect")
    port = url.option("port", url.port, int, "a port")
    tls = url.choice("tls", "starttls", "direct", "off")
    ca = url.option("ca", None, Path, "a PEM file of certificate authorities")
    timeout = url.option("timeout", 10.0, float, "seconds")
    password_file = url.option("password_file", None, Path, "a file whose first line is the password")
    password = url.password
    if password is None and password_file is not None:
        password = password_file.read_text().splitlines()[0]
    password = password or os.environ.get("UNIMSG_XMPP_PASSWORD")
    if password is None:
        raise InvalidURLError(f"{url}: no password: in the URL, by password_file=, or in the environment's UNIMSG_XMPP_PASSWORD")
    component = url.user is None
    return Settings(
        jid.local or None,
        jid.domain,
        url.path.strip("/") or None,
        password,
        host or ("127.0.0.1" if component else None),
        port,
        "off" if component else tls,
        ca,
        timeout,
        component,
    )
