"""A Dask cluster on this machine, in a process of its own that ends with its standard input."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any


class Dask:
    """A cluster of workers, in processes of its own.

    With `tls`, files of an authority, a certificate and its key, it lets nobody in who has none of that authority.
    """

    def __init__(self, workers: int = 2, tls: Sequence[str] = (), threads: int = 1, **options: Any) -> None:
        command = [sys.executable, __file__, str(workers), str(threads), *tls]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **options
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address, "the cluster has not started"

    def scale(self, workers: int | None) -> None:
        """Have so many workers, or as many as there is work for (None); returns at once."""
        assert self.process.stdin is not None
        self.process.stdin.write("adapt\n" if workers is None else f"{workers}\n")
        self.process.stdin.flush()

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
        self.process.stdout.close()


if __name__ == "__main__":
    import dask
    from distributed import LocalCluster, Security

    # a worker that is being started again just then, so long after a death of its, LocalCluster gives up for good
    dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"})
    words = ("tls_ca_file", "tls_client_cert", "tls_client_key", "tls_scheduler_cert", "tls_scheduler_key")
    words += ("tls_worker_cert", "tls_worker_key")
    files = sys.argv[3:4] + 3 * sys.argv[4:]
    security = Security(require_encryption=True, **dict(zip(words, files, strict=True))) if files else None
    with LocalCluster(
        n_workers=int(sys.argv[1]), threads_per_worker=int(sys.argv[2]), processes=True, dashboard_address=None,
        silence_logs=50, security=security, protocol="tls" if security else "tcp",
    ) as cluster:  # fmt: skip
        sys.stdout.write(f"{cluster.scheduler_address}\n")
        sys.stdout.flush()
        for line in sys.stdin:
            cluster.adapt(minimum=0, maximum=2, interval="500ms") if line == "adapt\n" else cluster.scale(int(line))
