"""One publisher or consumer of the proof, as a process that may be killed at any instant.

worker.py publish URL FOLDER NAME COUNT    publish until COUNT messages of this name are confirmed, over all its lives
worker.py consume URL FOLDER NAME          process until there is nothing left and FOLDER/done is there

What is written with one write(2) to a file opened for appending is there after a kill; so each line is.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import unimsg
from unimsg import Queue

QUEUE = Queue("proof")
BATCH = 200


class Log:
    """Lines in a file that outlive their writer."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, mark: str, names: list[str]) -> None:
        os.write(self._file, "".join(f"{mark} {name}\n" for name in names).encode())


def life_of(folder: Path, name: str) -> int:
    """Return which life this is, from 1."""
    lives = folder / f"{name}.lives"
    Log(lives).write("life", [str(os.getpid())])
    return len(lives.read_text().splitlines())


async def publish(url: str, folder: Path, name: str, count: int) -> None:
    life, log = life_of(folder, name), Log(folder / f"{name}.confirmed")
    confirmed = len((folder / f"{name}.confirmed").read_text().splitlines())
    number = 0
    async with unimsg.connect(url) as connection, connection.producer(QUEUE) as producer:
        while confirmed < count:
            batch: list[tuple[str, Any]] = []
            for _ in range(min(BATCH, count - confirmed)):
                number += 1
                message = f"{name}.{life}.{number}"
                batch.append((message, await producer.submit({"name": message, "text": "x" * 500})))
            for _, receipt in batch:
                await receipt
            log.write("C", [message for message, _ in batch])
            confirmed += len(batch)


async def consume(url: str, folder: Path, name: str) -> None:
    log = Log(folder / f"{name}.{life_of(folder, name)}.processed")
    async with unimsg.connect(url) as connection, connection.consumer(QUEUE, mode="individual") as consumer:
        while True:
            first = await consumer.receive(timeout=1.0)
            if first is None:
                if (folder / "done").exists():
                    return
                continue
            batch = [first]
            while len(batch) < BATCH and (more := await consumer.receive(timeout=0)) is not None:
                batch.append(more)
            names = [message.body["name"] for message in batch]
            log.write("P", names)  # the processing
            await asyncio.gather(*(message.acknowledge() for message in batch))
            log.write("A", names)


def main() -> None:
    role, url, folder, name = sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4]
    asyncio.run(publish(url, folder, name, int(sys.argv[5])) if role == "publish" else consume(url, folder, name))


if __name__ == "__main__":
    main()
