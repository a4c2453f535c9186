"""A scheduler that speaks TLS lets in who has a certificate of its authority."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ec_jupyter.errors import HostUnreachableError
from ec_jupyter.nodes.kinds import place
from tests.nodes.dask_cluster import Dask
from tests.nodes.dask_rig import DaskRig

Files = tuple[str, str, str]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The authority, a certificate and its key; the first two are one."""
    return _certificate(tmp_path_factory.mktemp("tls"))


def _certificate(folder: Path) -> Files:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here")
    key, made = str(folder / "key.pem"), str(folder / "cert.pem")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", made, "-days", "2", "-subj", "/CN=localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    return made, made, key


@pytest.fixture(scope="module")
def cluster(certificate: Files) -> Iterator[Dask]:
    cluster = Dask(tls=certificate)
    yield cluster
    cluster.close()


@pytest.fixture
def rig(dask: DaskRig) -> DaskRig:
    return dask


def large(n):
    return bytes(n)


def size(given):
    return len(given)


async def test_calls_and_values_go_there_and_from_worker_to_worker(rig: DaskRig, certificate: Files) -> None:
    agent = await rig.start(tls=certificate)
    agent.processor("main", 2)
    value = (await rig.run(agent, rig.call(large, {"n": 3 << 20}))).value
    assert value is not None
    assert agent.holds(str(value.file))
    calls = []
    for _ in range(2):
        calls.append(rig.call(size, arguments=[("given", "v", [value])]))
    # at once: one of them where it was made, the other beside it
    agent.assign("main", calls)
    await rig.done(calls)
    assert [rig.result(call.request) for call in calls] == [3 << 20] * 2
    assert not (rig.values / str(value.file)).exists()
    assert await agent.bring(str(value.file))


async def test_who_has_no_certificate_of_that_authority_is_told_that_it_is_out_of_reach(
    rig: DaskRig, tmp_path: Path
) -> None:
    for tls, text in (((), "wants a certificate"), (_certificate(tmp_path), "does not answer: ")):
        agent = rig.make(tls=tls)
        with pytest.raises(HostUnreachableError, match=text) as found:
            await agent.start()
        assert "\n" not in str(found.value)


def test_the_security_of_a_client_in_a_cell_is_the_engines(loaded: Any, cluster: Dask, certificate: Files) -> None:
    from distributed import Client, Security

    words = ("tls_ca_file", "tls_client_cert", "tls_client_key")
    security = Security(require_encryption=True, **dict(zip(words, certificate, strict=True)))
    with Client(cluster.address, security=security, set_as_default=False) as client:
        assert place("cluster", client) == {"host": cluster.address, "kind": "dask", "tls": list(certificate)}
        loaded.names["client"] = client
        loaded.run('flow = ec.flow()\nnode = flow.node("cluster", client)')
    loaded.run('@ec.socket(processor="fit")\ndef f(x):\n    return 2 * x')
    loaded.run("%ec_processor fit --node cluster")
    assert loaded.run("flow.submit('f', 2).result(60)") == 4
    assert loaded.run("flow.requests()[0].node") == "cluster"
