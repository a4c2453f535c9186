"""The agent of a machine: pools of worker processes, their slots and their CPUs."""
