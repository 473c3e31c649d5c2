"""The client: the portable, concrete types that users hold; everything that is the same on every backend."""
