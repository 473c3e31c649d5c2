"""Prosody: its configuration, and what it needs to run on its own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import ClassVar

from unimsg.testing.missing import program
from unimsg.testing.server import Server

__all__ = ["Prosody"]

_STOCK = """
-- The limits of Debian's configuration.
limits = { c2s = { rate = "10kb/s" } }
"""

_OPEN = """
-- No mod_limits: nothing slows a client. min_wait: the default of 1 ms for each 8 KiB halves the rate of larger stanzas.
network_settings = { read_size = 131072, min_wait = 0.00001 }
smacks_max_queue_size = 100000
"""


class Prosody(Server):
    """Prosody 0.12. `pubsub_storage`: "internal" (files, as Debian has it), "memory" or "sql" (SQLite).

    Only `node_creators` ("admin" if not said) may make pubsub nodes: Prosody 0.12 knows administrators of the component, no more.
    """

    kind: ClassVar[str] = "prosody"
    storages: ClassVar[tuple[str, ...]] = ("internal", "memory", "sql")

    def check_installed(self) -> None:
        """Raise BrokerMissingError if anything of the server is not there."""
        program("prosody")
        program("openssl")

    def configure(self) -> tuple[Sequence[str], Mapping[str, str]]:
        """Write prosody.cfg.lua."""
        for name in ("data", "certs"):
            (self.folder / name).mkdir(mode=0o700, exist_ok=True)
        path = self.folder / "prosody.cfg.lua"
        path.touch(mode=0o600)
        path.write_text(self._configuration(), encoding="utf-8")
        return [program("prosody"), "-F", "--config", str(path)], dict(os.environ)

    def port_opened(self, log: str, port: int) -> bool:
        """It says for each service where it listens."""
        return f"on [{self.host}]:{port}\n" in log

    def port_taken(self, log: str) -> bool:
        """It says so and goes on without that port."""
        return "Failed to open server port" in log

    def _configuration(self) -> str:
        stock = self.limits == "stock"
        size = self.max_stanza or (262_144 if stock else 10_485_760)
        component_size = self.max_stanza or (524_288 if stock else 10_485_760)
        creators = ", ".join(_lua(f"{name}@{self.domain}") for name in self.node_creators or ("admin",))
        modules = ["disco", "roster", "saslauth", "tls", "carbons", "ping", "register", "time", "version", "smacks", "uptime"] + ["limits"] * stock
        pubsub = f"storage = {_lua(self.pubsub_storage)}" if self.pubsub_storage != "internal" else ""
        lines = f"""\
-- Written by unimsg.testing; written anew at each start.
run_as_root = {_lua(os.geteuid() == 0)}
daemonize = false
pidfile = {_lua(self.folder / "prosody.pid")}
data_path = {_lua(self.folder / "data")}
log = {{ info = "*console" }}
interfaces = {{ "{self.host}" }}
local_interfaces = {{ "{self.host}" }}
c2s_ports = {{ {self.port} }}
c2s_direct_tls_ports = {{ {self.tls_port} }}
component_ports = {{ {self.component_port} }}
http_ports = {{ }}
https_ports = {{ }}
modules_enabled = {{ {", ".join(map(_lua, modules))} }}
modules_disabled = {{ "s2s" }}
allow_registration = true
authentication = "internal_hashed"
c2s_require_encryption = {_lua(self.tls_required)}
ssl = {{ certificate = {_lua(self.certificates.certificate)}, key = {_lua(self.certificates.key)} }}
c2s_direct_tls_ssl = ssl
sql = {{ driver = "SQLite3", database = {_lua(self.folder / "prosody.sqlite")} }}
sqlite_tune = {{ journal_mode = "wal", synchronous = "normal" }}
c2s_stanza_size_limit = {size}
component_stanza_size_limit = {component_size}
{_STOCK if stock else _OPEN}
VirtualHost "{self.domain}"

Component "pubsub.{self.domain}" "pubsub"
    admins = {{ {creators} }}
    {pubsub}
"""
        for name in self.components:
            lines += f'\nComponent "{name}.{self.domain}"\n    component_secret = {_lua(self.component_secret)}\n'
        return lines


def _lua(value: object) -> str:
    """Return a value as Lua writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'
