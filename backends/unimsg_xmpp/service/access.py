"""Who may do what: a small access list, judged by the bare JID that the server has stamped.

A rule names who (`alice@example.org`, `*@example.org`, `*`), what (`publish`, `consume`, `manage`) and where (`queue:orders`,
`queue:orders.*`, `topic:md.>`, `*`). Nothing is allowed that no rule allows; there is no rule that forbids.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from slixmpp import JID, InvalidJID

from unimsg.destination import Destination, Topic
from unimsg.errors import InvalidDestinationError, SecurityError

__all__ = ["RIGHTS", "Access", "Rule", "bare_of", "read_file", "rule_of"]

RIGHTS = frozenset({"publish", "consume", "manage"})
REMEMBERED = 10_000


class Rule(NamedTuple):
    """Who may do what where; `where` is `*`, or a destination whose name may be a pattern of levels."""

    who: str
    rights: frozenset[str]
    where: str = "*"

    def names(self, bare: str) -> bool:
        """Tell whether this is about somebody."""
        return self.who in ("*", bare) or (self.who.startswith("*@") and bare.endswith(self.who[1:]) and "@" in bare)

    def covers(self, destination: Destination[Any]) -> bool:
        """Tell whether this is about a destination; of a pattern, about all that it could ever hear."""
        if self.where in ("*", str(destination)):
            return True
        kind, _, name = self.where.partition(":")
        return kind == destination.kind and _covers(name.split("."), destination.name.split("."), destination.is_pattern)


def _covers(rule: Sequence[str], levels: Sequence[str], pattern: bool) -> bool:
    for place, level in enumerate(rule):
        if level == ">":
            return len(levels) > place
        if place >= len(levels):
            return False
        other = levels[place]
        if pattern and other == ">" and place == len(levels) - 1:
            return False
        if level != other and (level != "*" or (pattern and other == ">")):
            return False
    return len(levels) == len(rule)


def bare_of(jid: str) -> str:
    """Return the bare form of an address that a server has stamped."""
    return jid.partition("/")[0]


def _who(text: str) -> str:
    """Prepare a name as servers do (RFC 7622). Raises ValueError."""
    if text == "*":
        return text
    local, _, domain = text.rpartition("@")
    try:
        if local == "*":
            return f"*@{JID(domain).domain}"
        jid = JID(text)
    except InvalidJID as error:
        raise ValueError(f"{text!r:.60} is no address: write alice@example.org, *@example.org or *") from error
    if jid.resource or not jid.domain:
        raise ValueError(f"{text!r:.60}: rules name bare addresses, such as alice@example.org")
    return jid.bare


def _where(text: str) -> str:
    if text == "*":
        return text
    kind, _, name = text.partition(":")
    if kind not in ("queue", "topic"):
        raise ValueError(f"{text!r:.60} is no place: write queue:orders, queue:orders.*, topic:md.> or *")
    try:
        Topic(name)
    except InvalidDestinationError as error:
        raise ValueError(str(error)) from None
    return text


def _rights(names: Iterable[str]) -> frozenset[str]:
    rights = frozenset(names)
    if not rights or not rights <= RIGHTS:
        raise ValueError(f"rights are {', '.join(sorted(RIGHTS))}, not {', '.join(sorted(map(str, rights - RIGHTS))) or 'none'}")
    return rights


def rule_of(text: str) -> Rule:
    """Read `WHO`, `WHO=RIGHTS` or `WHO=RIGHTS:PLACE`, for instance `bob@example.org=publish,consume:queue:orders.*`. Raises ValueError."""
    who, equals, rest = text.partition("=")
    rights, colon, where = rest.partition(":")
    return Rule(_who(who), _rights(rights.split(",")) if equals else RIGHTS, _where(where) if colon else "*")


def read_file(path: Path) -> list[Rule]:
    """Read a TOML file of `[[allow]]` tables with who, may and on (texts or lists of them). Raises ValueError, OSError."""

    def listed(value: object) -> list[str]:
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(each, str) for each in values):
            raise ValueError(f"{path}: who, may and on are texts, or lists of texts")
        return [str(each) for each in values]

    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from None
    tables = found.get("allow")
    if set(found) - {"allow"} or not isinstance(tables, list):
        raise ValueError(f"{path}: an access list is [[allow]] tables with who, may and on")
    rules = []
    for place, table in enumerate(tables, 1):
        if not isinstance(table, dict) or "who" not in table or set(table) - {"who", "may", "on"}:
            raise ValueError(f"{path}: [[allow]] number {place} has who, may (default: all) and on (default: *)")
        try:
            rights = _rights(listed(table.get("may", sorted(RIGHTS))))
            rules += [Rule(_who(who), rights, _where(where)) for who in listed(table["who"]) for where in listed(table.get("on", "*"))]
        except ValueError as error:
            raise ValueError(f"{path}: [[allow]] number {place}: {error}") from None
    return rules


class Access:
    """The access list; answers are remembered, because every message asks."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._known: dict[tuple[str, str, Destination[Any]], bool] = {}

    def knows(self, bare: str) -> bool:
        """Tell a stranger (False) from somebody whom at least one rule names."""
        return any(rule.names(bare) for rule in self.rules)

    def may(self, bare: str, right: str, destination: Destination[Any]) -> bool:
        """Tell whether somebody has a right. Temporary destinations are open to whoever knows their name."""
        if destination.is_temporary:
            return True
        key = (bare, right, destination)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[key] = self._look(bare, right, destination)
        return known

    def _look(self, bare: str, right: str, destination: Destination[Any]) -> bool:
        if any(right in rule.rights and rule.names(bare) and rule.covers(destination) for rule in self.rules):
            return True
        # Whoever may consume a queue must be able to put what he cannot process aside.
        if right == "publish" and destination.kind == "queue" and destination.name.startswith("dead.") and len(destination.name) > 5:
            return self._look(bare, "consume", type(destination)(destination.name[5:]))
        return False

    def check(self, bare: str, right: str, destination: Destination[Any]) -> None:
        """Raise SecurityError unless somebody has a right."""
        if not self.may(bare, right, destination):
            raise SecurityError(f"{bare} may not {right} {destination}: the service's access list has no rule for it")
