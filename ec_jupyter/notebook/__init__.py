"""The kernel's side: what a person types, and the client of the engine."""
