"""What Prosody and ejabberd have in common: a folder, ports, certificates, accounts, and a life that ends with ours."""

from __future__ import annotations

import abc
import secrets
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import quote, urlencode

from unimsg.errors import ConnectionFailedError, IllegalStateError, InvalidURLError
from unimsg.testing.accounts import register
from unimsg.testing.certificates import Certificates, make_certificates
from unimsg.testing.ports import HOST, free_ports, is_free
from unimsg.testing.process import Process

__all__ = ["COMPONENTS", "PASSWORD", "USERS", "Server"]

USERS = ("admin", "alice", "bob", "carol", *(f"u{number}" for number in range(8)))
PASSWORD = "pw"  # noqa: S105  (of accounts that live as long as a test, on the loopback interface)
COMPONENTS = ("unimsg", *(f"other{number}" for number in range(1, 10)))

_LIMITS = ("open", "stock")
_ATTEMPTS = 5


class Server(abc.ABC):
    """A real XMPP server on 127.0.0.1, in a folder of its own, with accounts and a place for services.

    `limits`: "open" (nothing slows a client, stanzas up to 10 MiB) or "stock" (the rates and sizes of Debian's configuration).
    `max_stanza`: bytes, whatever `limits` says. `pubsub_storage`: see the class. `node_creators`: who may make pubsub nodes.
    `components`: names of services that may connect, NAME.localhost each. `tls_required`: no login in the clear.
    `names`: what the certificate is for. `users`: accounts at the start, with the password "pw".
    """

    kind: ClassVar[str]
    port_each: ClassVar[bool] = False
    """Whether each component needs a port of its own."""
    """The launcher's name, as in `unimsg testing up KIND`."""

    storages: ClassVar[tuple[str, ...]]
    """What `pubsub_storage` may be; the first is the default."""

    start_timeout: ClassVar[float] = 60.0
    """Seconds until a server that does not come up has failed; a second or two are usual."""

    host = HOST
    domain = "localhost"

    def __init__(
        self,
        folder: Path | str | None = None,
        *,
        limits: str = "open",
        pubsub_storage: str | None = None,
        tls_required: bool = False,
        max_stanza: int | None = None,
        components: Sequence[str] = COMPONENTS,
        node_creators: Sequence[str] | None = None,
        names: Sequence[str] = ("localhost", "*.localhost"),
        users: Sequence[str] = USERS,
    ) -> None:
        """Judge the options; nothing starts before `start` or `with`."""
        self._given = Path(folder).resolve() if folder is not None else None
        self._folder: Path | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self.limits = _one_of("limits", limits, _LIMITS)
        self.pubsub_storage = _one_of("pubsub_storage", pubsub_storage or self.storages[0], self.storages)
        self.tls_required = tls_required
        self.max_stanza = max_stanza
        self.components = tuple(components)
        self.node_creators = None if node_creators is None else tuple(node_creators)
        self.names = tuple(names)
        self.users = tuple(users)
        self.component_secret = secrets.token_urlsafe(18)
        self.port = self.tls_port = self.component_port = 0
        self.component_ports: dict[str, int] = {}
        self._certificates: Certificates | None = None
        self._process: Process | None = None
        self._offset = 0  # where the log of this start begins

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.host}:{self.port} {'up' if self.running else 'down'}>"

    # -- what tests and users ask for

    @property
    def folder(self) -> Path:
        """Return where everything of this server is. Raises IllegalStateError before `start`."""
        if self._folder is None:
            raise IllegalStateError(f"{type(self).__name__} was not started: call start(), or use it in a `with` statement")
        return self._folder

    @property
    def log(self) -> Path:
        """Return the path of the server's log."""
        return self.folder / "server.log"

    @property
    def ca(self) -> Path:
        """Return the path of the certificate that the server's is signed by (PEM)."""
        return self.certificates.ca

    @property
    def certificates(self) -> Certificates:
        """Return the paths of all certificates and keys."""
        if self._certificates is None:
            self._certificates = make_certificates(self.folder, self.names)
        return self._certificates

    @property
    def service_jid(self) -> str:
        """Return the address of the first service."""
        return f"{self.components[0]}.{self.domain}"

    @property
    def running(self) -> bool:
        """Tell whether the server's process lives."""
        return self._process is not None and self._process.code is None

    @property
    def pid(self) -> int:
        """Return the id of the server's process. Raises IllegalStateError if none was started."""
        if self._process is None:
            raise IllegalStateError(f"{type(self).__name__} is not running")
        return self._process.pid

    def url(self, user: str = "alice", password: str = PASSWORD, **options: object) -> str:
        """Return the URL for an account; an option that is None goes, `url("bob", ca=None)`."""
        return self._url(f"{quote(user, safe='')}:{quote(password, safe='')}", self.domain, {"port": self.port, "ca": self.ca, **options})

    def component_url(self, name: str | None = None, **options: object) -> str:
        """Return the URL for a service, one of `components` (the first if not said)."""
        secret = quote(self.component_secret, safe="")
        return self._url(
            f":{secret}",
            f"{name or self.components[0]}.{self.domain}",
            {"port": self.component_ports.get(name or self.components[0], self.component_port), **options},
        )

    def add_user(self, name: str, password: str = PASSWORD) -> None:
        """Make an account on the running server."""
        self.add_users([(name, password)])

    def add_users(self, users: Iterable[tuple[str, str]], *, keep: bool = False) -> None:
        """Make accounts (name, password) on the running server; `keep` those that exist, else SecurityError names the first such."""
        register((self.host, self.tls_port), self.domain, self.ca, users, keep=keep)

    # -- its life

    def start(self) -> Self:
        """Start it and return once it listens on all its ports. Raises BrokerMissingError, ConnectionFailedError with the end of the log."""
        if self.running:
            raise IllegalStateError(f"{self!r} is running already")
        self.check_installed()
        new = self._folder is None
        if new:
            self._folder = self._given or self._temporary_folder()
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._begin(choose=new)
        except BaseException:
            if new:
                self.stop()
            raise
        return self

    def stop(self) -> None:
        """End it, gracefully if it listens, and remove its folder unless it was given. Stopping twice does nothing."""
        self._end(kill=False)
        if self._temporary is not None:
            self._temporary.cleanup()
        self._folder = self._temporary = self._certificates = None

    def shut(self) -> None:
        """End it gracefully; its folder and its ports stay for the next `start`."""
        self._end(kill=False)

    def kill(self) -> None:
        """End it with SIGKILL; its folder and its ports stay for the next `start`."""
        self._end(kill=True)

    def restart(self) -> None:
        """End it gracefully and start it again, with the same accounts, ports and certificates."""
        self.shut()
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    # -- what each server says for itself

    @abc.abstractmethod
    def check_installed(self) -> None:
        """Raise BrokerMissingError if anything of the server is not there."""

    @abc.abstractmethod
    def configure(self) -> tuple[Sequence[str], Mapping[str, str]]:
        """Write the configuration into the folder; return the command and its environment."""

    @abc.abstractmethod
    def port_opened(self, log: str, port: int) -> bool:
        """Tell whether the log says that the server listens on a port."""

    @abc.abstractmethod
    def port_taken(self, log: str) -> bool:
        """Tell whether the log says that somebody else has one of our ports."""

    # -- how

    def _temporary_folder(self) -> Path:
        self._temporary = tempfile.TemporaryDirectory(prefix=f"unimsg-{self.kind}-", ignore_cleanup_errors=True)
        return Path(self._temporary.name)

    def _begin(self, choose: bool) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            if choose:
                self.port, self.tls_port, self.component_port, *more = free_ports(2 + (max(1, len(self.components)) if self.port_each else 1))
                self.component_ports = (
                    dict(zip(self.components, (self.component_port, *more), strict=False))
                    if self.port_each
                    else dict.fromkeys(self.components, self.component_port)
                )
            try:
                self._launch()
            except _PortTakenError:
                if not choose or attempt == _ATTEMPTS:
                    raise ConnectionFailedError(f"a port of {self!r} was taken meanwhile ({self.port}, {self.tls_port} or {self.component_port})") from None
            else:
                break
        if choose and self.users:
            self.add_users(((name, PASSWORD) for name in self.users), keep=True)  # a folder that was given may have them

    def _launch(self) -> None:
        ports = (self.port, self.tls_port, *sorted({self.component_port, *self.component_ports.values()}))
        if not all(map(is_free, ports)):
            raise _PortTakenError
        command, env = self.configure()
        self._offset = self.log.stat().st_size if self.log.exists() else 0
        self._process = Process(command, log=self.log, env=env, cwd=self.folder, remove=None if self._given else self.folder)
        deadline = time.monotonic() + self.start_timeout
        # Its word, not a knock at the door: somebody else may open.
        while not all(self.port_opened(log := self._new_log(), port) for port in ports):
            if self.port_taken(log):
                self.kill()
                raise _PortTakenError
            if not self.running or time.monotonic() > deadline:
                self.kill()
                log = self._new_log()
                raise ConnectionFailedError(f"{self.kind} did not start; the end of its log:\n" + "\n".join(log.splitlines()[-12:]))
            time.sleep(0.02)

    def _new_log(self) -> str:
        with self.log.open("rb") as stream:
            stream.seek(self._offset)
            return stream.read().decode(errors="replace")

    def _end(self, *, kill: bool) -> None:
        if self._process is not None:
            _ = self._process.kill() if kill else self._process.stop()
            self._process = None

    def _url(self, who: str, name: str, options: Mapping[str, object]) -> str:
        said = {"host": self.host} | {key: value for key, value in options.items() if value is not None}
        return f"xmpp://{who}@{name}?{urlencode({key: str(value) for key, value in said.items()}, safe='/')}"


class _PortTakenError(Exception):
    """Another program took a port between our choice and the server's use."""


def _one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise InvalidURLError(f"{name} is one of {', '.join(allowed)}, not {value!r}")
    return value
