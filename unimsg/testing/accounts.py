"""Make accounts on a running XMPP server: in-band registration (XEP-0077) over direct TLS, all on one stream."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast
from xml.etree.ElementTree import Element, XMLPullParser
from xml.sax.saxutils import escape

from unimsg.errors import SecurityError

__all__ = ["register"]

_STREAM = "{http://etherx.jabber.org/streams}"
_FOUND = 8192


def register(address: tuple[str, int], domain: str, ca: Path, users: Iterable[tuple[str, str]], *, keep: bool = False, timeout: float = 30.0) -> None:
    """Make the accounts (name, password), or `keep` those that exist. Raises SecurityError that names the one refused; OSError."""
    wanted = list(users)
    with (
        socket.create_connection(address, timeout) as plain,
        ssl.create_default_context(cafile=str(ca)).wrap_socket(plain, server_hostname=domain) as stream,
    ):
        stream.sendall(f"<?xml version='1.0'?><stream:stream to='{domain}' version='1.0' xmlns='jabber:client' xmlns:stream='{_STREAM[1:-1]}'>".encode())
        answers = _Answers(stream)
        answers.next()  # the features
        for number, (name, password) in enumerate(wanted):
            stream.sendall(
                f"<iq type='set' id='{number}'><query xmlns='jabber:iq:register'>"
                f"<username>{escape(name)}</username><password>{escape(password)}</password></query></iq>".encode()
            )
            answer = answers.next()
            if answer.get("type") == "result":
                continue
            error = answer.find("{*}error")
            causes = [child.tag.rpartition("}")[2] for child in (answer if error is None else error)]
            if not (keep and "conflict" in causes):
                raise SecurityError(f"the server made no account {name!r}: {', '.join(causes)}")


class _Answers:
    """The top-level elements of a stream, one at a time."""

    def __init__(self, stream: ssl.SSLSocket) -> None:
        self._stream = stream
        self._parser: XMLPullParser[Any] = XMLPullParser(("start", "end"))
        self._depth = 0

    def next(self) -> Element:
        """Return the next one. Raises ConnectionError if the stream ends."""
        while True:
            for event, element in cast("Iterable[tuple[str, Element]]", self._parser.read_events()):
                self._depth += 1 if event == "start" else -1
                if event == "end" and self._depth == 1:
                    return element
            data = self._stream.recv(_FOUND)
            if not data or self._depth < 0:
                raise ConnectionError("the server ended the stream while accounts were made")
            self._parser.feed(data)
