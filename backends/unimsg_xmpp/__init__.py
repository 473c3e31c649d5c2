"""The backend `xmpp://`: the reference backend, by slixmpp, and the service that gives XMPP servers queues.

settings, stream        the connection: URL, TLS, SASL, raw writing, requests and answers     (XEP knows, JMS does not)
protocol, conditions    `urn:unimsg:queue:1` as text, errors as conditions                    (no I/O)
driver, sending, receiving   the driver over the service (docs/xmpp-service.md)
pubsub, direct          without the service: XEP-0060 topics, messages straight to an address
service/                the service itself: `unimsg serve xmpp://…`
doctor                  what `unimsg doctor` looks at
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unimsg.driver import Driver, Identity
    from unimsg.registry import URL

__all__ = ["xmpp"]


def xmpp(url: URL, identity: Identity) -> Driver:
    """Return the driver of a URL: over the service, or, with `service=none`, over what the server itself has. No I/O.

    Raises InvalidURLError.
    """
    if url.options.get("service") == "none":
        from unimsg_xmpp.pubsub import PubsubDriver

        return PubsubDriver(url, identity)
    from unimsg_xmpp.driver import ServiceDriver

    return ServiceDriver(url, identity)
