"""What `unimsg testing up KIND` stands up: one recipe for each kind of broker, and the URL that works."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from unimsg.errors import SecurityError
from unimsg.testing.ejabberd import Ejabberd
from unimsg.testing.prosody import Prosody
from unimsg.testing.server import Server
from unimsg.testing.service import Service

__all__ = ["RECIPES", "Part", "Standing", "Wish"]


class Wish(NamedTuple):
    """What the user asked for; `folder` None is a temporary one, `store` None a SQLite file in the folder."""

    user: str
    password: str | None
    make_password: Callable[[], str]
    store: str | None
    folder: Path | None
    say: Callable[[str], None]


class Part(Protocol):
    """A process that must go on running."""

    @property
    def running(self) -> bool:
        """Tell whether it does."""

    @property
    def log(self) -> Path:
        """Return where it says why not."""


class Standing(NamedTuple):
    """A broker that stands: a URL for the user, and what it consists of."""

    url: str
    parts: tuple[Part, ...]


@contextlib.contextmanager
def _xmpp(launcher: type[Server], wish: Wish) -> Iterator[Standing]:
    wish.say(f"starting {launcher.kind}")
    with launcher(wish.folder, users=()) as server:
        password = _account(server, wish)
        service = Service(server, wish.store)
        wish.say(f"starting the service {service.jid}")
        with service:
            wish.say(f"{launcher.kind} and its service stand in {server.folder}")
            yield Standing(service.url(wish.user, password), (server, service))


def _account(server: Server, wish: Wish) -> str:
    """Make the user's account, or find it in a folder that is used again; return its password. Raises SecurityError."""
    path = server.folder / "accounts.json"
    known: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    password = wish.password or known.get(wish.user) or wish.make_password()
    if known.get(wish.user) == password:
        return password
    if wish.user in known:
        raise SecurityError(f"{wish.user!r} has another password in {server.folder}: leave out --password, or take another user or folder")
    server.add_user(wish.user, password)
    path.touch(mode=0o600)
    path.write_text(json.dumps(known | {wish.user: password}), encoding="utf-8")
    return password


RECIPES: dict[str, Callable[[Wish], AbstractContextManager[Standing]]] = {launcher.kind: partial(_xmpp, launcher) for launcher in (Prosody, Ejabberd)}
"""How each kind of broker is stood up, and taken down at the end of the `with` statement."""
