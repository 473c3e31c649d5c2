"""How often a message was delivered, as far as a backend promises it."""

from __future__ import annotations

from unimsg import Connection


class Pushed(int):
    """A count where messages travel ahead of `receive`: one that was on its way when its consumer closed may have been counted.

    `unimsg.driver.Outcome.UNSEEN`: "its count does not grow where the broker allows".
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int) and int(self) - int(other) in (0, 1)

    def __hash__(self) -> int:
        return hash(int(self))


def counted(connection: Connection, count: int) -> int:
    """Return a delivery count that compares as the backend promises."""
    return Pushed(count) if connection.capabilities.supports("direct") else count
