"""The embedded broker: JMS semantics as plain, synchronous, deterministic state machines over a store.

`Broker` holds the rules; a `Store` holds the state (memory, SQLite). Doors (memory://, sqlite:///, the XMPP service) bring
the waiting, the timers and the clock: nothing here waits, and every operation is told what time it is (`now`, seconds
since the epoch, UTC).
"""

from unimsg.broker.broker import LEASE, Broker
from unimsg.broker.gate import Full
from unimsg.broker.memory import MemoryStore
from unimsg.broker.store import Store

__all__ = ["LEASE", "Broker", "Full", "MemoryStore", "Store"]
