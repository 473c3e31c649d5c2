"""ejabberd: its configuration, and what it needs to run without epmd, Erlang distribution or a system user."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from unimsg.testing.missing import PACKAGES, missing, program
from unimsg.testing.server import Server

__all__ = ["Ejabberd"]

_SCHEMA = Path("/usr/share/ejabberd/sql/lite.sql")


class Ejabberd(Server):
    """ejabberd 23.01. `pubsub_storage`: "internal" (Mnesia, as Debian has it), "memory" (the same) or "sql" (SQLite).

    Every account may make pubsub nodes, as in Debian's configuration, unless `node_creators` names those who may.
    """

    kind: ClassVar[str] = "ejabberd"
    port_each: ClassVar[bool] = True
    storages: ClassVar[tuple[str, ...]] = ("internal", "memory", "sql")

    def check_installed(self) -> None:
        """Raise BrokerMissingError if anything of the server is not there."""
        program("erl")
        program("openssl")
        _libraries()
        if not _SCHEMA.exists():
            raise missing("ejabberd's SQLite schema", PACKAGES["erl"])

    def configure(self) -> tuple[Sequence[str], Mapping[str, str]]:
        """Write ejabberd.yml and the database."""
        self._make_database()
        path = self.folder / "ejabberd.yml"
        path.touch(mode=0o600)
        path.write_text(json.dumps(self._configuration(), indent=1), encoding="utf-8")  # JSON is YAML
        resolver = self.folder / "inetrc"
        resolver.write_text('{lookup,["file","native"]}.\n{host,{127,0,0,1}, ["localhost"]}.\n')
        # The log goes where our log is: ejabberd writes to its console and to a file, one is enough.
        env = os.environ | {
            "EJABBERD_CONFIG_PATH": str(path),
            "EJABBERD_LOG_PATH": str(self.folder / "ejabberd.log"),
            "ERL_CRASH_DUMP": str(self.folder / "crash.dump"),
            "ERL_INETRC": str(resolver),
            "ERL_LIBS": str(_libraries()),
            "HOME": str(self.folder),
        }
        # Started by `erl` itself: ejabberdctl insists on a system user and starts epmd on all interfaces. No node name, no
        # distribution, no cookie.
        return [program("erl"), "-noinput", "+K", "true", "+P", "250000", "-mnesia", "dir", f'"{self.folder / "mnesia"}"', "-s", "ejabberd"], env

    def port_opened(self, log: str, port: int) -> bool:
        """It says for each listener where it listens."""
        return f" connections at {self.host}:{port} for " in log  # TCP or TLS

    def port_taken(self, log: str) -> bool:
        """It says so, and ends or goes on without that port."""
        return "eaddrinuse" in log or "address already in use" in log

    def _make_database(self) -> None:
        path = self.folder / "ejabberd.sqlite"
        if path.exists():
            return
        database = sqlite3.connect(path)
        try:
            database.executescript(_SCHEMA.read_text(encoding="utf-8"))
            database.execute("PRAGMA journal_mode=WAL")
        finally:
            database.close()

    def _configuration(self) -> dict[str, Any]:
        stock = self.limits == "stock"
        size = self.max_stanza or (262_144 if stock else 10_485_760)
        client = {"ip": self.host, "module": "ejabberd_c2s", "access": "all", "max_stanza_size": size, "shaper": "c2s_shaper" if stock else "none"}
        if not stock:
            client |= {"max_fsm_queue": 1_000_000, "backlog": 128}
        component: dict[str, Any] = {"ip": self.host, "module": "ejabberd_service", "access": "all", "check_from": True, "shaper": "none"}
        if not stock or self.max_stanza:
            component["max_stanza_size"] = size
        # Whoever connects to a listener gets the stanzas of all its hosts: so each component has a listener of its own.
        components = [
            {**component, "port": port, "hosts": {f"{name}.{self.domain}": {"password": self.component_secret}}} for name, port in self.component_ports.items()
        ]
        creators = {"user": [f"{name}@{self.domain}" for name in self.node_creators]} if self.node_creators is not None else {"user_regexp": ""}
        return {
            "hosts": [self.domain],
            "loglevel": "info",
            "certfiles": [str(self.certificates.chain)],
            "ca_file": str(self.ca),
            "default_db": "mnesia",
            "sql_type": "sqlite",
            "sql_database": str(self.folder / "ejabberd.sqlite"),
            "auth_method": "sql",  # Mnesia may forget what was new when the server is killed
            "auth_password_format": "scram",
            "disable_sasl_mechanisms": ["digest-md5", "X-OAUTH2"],
            "registration_timeout": "infinity",
            "s2s_access": "none",
            "listen": [
                {**client, "port": self.port, "starttls": True, "starttls_required": self.tls_required},
                {**client, "port": self.tls_port, "tls": True},
                *components,
            ],
            "shaper": {"normal": {"rate": 3000, "burst_size": 20_000}},
            "shaper_rules": {
                "c2s_shaper": [{"none": "admin"}, {"normal": "all"}],
                "max_user_sessions": 10 if stock else 1000,
                "max_user_offline_messages": 100 if stock else "infinity",
            },
            "acl": {"admin": {"user": [f"admin@{self.domain}"]}, "local": {"user_regexp": ""}, "creators": creators},
            "access_rules": {"local": {"allow": "local"}, "configure": {"allow": "admin"}, "pubsub_createnode": {"allow": "creators"}},
            "modules": {
                "mod_adhoc": {},
                "mod_caps": {},
                "mod_carboncopy": {},
                "mod_disco": {},
                "mod_last": {},
                "mod_offline": {"access_max_user_messages": "max_user_offline_messages", "db_type": "sql"},
                "mod_ping": {},
                "mod_pubsub": {
                    "access_createnode": "pubsub_createnode",
                    "db_type": "sql" if self.pubsub_storage == "sql" else "mnesia",
                    "host": f"pubsub.{self.domain}",
                    "plugins": ["flat", "pep"],
                },
                "mod_register": {"ip_access": "all", "access": "all", "password_strength": 0},
                "mod_roster": {"versioning": True},
                "mod_stream_mgmt": {"resend_on_timeout": "if_offline"} if stock else {"resend_on_timeout": "if_offline", "max_ack_queue": "infinity"},
                "mod_version": {},
            },
        }


def _libraries() -> Path:
    """Return the folder of Erlang libraries that ejabberd is in. Raises BrokerMissingError."""
    for found in sorted(Path("/usr/lib").glob("*/ejabberd-*/ebin/ejabberd.app")):
        return found.parents[2]
    raise missing("ejabberd", PACKAGES["erl"])
