"""The `unimsg` command: one verb a module; `unimsg --help` teaches by examples, docs/cli.md tells the rest."""

from unimsg.cli.command import main

__all__ = ["main"]
