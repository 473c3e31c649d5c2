"""Mutate the vectors, a million times and more, and hold the codec to itself.

    python -m tests.fuzz [--inputs N] [--seed N] [--processes N] [--seconds N]

For each input: the decoder answers within a second, with a message or with WireFormatError and nothing else; the fast
ways and the judge agree, on refusing and on every value; and what was taken has a canonical form that is a fixed point.
The seed is printed; a failure prints its input, which belongs into the vectors then.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import signal
import time
import traceback
from pathlib import Path
from typing import Any

from tests.wire.sameness import same
from unimsg import wire
from unimsg.errors import WireFormatError
from unimsg.wire import hot, judge, strict

VECTORS = Path(__file__).parent.parent / "vectors"
LARGEST = 3000
HANG = 1.0
PIECES = [
    *b"<>&\"'\\/=;:# \t\n\r\0\x7f\x85\xff\xfe\xed\xa0\x80\xc0\xef\xbf\xbd09aZ+-.eETZ_",
]
TOKENS = [
    *(bytes([piece]) for piece in PIECES),
    *(
        text.encode("utf-8", "surrogatepass")
        for text in (
            "<!-- -->", "<?x?>", "<!DOCTYPE m>", "<![CDATA[", "]]>", "&amp;", "&lt;", "&gt;", "&quot;", "&apos;", "&#13;", "&#x0;", "&#xD800;", "&a;",
            "\\\\", "\\u0000", "\\ud800", "\\u000A", "\ufffe", "\uffff", "\ud800", "\U0001f600", "٣", "\u00a0", "1_0", "YR==", "YQ==",
            "INF", "-INF", "NaN", "1E5",
            "1e400", "24:00:00", ":60Z", "+14:00", "0000-", "-02-30T", "000000000000000000000000000000000000000000000000000000000000000000000",
            ' type="long"', ' type="fields"', ' type="vector"', ' of="string"', ' of="double"', ' encoding="base64"', ' name="a"', ' fid="1"',
            ' xmlns:q="u" q:a="1"',
            ' xmlns=""', ' xmlns="urn:unimsg:2"', "<property", "</property>", '<property name="a" type="long">1</property>', "<body", "</body>",
            '<body type="text">', '<body type="map">', '<item type="null"></item>', '<entry name="a" type="null"></entry>', '<x xmlns="u"></x>',
            "</envelope>", "</message>",
            ' must-understand="x"', ' priority="4"', ' destination="queue:"', "9223372036854775808", "-9223372036854775808", "  ",
        )
    ),
]  # fmt: skip


class HangError(Exception):
    """Say that one input took too long."""


def values(message: Any) -> list[Any]:
    """Return everything that a message says; where a value cannot be read, that it cannot."""
    found: list[Any] = [dict(message.head), list(message.properties)]
    for name in message.properties:
        try:
            found.append(message.properties[name])
        except WireFormatError:
            found.append(WireFormatError)
    try:
        found += [message.body_kind, message.payload]
    except WireFormatError:
        found.append(WireFormatError)
    return found


def mutate(chooser: random.Random, seeds: list[bytes]) -> bytes:
    data = bytearray(chooser.choice(seeds))
    for _ in range(chooser.choice((1, 1, 1, 2, 3, 5))):
        at = chooser.randint(0, len(data))
        what = chooser.random()
        if what < 0.45:
            data[at : at + chooser.choice((0, 0, 1, 1, 2, 5))] = chooser.choice(TOKENS)
        elif what < 0.6:
            del data[at : at + chooser.choice((1, 1, 2, 4, 20))]
        elif what < 0.7 and data:
            data[min(at, len(data) - 1)] = chooser.randrange(256)
        elif what < 0.85:
            start = chooser.randint(0, len(data))
            data[at:at] = data[start : start + chooser.choice((1, 5, 20, 60))]
        else:
            other = chooser.choice(seeds)
            start = chooser.randint(0, len(other))
            data[at : at + chooser.choice((0, 10, 50))] = other[start : start + chooser.choice((5, 30, 80))]
    return bytes(data)


def check(data: bytes) -> bool:
    """Judge one input; True if it was taken. Raises AssertionError for what must not be."""
    refused: WireFormatError | None = None
    try:
        expected = judge.judge(strict.parse(data), data)
    except WireFormatError as error:
        refused = error
    if refused is not None:
        if not refused.cause:
            raise AssertionError("no cause")
        try:
            message = wire.decode(data)
        except WireFormatError:
            return False
        raise AssertionError(f"the fast way took what the judge refuses: {message!r}")
    message = wire.decode(data)
    canonical = wire.encode(expected)
    assert wire.encode(message) == canonical, "the ways disagree about the canonical form"
    assert same(values(message), values(expected)), "the ways disagree about a value"
    if expected.wire[0] is judge.TREES:
        again = wire.decode(canonical)
        assert wire.encode(again) == canonical, "the canonical form is no fixed point"
        assert wire.encode(judge.judge(strict.parse(canonical), canonical)) == canonical, "the canonical form is not the judge's"
        assert same(values(again), values(expected)), "the canonical form says something else"
    return True


def work(job: tuple[int, int, float]) -> tuple[int, int, list[str]]:
    """Run one process's share: seed, number of inputs, seconds. Returns inputs, those taken, and failures."""
    seed, number, seconds = job
    chooser = random.Random(seed)
    seeds = [data for path in sorted(VECTORS.glob("*/*.xml")) if len(data := path.read_bytes()) <= LARGEST]
    canonical = [path.with_suffix(".xml").read_bytes() for path in sorted((VECTORS / "valid").glob("*.json")) if '"writer": true' in path.read_text()]
    seeds += 2 * [data for data in canonical if len(data) <= LARGEST]
    # The shape of a tick gets code of its own, and must agree with the judge too.
    tick = (VECTORS / "valid" / "tick.xml").read_bytes()
    for _ in range(hot.SAMPLE * (hot.READ_AFTER + 2)):
        wire.decode(tick)
    seeds += 30 * [tick]

    def hang(*_: Any) -> None:
        raise HangError(f"more than {HANG} s")

    signal.signal(signal.SIGALRM, hang)
    taken = done = 0
    failures: list[str] = []
    end = time.monotonic() + seconds
    while done < number and len(failures) < 5 and time.monotonic() < end:
        data = mutate(chooser, seeds)
        signal.setitimer(signal.ITIMER_REAL, HANG)
        try:
            taken += check(data)
        except BaseException:  # noqa: BLE001  (whatever else comes out of it is what we look for)
            failures.append(f"{traceback.format_exc(limit=-3)}input: {data!r}\n")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        done += 1
    return done, taken, failures


def main() -> int:
    """Run all processes and say what came of it; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3600.0, help="stop after so long, however many there were")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}, {options.inputs} inputs, {options.processes} processes", flush=True)
    start = time.monotonic()
    share = -(-options.inputs // options.processes)
    jobs = [(seed + number, share, options.seconds) for number in range(options.processes)]
    if options.processes == 1:
        results = [work(jobs[0])]
    else:
        with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
            results = pool.map(work, jobs)
    done, taken = sum(one[0] for one in results), sum(one[1] for one in results)
    failures = [failure for one in results for failure in one[2]]
    for failure in failures:
        print(failure)
    print(f"{done} inputs in {time.monotonic() - start:.0f} s: {taken} taken, {done - taken} refused, {len(failures)} wrong (seed {seed})")
    return 1 if failures else 0
