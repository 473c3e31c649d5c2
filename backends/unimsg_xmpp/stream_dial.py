"""Where a server is, and which certificates are trusted: RFC 6120, 3.2 (SRV records), XEP-0368 (direct TLS), RFC 6120, 13.7."""

from __future__ import annotations

import ssl

from aiodns import DNSResolver
from slixmpp.xmlstream.resolver import get_SRV

from unimsg.errors import ConnectionLostError, InvalidURLError
from unimsg_xmpp.settings import Settings

__all__ = ["addresses_of", "context_of"]

_SERVICES = {"starttls": ("xmpp-client", 5222), "off": ("xmpp-client", 5222), "direct": ("xmpps-client", 5223)}


async def addresses_of(settings: Settings) -> list[tuple[str, int]]:
    """Return hosts and ports in the order to try them. Raises ConnectionLostError where the domain says it has no such service."""
    service, port = _SERVICES[settings.tls]
    if settings.host is not None:
        return [(settings.host, settings.port or port)]
    resolver = DNSResolver(timeout=2.0, tries=2)
    try:
        found = await get_SRV(_ascii(settings.domain), port, [service], resolver=resolver)
    finally:
        await resolver.close()
    if found and not any(host for _, host, _ in found):  # the target "." (RFC 2782)
        raise ConnectionLostError(f"{settings.domain}: its SRV record _{service}._tcp says that there is no such service: look at tls=, or say host=")
    return [(host, port) for _, host, port in found if host] or [(settings.domain, port)]


def _ascii(domain: str) -> str:
    try:
        return domain.encode("idna").decode()
    except UnicodeError:
        return domain


def context_of(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS settings: at least 1.2, certificate and name verified. Raises InvalidURLError if `ca` is no longer there."""
    if settings.tls == "off":
        return None
    try:
        return ssl.create_default_context(cafile=settings.ca)
    except OSError as error:
        raise InvalidURLError(f"{settings.domain}: ca={settings.ca}: {error}") from error
