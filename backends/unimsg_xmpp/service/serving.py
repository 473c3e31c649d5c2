"""`unimsg serve xmpp://…`: the service as a program, from its options to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable

from unimsg.errors import InvalidURLError
from unimsg.registry import URL
from unimsg.services import ServiceOptions
from unimsg_xmpp.service.access import Access, read_file, rule_of
from unimsg_xmpp.service.limits import Limits
from unimsg_xmpp.service.service import Service

__all__ = ["serve"]

log = logging.getLogger("unimsg")


def access_of(options: ServiceOptions) -> Access:
    """Read the access list. Raises InvalidURLError, naming what is wrong with it."""
    try:
        rules = [rule_of(text) for text in options.allow]
        if options.acl is not None:
            rules += read_file(options.acl)
    except (ValueError, OSError) as error:
        raise InvalidURLError(f"the access list: {error}") from None
    if not rules:
        raise InvalidURLError("who may use the service? Say --allow '*@example.org' (all accounts of a domain), or --acl FILE")
    return Access(rules)


def limits_of(options: ServiceOptions) -> Limits:
    """Return the limits that were said, and the defaults of the others. Raises InvalidURLError for an unknown name."""
    for name, _ in options.limits:
        if name not in Limits._fields:
            raise InvalidURLError(f"there is no limit {name!r:.40}; there are: {', '.join(Limits._fields)}")
    return Limits(**dict(options.limits))


async def serve(url: URL, options: ServiceOptions, ready: Callable[[str], None]) -> None:
    """Serve until cancelled; SIGHUP reads the access list again."""
    service = Service(url, options.store, access_of(options), lease=options.lease, limits=limits_of(options))

    def reread() -> None:
        try:
            service.access = access_of(options)
        except InvalidURLError as error:
            log.error("%s; the old one stays in force", error)
        else:
            log.info("the access list was read again")

    loop = asyncio.get_running_loop()
    await service.start()
    try:
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(signal.SIGHUP, reread)
        ready(service.jid)
        await service.wait()
    finally:
        await service.stop()
