"""Run the measurements and print their tables: `python -m tests.benchmarks [NAME ...] [--json FILE]`."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

from tests.benchmarks.report import header, show

NAMES = ("startup", "codec", "selector", "messaging", "stores", "xmpp")


def main() -> int:
    """Measure what is named, or everything; an error in one is told, and the others go on."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all if none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers too")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in NAMES:
            parser.error(f"there is no {name}; there are {', '.join(NAMES)}")
    results: dict[str, object] = {"header": header()}
    show("unimsg, measured", header())
    failed = False
    for name in arguments.names or NAMES:
        try:
            result = importlib.import_module(f"tests.benchmarks.{name}").run()
        except Exception as error:  # noqa: BLE001 - whatever one measurement dies of, the others are wanted
            failed = True
            print(f"\n{name}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        results[name] = result
        show(name, result)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2, default=str) + "\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
