"""Standard input as bodies of messages: one a line, or all of it as one."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

from unimsg import Message
from unimsg.bodies import load_json
from unimsg.cli.outcome import USAGE, Stop
from unimsg.errors import MessageFormatError

__all__ = ["FORMATS", "add_input", "bodies", "chunks"]

CHUNK = 65_536


def add_input(parser: argparse.ArgumentParser) -> None:
    """Add --format and --whole."""
    parser.add_argument("--format", choices=FORMATS, default="text", help="what a body is: text (UTF-8), json (an object body, kept as it is written) or bytes")
    parser.add_argument("--whole", action="store_true", help="take all of the standard input as one body, instead of one a line")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise MessageFormatError(f"no UTF-8 at byte {error.start}: say --format bytes") from None


def _json(data: bytes) -> Message[Any]:
    # The text itself travels, so that 1.10 stays 1.10; load_json judges it.
    text = _text(data).strip()
    return Message.of({}, {}, "object", text, load_json(text))


FORMATS: dict[str, Callable[[bytes], Any]] = {"text": _text, "json": _json, "bytes": bytes}


async def bodies(args: argparse.Namespace) -> AsyncIterator[Any]:
    """Yield the bodies that the command line gives, or else those of the standard input. Raises Stop with their place."""
    convert = FORMATS[args.format]
    if args.body:
        for text in args.body:
            yield _convert(convert, os.fsencode(text), f"the body {text[:40]!r}")
    elif args.whole:
        yield _convert(convert, b"".join([chunk async for chunk in chunks()]), "the standard input")
    else:
        number = 0
        async for line in _lines():
            number += 1
            yield _convert(convert, line, f"line {number} of the standard input")


def _convert(convert: Callable[[bytes], Any], data: bytes, place: str) -> Any:
    try:
        return convert(data)
    except MessageFormatError as error:
        raise Stop(USAGE, f"{place}: {error}") from None


async def _lines() -> AsyncIterator[bytes]:
    """Yield the lines without their ends; an empty line is an empty message, and a last one needs no end."""
    started: list[bytes] = []  # of a line that is not yet whole
    async for chunk in chunks():
        first, *lines = chunk.split(b"\n")
        started.append(first)
        for line in lines:
            yield b"".join(started)
            started = [line]
    if last := b"".join(started):
        yield last


async def chunks() -> AsyncIterator[bytes]:
    """Yield the standard input as it comes, at most two chunks ahead.

    A daemon thread reads: the loop never blocks, Ctrl-C need not wait for input, and files, pipes and terminals are the
    same to it. It reads the descriptor itself, whose lock no dying thread can leave taken.
    """
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[bytes | OSError] = asyncio.Queue()
    room = threading.Semaphore(2)
    number = sys.stdin.fileno()

    def read() -> None:
        while True:
            room.acquire()
            try:
                found: bytes | OSError = os.read(number, CHUNK)
            except OSError as error:
                found = error
            try:
                loop.call_soon_threadsafe(arrived.put_nowait, found)
            except RuntimeError:
                return  # the command ended meanwhile
            if not found or isinstance(found, OSError):
                return

    threading.Thread(target=read, name="unimsg stdin", daemon=True).start()
    while chunk := await arrived.get():
        if isinstance(chunk, OSError):
            raise Stop(USAGE, f"the standard input cannot be read: {chunk}")
        yield chunk
        room.release()
