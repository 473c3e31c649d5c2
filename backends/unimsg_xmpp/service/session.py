"""One client's session: its requests carried out on an inner driver, each answered once.

Submissions have a lane of their own (`submissions`); all other requests run beside each other, and each begins before the
next is looked at: what it names is claimed at once. The protocol: docs/xmpp-service.md.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

from unimsg.destination import Destination
from unimsg.driver import Delivery, Driver, Outcome
from unimsg.errors import (
    ClosedError,
    ConnectionLostError,
    IllegalStateError,
    InvalidDestinationError,
    ResourceAllocationError,
    SecurityError,
    UnimsgError,
)
from unimsg_xmpp.conditions import refusal_of
from unimsg_xmpp.protocol import CREDIT, BadRequestError, destination_of, element, flag, named, number, numbers, seconds, source_of
from unimsg_xmpp.service.access import Access, bare_of
from unimsg_xmpp.service.looking import Looking, listed
from unimsg_xmpp.service.settling import bury, settle, stale_text
from unimsg_xmpp.service.submissions import Submissions
from unimsg_xmpp.service.subscriber import Subscriber, ended
from unimsg_xmpp.service.transactions import Transactions
from unimsg_xmpp.stream import Stream

if TYPE_CHECKING:
    from unimsg_xmpp.service.limits import Limits

__all__ = ["Session"]

log = logging.getLogger("unimsg")


class Session:
    """One client, by its full JID."""

    name = re.compile(r"[0-9A-Za-z._:-]{1,64}")
    """What a consumer or a transaction may be called."""

    def __init__(
        self,
        jid: str,
        connection_id: str,
        client_id: str | None,
        stream: Stream,
        driver: Driver,
        access: Access,
        limits: Limits,
        *,
        zlib: bool,
        lease: float,
        on_end: Callable[[Session, str], None],
    ) -> None:
        self.jid = jid
        self.bare = bare_of(jid)
        self.connection_id = connection_id
        self.client_id = client_id
        self.stream = stream
        self.driver = driver
        self.zlib = zlib
        self.lease = lease
        self.access = access
        self.limits = limits
        self.alive = True
        self.silent = False
        self.subscribers: dict[str, Subscriber] = {}
        self.unanswered: dict[asyncio.Future[Element], float] = {}
        """What was delivered and not answered, by when: in order of time."""
        self._seen = time.monotonic()
        self._on_end = on_end
        self._submissions = Submissions(self)
        self._transactions = Transactions(self)
        self._looking = Looking(self)
        self._open_requests = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: asyncio.Task[None] | None = None

    # Rights.

    def check(self, right: str, destination: Destination[Any]) -> None:
        """Raise SecurityError without the right; temporary destinations are for sending to, and for their own connection."""
        if not destination.is_temporary:
            self.access.check(self.bare, right, destination)
        elif right != "publish" and not destination.name.startswith(self.connection_id):
            raise InvalidDestinationError(f"{destination} belongs to another connection: others may only send to it")

    def knows(self, destination: Destination[Any]) -> bool:
        """Tell whether this client may hear that a destination is there."""
        if destination.is_temporary:
            return destination.name.startswith(self.connection_id)
        return any(self.access.may(self.bare, right, destination) for right in ("consume", "publish", "manage"))

    def permit(self, access: Access) -> None:
        """Go by another access list: consumers that it does not allow end."""
        self.access = access
        for subscriber in list(self.subscribers.values()):
            try:
                self.check("consume", subscriber.source.destination)
            except SecurityError as error:
                self.do(self._permit_no_more(subscriber, error))

    async def _permit_no_more(self, subscriber: Subscriber, error: SecurityError) -> None:
        if await subscriber.attached:
            self.consumer_ended(subscriber, error)

    # Requests.

    def request(self, iq: Element, kid: Element) -> None:
        """Take a request: refuse it, or see to it that it is answered."""
        self._seen = time.monotonic()
        if self.silent:
            self.silent = False
            for subscriber in self.subscribers.values():
                subscriber.wake()
        name = named(kid)
        if self._open_requests >= self.limits.requests:
            if name == "commit":
                self._transactions.spoil(kid)
            self._refuse(iq, ResourceAllocationError(f"more than {self.limits.requests} requests without an answer: wait for some"))
            return
        self._open_requests += 1
        if name == "submit" and len(kid):
            try:
                self._submissions.take(iq, kid)
            except Exception as error:  # noqa: BLE001  - whatever a stranger can cause is answered
                self.refuse(iq, error)
        elif name == "renew":
            self.answer(iq)
        elif name in _HANDLERS:
            self.do(self._handled(iq, kid, _HANDLERS[name]))
        else:
            self.refuse(iq, BadRequestError(f"<{name or kid.tag[:60]}> is no request"))

    def answer(self, iq: Element, payload: str = "") -> None:
        """Answer a request."""
        self._open_requests -= 1
        if self.alive:
            self.stream.reply(iq, payload)

    def refuse(self, iq: Element, error: BaseException) -> None:
        """Answer a request with an error."""
        self._open_requests -= 1
        self._refuse(iq, error)

    def _refuse(self, iq: Element, error: BaseException) -> None:
        if not isinstance(error, UnimsgError):
            log.error("%s: a request failed", self.jid, exc_info=error)
        if self.alive:
            self.stream.refuse(iq, *refusal_of(error))

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something that ends with the session."""
        task = asyncio.get_running_loop().create_task(work, name=f"unimsg xmpp request of {self.jid}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handled(self, iq: Element, kid: Element, handler: Callable[[Session, Element, Element], Awaitable[str | None]]) -> None:
        try:
            payload = await handler(self, iq, kid)
        except ConnectionLostError as error:
            if self.stream.up:
                self.refuse(iq, error)
                self.gone(f"the broker has given it up: {error}")
        except Exception as error:  # noqa: BLE001  - see above
            self.refuse(iq, error)
        else:
            if payload is not None:
                self.answer(iq, payload)

    async def _prepare(self, iq: Element, kid: Element) -> str:
        del iq
        return await self._submissions.prepare(kid)

    async def _commit(self, iq: Element, kid: Element) -> str:
        del iq
        return await self._transactions.commit(kid)

    async def _browse(self, iq: Element, kid: Element) -> str:
        del iq
        return await self._looking.browse(kid)

    async def _inspect(self, iq: Element, kid: Element) -> str:
        del iq
        return await listed(self, kid)

    # Consuming.

    async def _subscriber(self, kid: Element) -> Subscriber:
        found = self.subscribers.get(kid.get("consumer", ""))
        if found is None or not await found.attached:
            raise ClosedError(f"this session has no consumer {kid.get('consumer', '')!r:.80}")
        return found

    async def _consume(self, iq: Element, kid: Element) -> str | None:
        name = kid.get("consumer", "")
        if not self.name.fullmatch(name):
            raise BadRequestError("<consume> has consumer=, a name of 1 to 64 letters, digits and . _ : -")
        if name in self.subscribers:
            raise IllegalStateError(f"this session has a consumer {name!r} already")
        if len(self.subscribers) >= self.limits.consumers:
            raise ResourceAllocationError(f"a session has at most {self.limits.consumers} consumers")
        source, credit = source_of(kid), number(kid, "credit", most=CREDIT)
        self.check("consume", source.destination)
        subscriber = Subscriber(self, name, source, credit)
        self.subscribers[name] = subscriber
        try:
            if source.durable and self.client_id is None and source.subscription is not None:
                await self._check_subscription(source.subscription)
            receiver = await self.driver.receiver(source, credit)
        except BaseException:
            self.subscribers.pop(name, None)
            subscriber.attached.set_result(False)
            raise
        self.answer(iq, element("consuming", {"consumer": name}))
        subscriber.start(receiver)
        return None

    async def _check_subscription(self, name: str) -> None:
        """Raise SecurityError for a subscription, of no client id, on a topic that is not this client's: it could be taken away."""
        for info in await self.driver.inspect():
            if info.subscription == name:
                self.check("consume", info.destination)

    async def _credit(self, iq: Element, kid: Element) -> str | None:
        subscriber = await self._subscriber(kid)
        subscriber.grant(number(kid, "up-to"))
        if not flag(kid, "look"):
            return element("credited")
        subscriber.look(iq)
        return None

    async def _settle(self, iq: Element, kid: Element) -> str:
        del iq
        return await settle(self, await self._subscriber(kid), kid)

    async def _extend(self, iq: Element, kid: Element) -> str:
        del iq
        subscriber = await self._subscriber(kid)
        held, stale = subscriber.tokens(numbers(kid.get("deliveries", "")))
        lasting = seconds(kid, "seconds")
        by_token = {subscriber.held[place].token: place for place in held}
        late = {by_token[token] for token in await subscriber.receiver.extend(list(by_token), lasting)} if held else set()
        until = time.monotonic() + lasting
        subscriber.extended.update((place, until) for place in held if place not in late)
        return element("extended", {"stale": stale_text([*stale, *late])})

    async def _cancel(self, iq: Element, kid: Element) -> str:
        del iq
        seen = number(kid, "seen") if kid.get("seen") is not None else None
        subscriber = await self._subscriber(kid)
        if self.subscribers.pop(subscriber.name, None) is None:
            raise ClosedError(f"the consumer {subscriber.name!r} is being cancelled already")
        await subscriber.close(seen)
        return element("cancelled")

    def give_back(self, subscriber: Subscriber, outcome: Outcome, places: Iterable[int]) -> None:
        """Give back what the client did not take, or has held too long."""

        async def work() -> None:
            try:
                await subscriber.settle([(outcome, 0.0, list(places))])
            except UnimsgError as error:
                log.warning("%s: %s", self.jid, error)

        if self.subscribers.get(subscriber.name) is subscriber:
            self.do(work())

    def set_aside(self, subscriber: Subscriber, delivery: Delivery, reason: str) -> None:
        """Make a dead letter of what cannot travel to the client: given back it would come again, for ever."""

        async def work() -> None:
            log.warning("%s: a message from %s becomes a dead letter: %s", self.jid, subscriber.source.destination, reason)
            try:
                await bury(self, subscriber, {0: delivery}, reason)
            except UnimsgError as error:
                subscriber.held.pop(0, None)
                log.warning("%s: %s", self.jid, error)

        self.do(work())

    def consumer_ended(self, subscriber: Subscriber, error: BaseException) -> None:
        """Tell the client that a consumer has ended, and let go of it."""
        if self.subscribers.get(subscriber.name) is not subscriber:
            return
        del self.subscribers[subscriber.name]
        if not isinstance(error, UnimsgError):
            log.error("%s: a consumer failed", self.jid, exc_info=error)
        if self.alive and self.stream.up:
            told = self.stream.request(self.jid, "set", ended(subscriber, error))
            told.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.do(subscriber.close())

    # Managing.

    async def _declare(self, iq: Element, kid: Element) -> str:
        del iq
        await self.driver.declare(self._managed(kid))
        return element("declared")

    async def _delete(self, iq: Element, kid: Element) -> str:
        del iq
        await self.driver.delete(self._managed(kid))
        return element("deleted")

    async def _purge(self, iq: Element, kid: Element) -> str:
        del iq
        return element("purged", {"count": await self.driver.purge(self._managed(kid), kid.get("subscription"))})

    async def _unsubscribe(self, iq: Element, kid: Element) -> str:
        del iq
        name = kid.get("subscription", "")
        if self.client_id is None:  # else its names are a space of this account's own
            await self._check_subscription(name)
        await self.driver.unsubscribe(name)
        return element("unsubscribed")

    def _managed(self, kid: Element) -> Destination[Any]:
        destination = destination_of(kid)
        self.check("manage", destination)
        return destination

    # The end.

    async def _close(self, iq: Element, kid: Element) -> str | None:
        del kid
        self.answer(iq)
        self.gone("closed by its client")
        return None

    def gone(self, why: str) -> None:
        """End: the client, or what carries it, is gone."""
        if self.alive:
            self.alive = False
            self._on_end(self, why)

    async def end(self) -> None:
        """Give everything back; once, whoever asks."""
        self.alive = False
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._finish(), name=f"unimsg xmpp end of {self.jid}")
        await asyncio.shield(self._ending)

    async def _finish(self) -> None:
        for subscriber in list(self.subscribers.values()):
            await subscriber.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._submissions.stop()
        await self._looking.stop()
        self.subscribers.clear()
        self.unanswered.clear()
        await self.driver.close()

    def lapse(self, now: float) -> bool:
        """Tell whether the lease has run out: nothing was heard, or a delivery was not answered, for so long.

        What was extended keeps the session until its time; the rest goes back, and nothing new is delivered.
        """
        oldest = next(iter(self.unanswered.values()), now)
        if max(now - self._seen, now - oldest) <= self.lease:
            if self._looking.any:
                self.do(self._looking.sweep(now))
            return False
        self.silent = True
        lasting = False
        for subscriber in self.subscribers.values():
            subscriber.extended = {place: until for place, until in subscriber.extended.items() if until > now and place in subscriber.held}
            lasting = lasting or bool(subscriber.extended)
        if not lasting:
            return True
        for subscriber in self.subscribers.values():
            back: Sequence[int] = [place for place in subscriber.held if place not in subscriber.extended]
            if back:
                self.give_back(subscriber, Outcome.RELEASE, back)
        return False


_HANDLERS: dict[str, Callable[[Session, Element, Element], Awaitable[str | None]]] = {
    "submit": Session._prepare,
    "consume": Session._consume,
    "credit": Session._credit,
    "settle": Session._settle,
    "extend": Session._extend,
    "cancel": Session._cancel,
    "commit": Session._commit,
    "declare": Session._declare,
    "delete": Session._delete,
    "purge": Session._purge,
    "unsubscribe": Session._unsubscribe,
    "browse": Session._browse,
    "inspect": Session._inspect,
    "close": Session._close,
}
