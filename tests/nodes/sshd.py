"""An SSH server of the test's own: its keys, its users, and if need be its own network."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from ec_jupyter.nodes.ssh.openssh import Ask, Ssh

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
ROOT = os.getuid() == 0


class Sshd:
    """A server on the loopback, or in a network namespace, and a client's files for it."""

    def __init__(self, folder: Path, namespace: str | None = None, address: str = "127.0.0.1") -> None:
        assert SSHD is not None
        self.folder = folder
        self.address = address
        self._inside = ["ip", "netns", "exec", namespace] if namespace else []
        self.log = folder / "sshd.log"
        self.port = 2022 if namespace else free_port()
        for name in ("host", "user"):
            keygen(folder / name)
        self.authorized = folder / "authorized"
        self.authorized.write_text((folder / "user.pub").read_text())
        self.known = folder / "known"
        self.known.write_text(f"[{address}]:{self.port} {(folder / 'host.pub').read_text()}")
        self.config = folder / "config"
        self._users: list[str] = []
        self.host("node")
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress {address}\nHostKey {folder / 'host'}\nPidFile none\n"
            f"AuthorizedKeysFile {self.authorized}\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nAllowTcpForwarding yes\n"
            f"SetEnv EC_CPUS_SHARED=0 PATH={folder}/opt/bin:/usr/bin:/bin LD_LIBRARY_PATH={folder}/opt/lib\n"
        )
        if ROOT:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
            # users of the test read its keys
            for path in (folder, *folder.parents):
                if path.owner() == "root" and path != Path("/") and not path.stat().st_mode & 0o001:
                    path.chmod(path.stat().st_mode | 0o011)
            self.authorized.chmod(0o644)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Listen."""
        assert SSHD is not None
        self._process = subprocess.Popen(
            [*self._inside, SSHD, "-D", "-f", str(self.folder / "sshd_config"), "-E", str(self.log)],
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        end = time.monotonic() + 10
        while "Server listening" not in (self.log.read_text() if self.log.exists() else ""):
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, "sshd does not listen"
            time.sleep(0.01)

    def host(self, name: str, **options: str) -> None:
        """Add a host to the client's configuration."""
        found = {
            "HostName": self.address, "Port": str(self.port), "User": getpass.getuser(), "IdentitiesOnly": "yes",
            "IdentityFile": str(self.folder / "user"), "UserKnownHostsFile": str(self.known),
            "GlobalKnownHostsFile": "/dev/null", "IdentityAgent": "none", **options,
        }  # fmt: skip
        with self.config.open("a") as file:
            file.write(f"Host {name}\n" + "".join(f"  {key} {value}\n" for key, value in found.items()))

    def login(self, host: str = "node", *, python: str = "", ask: Ask | None = None) -> Ssh:
        """A login that uses this configuration."""
        return Ssh(host, python=python or sys.executable, client=["ssh", "-F", str(self.config)], ask=ask)

    def user(self, name: str, shell: str, home: Path) -> None:
        """Make a user of this machine, as root."""
        subprocess.run(["useradd", "-M", "-p", "*", "-d", str(home), "-s", shell, name], check=True)
        self._users.append(name)
        home.mkdir(parents=True, exist_ok=True)
        shutil.chown(home, name)
        for path in (home, *home.parents):
            if path.owner() == "root" and path != Path("/"):
                path.chmod(path.stat().st_mode | 0o011)
        self._python()
        self.host(name, User=name)

    def _python(self) -> None:
        """Make `python3` the interpreter that runs the tests, for any user, wherever that lies."""
        prefix, there = Path(sys.base_prefix), self.folder / "opt"
        binary = prefix / "bin" / f"python3.{sys.version_info.minor}"
        (there / "bin").mkdir(parents=True)
        if all(path.stat().st_mode & 0o001 for path in binary.parents):
            (there / "bin" / "python3").symlink_to(binary)
            return
        # it lies in a home that is its owner's alone, as pyenv's do
        (there / "lib").mkdir()
        shutil.copy2(binary, there / "bin" / "python3")
        for path in (prefix / "lib").glob("libpython*.so*"):
            shutil.copy2(path, there / "lib")
        library = Path("lib", binary.name)
        skip = shutil.ignore_patterns("test", "site-packages", "config-*", "idlelib", "ensurepip")
        shutil.copytree(prefix / library, there / library, ignore=skip, symlinks=True)

    def pids(self, pattern: str = "") -> list[int]:
        """The server's processes for its connections."""
        found = []
        for path in Path("/proc").glob("[0-9]*/status"):
            with suppress(OSError):
                text = path.read_text()
                if self._process is not None and f"PPid:\t{self._process.pid}\n" in text:
                    found.append(int(path.parent.name))
        return found

    def close(self) -> None:
        """End the server and every connection; remove its users."""
        if self._process is not None:
            for pid in [*self.pids(), self._process.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            self._process.wait(60)
        for name in self._users:
            for base in ("/var/tmp", "/tmp"):
                shutil.rmtree(f"{base}/ec_jupyter-{pwd.getpwnam(name).pw_uid}", ignore_errors=True)
            subprocess.run(["userdel", "-f", name], check=False, capture_output=True)


class Network:
    """A network namespace with one line to it, which can be slowed and cut; for root."""

    def __init__(self) -> None:
        number = os.getpid() % 60000
        self.name = f"ec{number}"
        self.line = f"eca{number}"
        self.address = f"10.{number // 250 % 250}.{number % 250}.2"
        other, ours = f"ecb{number}", self.address[:-1] + "1"
        for command in (
            f"ip netns add {self.name}",
            f"ip link add {self.line} type veth peer name {other} netns {self.name}",
            f"ip addr add {ours}/24 dev {self.line}",
            f"ip link set {self.line} up",
            f"ip -n {self.name} addr add {self.address}/24 dev {other}",
            f"ip -n {self.name} link set {other} up",
            f"ip -n {self.name} link set lo up",
        ):
            subprocess.run(command.split(), check=True)

    def cut(self) -> None:
        """Nothing gets through, and nobody is told."""
        subprocess.run(["ip", "link", "set", self.line, "down"], check=True)

    def mend(self) -> None:
        subprocess.run(["ip", "link", "set", self.line, "up"], check=True)

    def slow(self, mbit: int) -> bool:
        """Let so much through from here; False where the system cannot."""
        command = f"tc qdisc add dev {self.line} root tbf rate {mbit}mbit burst 64kb latency 100ms"
        return subprocess.run(command.split(), check=False, capture_output=True).returncode == 0

    def close(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=True)
        subprocess.run(["ip", "link", "del", self.line], check=False, capture_output=True)


def networks() -> bool:
    """Whether this user may make networks here."""
    if not ROOT or shutil.which("ip") is None:
        return False
    name = f"ect{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode == 0
    if made:
        subprocess.run(["ip", "netns", "del", name], check=True)
    return made


def keygen(path: Path, passphrase: str = "") -> None:
    """Make a key pair."""
    path.unlink(missing_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def children(pid: int) -> list[int]:
    """Pids of a process's children."""
    return [int(one) for task in Path(f"/proc/{pid}/task").glob("*/children") for one in task.read_text().split()]
