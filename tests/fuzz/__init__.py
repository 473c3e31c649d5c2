"""Programs that throw hostile input at the codec; `python -m tests.fuzz --help`."""
