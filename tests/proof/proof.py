"""The proof: nothing confirmed is lost, and nothing is done twice but what was in hand at a kill, however processes die.

Two publishers and four consumers share one SQLite file; each is killed with -9 twice, at random instants, and started again.
By hand: python tests/proof/proof.py [MESSAGES [SEED]]
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

PUBLISHERS = ("p1", "p2")
CONSUMERS = ("c1", "c2", "c3", "c4")
KILLS = 2


class Outcome(NamedTuple):
    """What the logs say. `in_hand`: recorded by a consumer that was killed before it knew that it was acknowledged."""

    confirmed: int
    processed: int
    lost: list[str]
    twice: int
    wrongly_twice: list[str]
    in_hand: int
    unconfirmed: int
    kills: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.confirmed} confirmed, {self.processed} processed, {len(self.lost)} lost; {self.kills} kills; in hand at a kill: {self.in_hand}, "
            f"of which processed twice: {self.twice}; processed twice otherwise: {len(self.wrongly_twice)}; "
            f"processed though their publisher died before it knew that they were taken: {self.unconfirmed}; {self.seconds:.1f} s"
        )


class Run:
    """One run: the processes, their kills, and the verdict."""

    def __init__(self, folder: Path, messages: int, seed: int) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder / 'proof.db'}"
        self.share = messages // len(PUBLISHERS)
        self.chance = random.Random(seed)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.plan = {name: sorted(self.chance.uniform(0.02, 0.9) for _ in range(KILLS)) for name in PUBLISHERS + CONSUMERS}
        self.kills = 0

    def start(self, name: str) -> None:
        arguments = ["publish", self.url, str(self.folder), name, str(self.share)] if name in PUBLISHERS else ["consume", self.url, str(self.folder), name]
        self.processes[name] = subprocess.Popen([sys.executable, str(Path(__file__).with_name("worker.py")), *arguments])

    def lines(self, pattern: str, mark: str) -> list[str]:
        """Return the whole lines of a mark in the files of a pattern; a line that was cut off is none."""
        found: list[str] = []
        for path in sorted(self.folder.glob(pattern)):
            found += [line[2:] for line in path.read_text().split("\n")[:-1] if line.startswith(mark)]
        return found

    def size(self, pattern: str) -> int:
        return sum(path.stat().st_size for path in self.folder.glob(pattern))

    def progress(self, name: str) -> float:
        """Return how far a process is, by the size of its log (a publisher) or of all consumers' logs."""
        if name in PUBLISHERS:
            return self.size(f"{name}.confirmed") / (self.share * 13)
        return self.size("c*.processed") / (self.share * len(PUBLISHERS) * 26)

    def kill(self, name: str) -> None:
        time.sleep(self.chance.uniform(0, 0.05))
        process = self.processes[name]
        if process.poll() is not None:
            raise SystemExit(f"{name} ended by itself, with {process.returncode}, before its kill")
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.kills += 1
        self.start(name)

    def go(self, deadline: float) -> Outcome:
        begin = time.monotonic()
        for name in PUBLISHERS + CONSUMERS:
            self.start(name)
        try:
            while any(self.plan.values()) or any(self.processes[name].poll() is None for name in PUBLISHERS):
                for name, plan in self.plan.items():
                    if plan and self.progress(name) >= plan[0]:
                        plan.pop(0)
                        self.kill(name)
                self.tend(begin, deadline)
            (self.folder / "done").touch()
            while any(process.poll() is None for process in self.processes.values()):
                self.tend(begin, deadline)
        finally:
            for process in self.processes.values():
                if process.poll() is None:
                    process.kill()
                process.wait()
        return self.verdict(time.monotonic() - begin)

    def tend(self, begin: float, deadline: float) -> None:
        for name, process in self.processes.items():
            if process.poll():
                raise SystemExit(f"{name} failed with {process.returncode}")
        if time.monotonic() - begin > deadline:
            raise SystemExit(f"no end within {deadline} s")
        time.sleep(0.01)

    def verdict(self, seconds: float) -> Outcome:
        confirmed, processed = set(self.lines("p*.confirmed", "C")), Counter(self.lines("c*.processed", "P"))
        in_hand: set[str] = set()
        for name in CONSUMERS:
            for life in range(1, KILLS + 1):
                log = f"{name}.{life}.processed"
                in_hand |= set(self.lines(log, "P")) - set(self.lines(log, "A"))
        again = {message for message, times in processed.items() if times > 1}
        return Outcome(
            len(confirmed), len(processed), sorted(confirmed - set(processed)), len(again & in_hand), sorted(again - in_hand), len(in_hand),
            len(set(processed) - confirmed), self.kills, seconds,
        )  # fmt: skip


def prove(messages: int, seed: int, deadline: float = 600.0) -> Outcome:
    """Run the proof in a folder of its own; return what came of it."""
    with tempfile.TemporaryDirectory(prefix="unimsg-proof-") as folder:
        return Run(Path(folder), messages, seed).go(deadline)


def main() -> None:
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1_000_000)
    print(f"seed {seed}", flush=True)
    outcome = prove(messages, seed)
    print(outcome)
    if outcome.lost or outcome.wrongly_twice or outcome.confirmed < messages or outcome.kills != KILLS * len(PUBLISHERS + CONSUMERS):
        raise SystemExit(f"lost: {outcome.lost[:10]}; twice: {outcome.wrongly_twice[:10]}")


if __name__ == "__main__":
    main()
