"""Services: what gives a broker's network the queues that it has not; started by `unimsg serve URL`.

Found by the entry-point group `unimsg.services`, whose name is the URL's scheme and whose object is called as
`serve(url, options, ready)`, an async function that runs until it is cancelled and then leaves everything in order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from unimsg.errors import BackendNotFoundError
from unimsg.registry import URL, load

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["GROUP", "Serve", "ServiceOptions", "service_of"]

GROUP = "unimsg.services"


class ServiceOptions(NamedTuple):
    """What `unimsg serve` says: the store's URL, who may do what (a file, and rules), the lease in seconds, and limits by name."""

    store: str
    acl: Path | None = None
    allow: tuple[str, ...] = ()
    lease: float = 30.0
    limits: tuple[tuple[str, int], ...] = ()


class Serve(Protocol):
    """What an entry point of the group holds."""

    def __call__(self, url: URL, options: ServiceOptions, ready: Callable[[str], None]) -> Awaitable[None]:
        """Serve; call `ready` with the service's address once clients can come. Raises UnimsgError, ValueError."""


def service_of(url: URL) -> Serve:
    """Return the service of a URL's scheme. Raises BackendNotFoundError, BackendNotInstalledError."""
    from importlib.metadata import entry_points

    found: dict[str, EntryPoint] = {point.name: point for point in entry_points(group=GROUP)}
    if url.scheme not in found:
        raise BackendNotFoundError(f"there is no service for {url.scheme}://; there are: {', '.join(f'{name}://' for name in sorted(found)) or 'none'}")
    return cast("Serve", load(found[url.scheme]))
