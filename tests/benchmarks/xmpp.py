"""XMPP on real servers, in real processes: a publisher, a consumer, the service and the server share this machine.

Beside unimsg: plain slixmpp, its stanza objects and handlers, with the same twelve fields, on the same server in the same
run. Nobody uses TLS here, so that no side pays for what the other has not.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.report import show
from unimsg.testing import LAUNCHERS, Server, Service

WORKER = [sys.executable, "-m", "tests.benchmarks.xmpp_worker"]
RUNS = 2
COUNT = 20_000


def pair(taker: Sequence[str], publisher: Sequence[str]) -> float:
    """Run one process that takes and one that publishes; return messages/s."""
    with subprocess.Popen([*WORKER, *taker], stdout=subprocess.PIPE, text=True) as taking:
        assert taking.stdout is not None
        assert taking.stdout.readline() == "ready\n"
        subprocess.run([*WORKER, *publisher], check=True)
        rate: float = json.loads(taking.stdout.readline())["rate"]
    return rate


def alone(*arguments: str) -> dict[str, float]:
    done = subprocess.run([*WORKER, *arguments], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def at(server: Server, user: str, resource: str, **options: object) -> str:
    return server.url(user, "pw", tls="off", **options).replace("@localhost?", f"@localhost/{resource}?")


def on(kind: str) -> dict[str, Any]:
    rates: dict[str, list[float]] = {}
    delays: dict[str, list[dict[str, float]]] = {}
    with LAUNCHERS[kind](node_creators=("admin", "bob")) as server, Service(server) as service:
        near, far = at(server, "alice", "near", service=service.jid), at(server, "bob", "far", service=service.jid)
        bare = {"near": at(server, "admin", "near", service="none"), "far": at(server, "bob", "far", service="none")}
        for run in range(RUNS + 1):
            n = str(COUNT)
            straight = "queue:xmpp:bob@localhost/far"
            ten, few = ["dups_ok", "10"], ["dups_ok", "1"]
            measured = {
                "slixmpp, stanza objects": pair(["plain-take", bare["far"], "8000"], ["plain-publish", bare["near"], "bob@localhost/far", "8000"]),
                "one to one": pair(["take", bare["far"], straight, n, *few], ["publish", bare["near"], straight, n]),
                "queue, persistent, acknowledged by 100": pair(["take", far, f"queue:a{run}", n, "client", "1"], ["publish", near, f"queue:a{run}", n]),
                "queue, persistent, dups_ok": pair(["take", far, f"queue:b{run}", n, *few], ["publish", near, f"queue:b{run}", n]),
                "topic by the service to 10": pair(
                    ["take", far.replace("/far?", "?"), f"topic:c{run}", "3000", *ten], ["publish", near, f"topic:c{run}", "3000"]
                ),
                "topic by pubsub to 10": pair(
                    ["take", bare["far"].replace("/far?", "?"), f"topic:d{run}", "1000", *ten], ["publish", bare["near"], f"topic:d{run}", "1000"]
                ),
            }
            late = {
                "slixmpp": alone("plain-latency", at(server, "alice", "near"), "500"),
                "one to one": alone("latency", at(server, "alice", "near", service="none"), "queue:xmpp:alice@localhost/far", "500"),
                "through a queue of the service": alone("latency", near, f"queue:e{run}", "500"),
            }
            if run:  # the first warms up
                for name, rate in measured.items():
                    rates.setdefault(name, []).append(rate)
                for name, found in late.items():
                    delays.setdefault(name, []).append(found)
    base = statistics.median(rates["slixmpp, stanza objects"])
    table = {
        name: {"messages/s, median": statistics.median(found), "min": min(found), "max": max(found), "x slixmpp": statistics.median(found) / base}
        for name, found in rates.items()
    }
    show(f"XMPP on {kind}", table)
    latencies = {name: {f"{part}, ms": statistics.median(each[part] for each in found) for part in ("p50", "p99")} for name, found in delays.items()}
    show(f"XMPP on {kind}: from send to receive, one at a time", latencies)
    return {"rates": table, "latencies": latencies}


def run() -> dict[str, Any]:
    """Measure on both servers."""
    return {kind: on(kind) for kind in sorted(LAUNCHERS)}
