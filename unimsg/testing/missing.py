"""What must be installed before a broker can be started here, and the error that says so."""

from __future__ import annotations

import os
import shutil

from unimsg.errors import UnimsgError

__all__ = ["PACKAGES", "BrokerMissingError", "program"]

PACKAGES = {
    "openssl": "openssl",
    "prosody": "prosody lua-dbi-sqlite3",
    "erl": "ejabberd erlang-os-mon erlang-p1-sqlite3",
    "sqlite3": "sqlite3",
}
"""Which of Debian's packages bring a program."""


class BrokerMissingError(UnimsgError):
    """Say which program of a broker is not installed, and which packages bring it."""


def program(name: str) -> str:
    """Return the path of a program. Raises BrokerMissingError."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"]))
    if not found:
        raise missing(f"the program {name!r}", PACKAGES.get(name, name))
    return found


def missing(what: str, packages: str) -> BrokerMissingError:
    """Return the error for something that is not installed."""
    return BrokerMissingError(f"{what} is not installed: say `make brokers`, or `apt-get install {packages}` on Debian or Ubuntu")
