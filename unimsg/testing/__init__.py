"""Real brokers for tests and for trying things out, on this machine, for as long as you look: docs/testing.md."""

from unimsg.testing.ejabberd import Ejabberd
from unimsg.testing.missing import BrokerMissingError
from unimsg.testing.prosody import Prosody
from unimsg.testing.server import Server
from unimsg.testing.service import Service

__all__ = ["LAUNCHERS", "BrokerMissingError", "Ejabberd", "Prosody", "Server", "Service"]

LAUNCHERS: dict[str, type[Server]] = {launcher.kind: launcher for launcher in (Prosody, Ejabberd)}
"""Each broker that can be started, by name."""
