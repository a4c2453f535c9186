"""A Dask cluster as a node: calls run inside its workers."""
