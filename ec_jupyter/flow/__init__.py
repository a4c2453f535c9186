"""Decisions, pure: which request exists, which may start, what an edit means. No clock, no I/O."""
