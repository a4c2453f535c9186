"""Inside a worker process: one call at a time, what it prints and what is around it."""
