"""What can go wrong with a stream, in our words: errors of stanzas, of streams, of names, sockets, TLS and SASL."""

from __future__ import annotations

import socket
import ssl
from xml.etree.ElementTree import Element

from unimsg.errors import ConnectionLostError, IllegalStateError, SecurityError, UnimsgError
from unimsg_xmpp.settings import Settings

__all__ = ["StanzaError", "StreamError", "bind_failed", "broken", "connect_failed", "login_failed", "stanza_error", "stream_error"]

STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
STREAMS = "urn:ietf:params:xml:ns:xmpp-streams"
_ERRORS = ("{jabber:client}error", "{jabber:component:accept}error")
_KINDS = ("auth", "cancel", "continue", "modify", "wait")
_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG")


class StanzaError(Exception):
    """An `<error/>` that came as an answer; `element` is the application's own condition (RFC 6120, 8.3)."""

    def __init__(self, condition: str, kind: str, text: str, sender: str, element: Element | None) -> None:
        super().__init__(f"{sender}: {condition}{f': {text}' if text else ''}")
        self.condition = condition
        self.kind = kind
        self.text = text
        self.sender = sender
        self.element = element


class StreamError(ConnectionLostError):
    """Say why the server ended the stream: `condition` (RFC 6120, 4.9.3). After a conflict a retry would only throw the other out."""

    def __init__(self, message: str, condition: str) -> None:
        super().__init__(message)
        self.condition = condition
        self.retryable = condition != "conflict"


def stanza_error(stanza: Element) -> StanzaError:
    """Return what a stanza of the type `error` says; what it does not say is taken as `undefined-condition`, `cancel`."""
    error = next((child for child in stanza if child.tag in _ERRORS), None)
    condition, text, own = ("undefined-condition", "", None) if error is None else _condition(error, STANZAS)
    kind = "cancel" if error is None else error.get("type", "cancel")
    return StanzaError(condition, kind if kind in _KINDS else "cancel", text, stanza.get("from", ""), own)


def _condition(error: Element, namespace: str) -> tuple[str, str, Element | None]:
    condition, text, own = "undefined-condition", "", None
    for child in error:
        space, _, name = child.tag.rpartition("}")
        if space[1:] != namespace:
            own = child if own is None else own
        elif name == "text":
            text = (child.text or "").strip()
        else:
            condition = name
    return condition, text, own


_STREAM_ERRORS = {
    "policy-violation": "a stanza was larger than the server takes, or too much came at once: look at its limits of stanza size and rate",
    "not-well-formed": "what we sent was no XML",
    "system-shutdown": "the server is going down",
    "connection-timeout": "the server heard nothing of us for too long",
    "resource-constraint": "the server has no room for us",
    "reset": "the server wants us to connect again",
}


def stream_error(error: Element, settings: Settings) -> UnimsgError:
    """Return what a `<stream:error/>` means to one who connected by `settings`."""
    condition, text, own = _condition(error, STREAMS)
    detail = f" ({text})" if text else f" ({own.tag.rpartition('}')[2]})" if own is not None else ""
    domain = settings.domain
    if condition == "conflict":
        if settings.component:
            return IllegalStateError(f"{domain}: another component is connected under this name{detail}: only one can be")
        return StreamError(f"{domain}: another connection took over this address{detail}: give each its own resource", condition)
    if settings.component and condition == "not-authorized":
        return SecurityError(f"{domain}: the server refuses the component: its secret is another one, or it has no component of this name{detail}")
    if condition == "host-unknown":
        what = "has no component of this name: configure one" if settings.component else "does not serve this domain: look at host= and port="
        return StreamError(f"{domain}: the server at {settings.host or domain} {what}{detail}", condition)
    if condition == "see-other-host":
        other = next((child.text for child in error if child.tag == f"{{{STREAMS}}}see-other-host"), None)
        return StreamError(f"{domain}: the server sends us to {other}: say host= and port= so", condition)
    known = _STREAM_ERRORS.get(condition)
    return StreamError(f"{domain}: the server closed the stream: {condition}{detail}{f': {known}' if known else ''}", condition)


def broken(error: BaseException | None, settings: Settings, where: str, open: bool) -> ConnectionLostError:
    """Return what it means that the socket was closed, with no word or with the system's."""
    why = f": {error}" if error is not None else ""
    if open:
        return ConnectionLostError(f"{settings.domain}: the connection with {where} broke{why}")
    kind = "components" if settings.component else "direct TLS" if settings.tls == "direct" else "clients (for direct TLS say tls=direct)"
    return ConnectionLostError(f"{settings.domain}: {where} closed the connection before the login{why}: is that its port for {kind}?")


def connect_failed(error: OSError, settings: Settings, where: str) -> UnimsgError:
    """Return what a failure to connect, or of the TLS handshake, means."""
    failed: UnimsgError
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message.rstrip(".")
        hint = "" if "ostname" in reason or "expired" in reason else "; a certificate authority of your own is named by ca=FILE"
        failed = SecurityError(f"{settings.domain}: the certificate that {where} shows cannot be trusted: {reason}{hint}")
    elif isinstance(error, ssl.SSLError) and (error.reason or "") in _NOT_TLS:
        failed = SecurityError(f"{settings.domain}: {where} does not speak TLS from the first byte: leave tls=direct out, or name the port for it")
    elif isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        failed = SecurityError(f"{settings.domain}: no TLS with {where}: {error.reason or error}")
    elif isinstance(error, socket.gaierror):
        failed = ConnectionLostError(f"{settings.domain}: {where} cannot be found: {error.strerror}")
    elif isinstance(error, ConnectionRefusedError):
        failed = ConnectionLostError(f"{settings.domain}: nobody listens at {where}: is the server running, are host= and port= right?")
    else:
        failed = ConnectionLostError(f"{settings.domain}: no connection with {where}: {error.strerror or str(error) or type(error).__name__}")
    failed.native = error
    return failed


def login_failed(failure: Element, settings: Settings) -> UnimsgError:
    """Return what a SASL `<failure/>` means (RFC 6120, 6.5)."""
    condition, text, _ = _condition(failure, "urn:ietf:params:xml:ns:xmpp-sasl")
    who = f"{settings.user}@{settings.domain}"
    if condition == "temporary-auth-failure":
        return ConnectionLostError(f"{who}: the server cannot log anybody in now{f' ({text})' if text else ''}")
    what = {"not-authorized": "wrong user or password", "account-disabled": "the account is disabled", "credentials-expired": "the password has expired"}
    return SecurityError(f"{who}: the server refuses the login: {what.get(condition, condition)}{f' ({text})' if text else ''}")


def bind_failed(condition: str, text: str, settings: Settings) -> UnimsgError:
    """Return what a refused resource means (RFC 6120, 7.6.2 and 7.7.2)."""
    who = f"{settings.user}@{settings.domain}/{settings.resource or ''}"
    if condition == "conflict":
        return IllegalStateError(f"{who}: another connection has this resource: leave it out of the URL, or give each its own")
    more = {"resource-constraint": ": the account has too many connections", "not-allowed": ": the account may not have this resource"}.get(condition, "")
    return ConnectionLostError(f"{who}: the server gives us no address: {condition}{more}{f' ({text})' if text else ''}")
