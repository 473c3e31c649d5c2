"""What a consumer asks for, judged: syntax first, then JMS's rules, then what the backend can do; all before any I/O."""

from __future__ import annotations

from typing import Any

from unimsg.capabilities import Capabilities
from unimsg.client.options import ConsumerOptions
from unimsg.destination import Destination
from unimsg.driver import Overflow, Source
from unimsg.errors import IllegalStateError, InvalidDestinationError
from unimsg.selector import Selector, compile_selector

__all__ = ["check_owner", "source_of"]

POLICIES = ("block", "drop", "fail")


def check_owner(destination: Destination[Any], connection_id: str) -> None:
    """Refuse to consume from another connection's temporary destination (JMS 3.1 §6.2.2)."""
    if destination.is_temporary and not destination.name.startswith(f"{connection_id}."):
        raise InvalidDestinationError(f"{destination} is temporary: only the connection that made it may consume from it")


def source_of(
    destination: Destination[Any], said: ConsumerOptions, capabilities: Capabilities, connection_id: str, client_id: str | None
) -> tuple[Source, Selector | None]:
    """Return the source, and the selector if it is ours to apply.

    Raises InvalidSelectorError, InvalidDestinationError, IllegalStateError, UnsupportedError, ValueError.
    """
    if not isinstance(destination, Destination):
        raise InvalidDestinationError(f"a consumer listens to a Queue or a Topic, not to {destination!r:.60}")
    selector = compile_selector(said["selector"])
    subscription, durable, shared = said["subscription"], bool(said["durable"]), bool(said["shared"])
    what = str(destination)
    check_owner(destination, connection_id)
    if said["overflow"] not in POLICIES:
        raise ValueError(f"overflow is one of {', '.join(POLICIES)}, not {said['overflow']!r:.40}")
    if type(said["backlog"]) is not int or said["backlog"] < 1:
        raise ValueError(f"backlog is an int from 1 (messages), not {said['backlog']!r:.40}")
    if not destination.is_topic:
        if subscription is not None or durable or shared or said["no_local"]:
            raise ValueError(f"{what}: subscription=, durable=, shared= and no_local= are for topics")
    elif durable or shared:
        if not isinstance(subscription, str) or not 0 < len(subscription) <= 128:
            raise ValueError(f"{what}: a durable or shared subscription has a name: subscription= of 1 to 128 characters")
        if destination.is_temporary and durable:
            raise InvalidDestinationError(f"{what} is temporary: there is no durable subscription to it")
        if shared and said["no_local"]:
            raise ValueError(f"{what}: no_local= is not for shared subscriptions (JMS 3.1 §8.3.2)")
        if durable and not shared and client_id is None:
            raise IllegalStateError(f"{what}: an unshared durable subscription belongs to a client id: connect(url, client_id=...)")
    elif subscription is not None:
        raise ValueError(f"{what}: subscription= goes with durable=True or shared=True")
    needs = {
        destination.feature: True,
        "topic.pattern": destination.is_pattern,
        "subscription.durable": durable,
        "subscription.shared": shared,
        "temporary": destination.is_temporary,
        "no_local": bool(said["no_local"]),
        "overflow": said["overflow"] != "block",
        "selector.topic" if destination.is_topic else "selector.queue": selector is not None,
    }
    for feature, needed in needs.items():
        if needed:
            capabilities.require(feature, what)
    native = selector is not None and capabilities.native("selector.topic" if destination.is_topic else "selector.queue")
    source = Source(
        destination,
        selector.text if selector is not None and native else None,
        subscription,
        durable,
        shared,
        bool(said["no_local"]),
        Overflow(said["overflow"], said["backlog"]),
    )
    return source, None if native else selector
