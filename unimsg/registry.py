"""From a URL to a driver: URLs and their options, and the backends that are installed.

Backends are found by the entry-point group `unimsg.backends`, ours and others' alike; the name is the URL's scheme.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from unimsg.errors import BackendNotFoundError, BackendNotInstalledError, InvalidURLError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from unimsg.driver import Driver, Identity

__all__ = ["GROUP", "URL", "backend_of", "backends"]

GROUP = "unimsg.backends"
V = TypeVar("V")


class Factory(Protocol):
    """What an entry point of the group holds: a callable, mostly a class, that makes a driver without I/O."""

    def __call__(self, url: URL, identity: Identity) -> Driver: ...


class URL:
    """A URL in its parts; `repr` and `str` never show the password. Options are read with `option`, then `finish`."""

    def __init__(self, text: str) -> None:
        """Parse `scheme://user:password@host:port/path?option=value`. Raises InvalidURLError."""
        if not isinstance(text, str) or "://" not in text:
            shown = text.partition("@")[2] or text if isinstance(text, str) else repr(text)
            raise InvalidURLError(f"{shown[:80]!r} is no URL: write scheme://…, for instance memory:// or sqlite:///orders.db")
        try:
            parts = urlsplit(text)
            self.port = parts.port
        except ValueError as error:
            raise InvalidURLError(f"the URL cannot be read: {error}") from None
        self.scheme = parts.scheme.lower()
        self.user = unquote(parts.username) if parts.username else None
        self.password = unquote(parts.password) if parts.password else None
        self.netloc = parts.netloc.rpartition("@")[2]
        self.host = parts.hostname or ""
        self.path = unquote(parts.path)
        if parts.fragment:
            raise InvalidURLError(f"{self}: a URL has no fragment here (write # in a name as %23)")
        self.options: dict[str, str] = {}
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            if name in self.options:
                raise InvalidURLError(f"{self}: the option {name!r} is given twice")
            self.options[name] = value
        self._read: dict[str, str] = {}

    def option(self, name: str, default: V, kind: Callable[[str], V], meaning: str) -> V:
        """Return an option, read by `kind` (int, float, a function that raises ValueError), or its default.

        `meaning` says what it takes ("seconds, more than 0"), for the error.
        """
        self._read[name] = meaning
        if name not in self.options:
            return default
        try:
            return kind(self.options[name])
        except ValueError as error:
            raise InvalidURLError(f"{self}: option {name}={self.options[name][:40]!r}: {meaning}") from error

    def choice(self, name: str, *choices: str) -> str:
        """Return an option that is one of `choices`; the first is the default."""

        def one_of(text: str) -> str:
            if text not in choices:
                raise ValueError
            return text

        return self.option(name, choices[0], one_of, f"one of {', '.join(choices)}")

    def finish(self) -> None:
        """Refuse the options that nobody has read. Raises InvalidURLError with those that there are."""
        for name in self.options:
            if name not in self._read:
                known = "; ".join(f"{known} ({meaning})" for known, meaning in self._read.items()) or "none"
                raise InvalidURLError(f"{self}: there is no option {name!r}; there are: {known}")

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        return f"{self.scheme}://{user}{self.netloc}{self.path}"

    def __repr__(self) -> str:
        return f"URL({str(self)!r})"


def backends() -> Mapping[str, EntryPoint]:
    """Return the installed backends by scheme, in order of name."""
    from importlib.metadata import entry_points  # 60 ms of import that `import unimsg` need not pay

    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def load(point: EntryPoint) -> Factory:
    """Import a backend. Raises BackendNotInstalledError, naming the extra, where its client library is missing."""
    try:
        return cast("Factory", point.load())
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in (point.module.partition(".")[0], "unimsg"):
            raise  # our own bug, or a broken installation: no extra would mend it
        extra = next(iter(point.extras), None) or point.module.removeprefix("unimsg_").partition(".")[0]
        raise BackendNotInstalledError(
            f"{point.name}:// needs the package {error.name!r}, which is not installed: pip install 'unimsg[{extra}]'", name=error.name
        ) from error


def backend_of(url: URL) -> Factory:
    """Return the backend of a URL's scheme. Raises BackendNotFoundError or BackendNotInstalledError."""
    found = backends()
    if url.scheme not in found:
        raise BackendNotFoundError(f"no backend for {url.scheme}://; installed: {', '.join(f'{name}://' for name in found) or 'none'}")
    return load(found[url.scheme])


def make_driver(url: URL | str, identity: Identity) -> Any:
    """Return the driver for a URL, not yet opened."""
    parsed = URL(url) if isinstance(url, str) else url
    return backend_of(parsed)(parsed, identity)
