"""Measurements, for `make bench`: each module has `run() -> dict[str, object]`, and nothing here is asserted by a test.

A dictionary of dictionaries is a table, its inner keys the columns; `python -m tests.benchmarks` prints them all, and
`python -m tests.benchmarks.selector` one. `docs/benchmarks.md` records the numbers of a day with their method.
"""
