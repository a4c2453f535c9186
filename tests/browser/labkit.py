"""A JupyterLab of its own, with what is built here, and flows under its root."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
TOKEN = "the-token-of-this-test"
QUIET = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/apputils-extension:themes": {"theme": "JupyterLab Light"},
}


def front() -> Any:
    """The module that knows where a front end belongs."""
    spec = importlib.util.spec_from_file_location("ec_jupyter_front", REPOSITORY / "labextension/front.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wait_for(claim: Callable[[], Any], seconds: float = 60.0) -> Any:
    """First true value of `claim`, within some seconds."""
    tick, left = threading.Event(), seconds / 0.05
    while not (found := claim()):
        assert (left := left - 1) > 0, f"not so within {seconds} s"
        tick.wait(0.05)
    return found


def overheard(page: Any) -> None:
    """Have the page write down what it says of its numbers, however short."""
    page.evaluate(
        "() => { window.said = []; new MutationObserver(() => { const line = document.querySelector('.ec-life');"
        " if (line) said.push(line.textContent) }).observe(document.body, {subtree: true, childList: true,"
        " characterData: true}) }"
    )


class Lab:
    """A server in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.folder = folder
        front().place(folder)
        self._settings()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.log = (folder / "lab.log").open("wb")
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser",
                f"--port={self.port}", "--ip=127.0.0.1", f"--ServerApp.root_dir={self.root}",
                f"--IdentityProvider.token={TOKEN}", "--ServerApp.port_retries=0",
                "--JupyterNotebookApp.expose_app_in_browser=True",
            ],
            env={**os.environ, **self._variables()}, cwd=self.root, stdout=self.log, stderr=self.log,
        )  # fmt: skip
        wait_for(self._up)

    def _settings(self) -> None:
        for plugin, values in QUIET.items():
            package, name = plugin.split(":")
            place = self.folder / "settings" / package / f"{name}.jupyterlab-settings"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(json.dumps(values))
        config = self.folder / "config"
        config.mkdir()
        enabled = {"ServerApp": {"jpserver_extensions": {"ec_jupyter.server": True}}}
        (config / "jupyter_server_config.json").write_text(json.dumps(enabled))

    def _variables(self) -> dict[str, str]:
        here = {
            "JUPYTER_PATH": "share/jupyter", "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython", "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        }  # fmt: skip
        return {name: str(self.folder / place) for name, place in here.items()} | {"JUPYTER_PLATFORM_DIRS": "1"}

    def _up(self) -> bool:
        assert self.process.poll() is None, (self.folder / "lab.log").read_text()
        try:
            return bool(self.ask("flows"))
        except (urllib.error.URLError, ConnectionError):
            return False

    def ask(self, *path: str, body: Any = None) -> Any:
        """Answer of the extension's own address."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.address}/ec/{'/'.join(path)}", data=data, headers={"Authorization": f"token {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.loads(response.read())

    def close(self) -> None:
        """End the server."""
        self.process.terminate()
        self.process.wait(60)
        self.log.close()
