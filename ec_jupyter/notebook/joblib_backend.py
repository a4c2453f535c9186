"""A processor of a flow as a backend of joblib: ``joblib.parallel_config("ec_jupyter", flow=...)``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import joblib
from joblib._parallel_backends import AutoBatchingMixin, ParallelBackendBase, SequentialBackend

from ec_jupyter.model import LOCAL
from ec_jupyter.notebook.executor import ProcessorExecutor
from ec_jupyter.notebook.flow import Flow, open_flow
from ec_jupyter.notebook.views import Processor

# arrays from this size on are written once for a `Parallel` call and mapped by its workers, as joblib itself does
MAPPED_BYTES = 1 << 20


class FlowBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """Runs the batches of a `joblib.Parallel` as requests of a flow."""

    default_n_jobs = -1
    supports_retrieve_callback = True

    def __init__(self, flow: Flow | str | None = None, processor: str | Processor = "main", **options: Any) -> None:
        super().__init__(**options)
        # whose queue holds them; the notebook's own if left out
        self._flow = flow if isinstance(flow, Flow) else open_flow(flow)
        # whose CPUs run them, however large `n_jobs` is
        self._processor = processor if isinstance(processor, str) else processor.name
        self._executor: ProcessorExecutor | None = None
        self._open: set[Future[Any]] = set()
        self._arrays: _Arrays | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many calls may run at a time: what was asked for, within the CPUs of the processor."""
        if n_jobs == 0:
            raise ValueError("n_jobs=0: takes a number of calls at a time, or -1 for all CPUs of the processor")
        cpus = self._cpus()
        wanted = 1 if n_jobs is None else n_jobs if n_jobs > 0 else cpus + 1 + n_jobs
        return max(1, min(wanted, cpus))

    def _cpus(self) -> int:
        lent = {node.name: node.cpus for node in self._flow.nodes}
        placed = self._flow.processor(self._processor).nodes
        return max(1, sum(lent.get(name, 0) if cpus is None else cpus for name, cpus in placed.items()))

    def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
        """Get ready for a `Parallel`; how many calls may run at a time."""
        self.parallel = parallel
        if self._executor is None:
            self._executor = self._flow.executor(self._processor)
        return self.effective_n_jobs(n_jobs)

    def submit(self, func: Any, callback: Callable[[Any], Any] | None = None) -> Future[Any]:
        """A future for a batch."""
        assert self._executor is not None
        if set(self._flow.processor(self._processor).nodes) == {LOCAL}:
            self._arrays = self._arrays or _Arrays()
            self._arrays.map(func)
        future = self._executor.submit(func)
        self._open.add(future)
        future.add_done_callback(self._open.discard)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    # its name before joblib 1.5
    apply_async = submit

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """Results of a batch."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancel what waits and end what runs: one call has failed, and nobody takes the rest."""
        for future in list(self._open):
            request = getattr(future, "request", None)
            if not future.cancel() and request is not None and not future.done():
                request.cancel()

    def terminate(self) -> None:
        """Let go of what one `Parallel` needed; the flow works on."""
        if self._arrays is not None:
            self._arrays.close()
            self._arrays = None
        self.reset_batch_stats()

    def get_nested_backend(self) -> tuple[Any, None]:
        """What a `Parallel` inside a call uses: nothing beside the one CPU that the call has."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None


class _Arrays:
    """Large arrays of a `Parallel` as files that its workers map.

    An array that many calls get is written once. It is told apart by its identity, so it is kept
    until the files go.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ec_jupyter.joblib.", ignore_cleanup_errors=True)
        self._known: dict[int, tuple[Any, _Mapped]] = {}

    def map(self, batch: Any) -> None:
        """Put references into a batch where it has large arrays."""
        items = getattr(batch, "items", None)
        if isinstance(items, list):
            batch.items = [
                (call, [self._one(a) for a in args], {k: self._one(v) for k, v in kwargs.items()})
                for call, args, kwargs in items
            ]

    def _one(self, value: Any) -> Any:
        if not isinstance(getattr(value, "nbytes", None), int) or type(value).__module__ != "numpy":
            return value
        if value.nbytes < MAPPED_BYTES or value.dtype.hasobject:
            return value
        if id(value) not in self._known:
            path = Path(self._folder.name, str(len(self._known)))
            joblib.dump(value, path)
            self._known[id(value)] = value, _Mapped(path)
        return self._known[id(value)][1]

    def close(self) -> None:
        """Remove the files; a worker that still maps one keeps it."""
        self._known.clear()
        self._folder.cleanup()


class _Mapped:
    """Stands for an array on its way; arrives as the array, read-only."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __reduce__(self) -> Any:
        return joblib.load, (self._path, "r")
