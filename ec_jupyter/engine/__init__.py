"""The engine's process: event loop, store, values, recovery. User code never runs here."""
