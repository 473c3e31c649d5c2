"""One messaging API and one wire format, on any broker.

`async with unimsg.connect("memory://") as connection:` is where everything starts; README.md shows the rest.
"""
