"""XMPP by hand, as far as these tests need it."""

from __future__ import annotations

import hashlib
import re
import socket

from unimsg.testing import Server


def features(server: Server) -> str:
    """Return what the server offers to a client that comes without TLS."""
    with socket.create_connection((server.host, server.port), 20) as stream:
        stream.sendall(_header("jabber:client", "localhost", " version='1.0'"))
        return _until(stream, "</stream:features>")


def handshake(server: Server, name: str, secret: str) -> str:
    """Return what the server answers to a component (XEP-0114, section 3)."""
    with socket.create_connection((server.host, server.component_ports[name]), 20) as stream:
        stream.sendall(_header("jabber:component:accept", f"{name}.localhost"))
        number = re.search(r"\bid=['\"]([^'\"]+)", _until(stream, ">", after="<stream:stream"))
        assert number
        digest = hashlib.sha1(f"{number[1]}{secret}".encode()).hexdigest()
        stream.sendall(f"<handshake>{digest}</handshake>".encode())
        return _until(stream, ">")


def _header(namespace: str, to: str, more: str = "") -> bytes:
    return f"<?xml version='1.0'?><stream:stream xmlns='{namespace}' xmlns:stream='http://etherx.jabber.org/streams' to='{to}'{more}>".encode()


def _until(stream: socket.socket, end: str, after: str = "") -> str:
    said = ""
    while end not in said.partition(after)[2] if after else end not in said:
        data = stream.recv(4096)
        if not data:
            break
        said += data.decode()
    return said
