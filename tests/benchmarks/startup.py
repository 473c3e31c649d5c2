"""What `import unimsg` costs: fresh interpreters, one after the other, beside ones that import nothing."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from tests.benchmarks.report import show

# Names are imported on first use, so `import unimsg` alone tells half: the third row is a program that connects and sends.
SENDS = """
import asyncio, unimsg
async def main():
    async with unimsg.connect("memory://") as connection, connection.producer(unimsg.Queue("q")) as producer:
        await producer.send("hello")
asyncio.run(main())
"""
PROGRAMS = {
    "python -c pass": "pass",
    "import unimsg": "import unimsg",
    "import unimsg; unimsg.connect": "import unimsg; unimsg.connect",
    "connect to memory:// and send a message": SENDS,
    "import asyncio": "import asyncio",
    "import pydantic": "import pydantic",
}
RUNS = 11


def run() -> dict[str, object]:
    """Return milliseconds, of the whole process and beyond that of an empty one; the programs take turns."""
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for number in range(RUNS + 1):
        for name, program in PROGRAMS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True)
            if number:  # the first fills the caches of the disk and of byte code
                times[name].append((time.perf_counter() - start) * 1000)
    medians = {name: statistics.median(found) for name, found in times.items()}
    empty = medians["python -c pass"]
    return {name: {"process, ms": found, "beyond an empty one, ms": found - empty, "best, ms": min(times[name])} for name, found in medians.items()}


if __name__ == "__main__":
    show("startup", run())
