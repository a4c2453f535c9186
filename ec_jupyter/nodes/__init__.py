"""Where calls run: agents, their slots and what is inside a worker process."""
