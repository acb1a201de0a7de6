"""Hosts on one machine: network namespaces behind a router, which can be cut off from each other.

Everything lives in namespaces of the run itself (network, mounts, processes). The kernel removes them together with
the last process, so that a killed run leaves nothing behind.
"""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

_UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
# ``ip netns`` keeps names below /run; a tmpfs over it keeps them out of the machine's own.
_PRIVATE_RUN = "mount -t tmpfs tmpfs /run"
_PROBE = (
    f"{_PRIVATE_RUN} && ip netns add probe && ip link add veth-probe type veth peer name eth0 netns probe && ip rule"
)
_PROBE_SECONDS, _COMMAND_SECONDS = 20.0, 10.0
_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


def why_unavailable() -> str | None:
    """Return why this machine cannot simulate several hosts, or None if it can."""
    if sys.platform != "linux":
        return "network namespaces exist on Linux only"
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program, package in (("ip", "iproute2"), ("unshare", "util-linux"), ("setpriv", "util-linux")):
        if shutil.which(program) is None:
            return f"the program {program} is missing (apt-get install {package})"
    try:
        probe = subprocess.run(
            [*_UNSHARE, "sh", "-c", _PROBE], capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return "network namespaces could not be made in time"
    return f"network namespaces are refused: {probe.stderr.strip()}" if probe.returncode else None


def run_inside(module: str, arguments: Sequence[str], timeout: float | None = None) -> int:
    """Run a Python module as the router of a new network; return its exit status.

    Args:
        module: the module, run as ``python -m``.
        arguments: its arguments.
        timeout: seconds after which everything in the network is killed; None: no limit.

    Raises:
        subprocess.TimeoutExpired: the module took longer.
    """
    command = [*_UNSHARE, "sh", "-c", f'{_PRIVATE_RUN} && exec "$@"', "sh", sys.executable, "-m", module, *arguments]
    # --kill-child: if unshare ends, process 1 of the namespace ends, and the kernel ends the rest.
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        try:
            return process.wait(timeout)
        finally:
            process.kill()


def end_with_parent() -> None:
    """End this process, and its network with it, when the process that called ``run_inside`` has ended."""

    def wait() -> None:
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class Network:
    """Hosts around a router; this process is the router and reaches all of them.

    Args:
        hosts: the names of the hosts; the address of a host follows from its position.
        hosts_file: the file to write; all processes of this network see it as ``/etc/hosts``.
        localhost: the host that ``localhost`` resolves to. A client sends keys unencrypted to that name only.
    """

    def __init__(self, hosts: Sequence[str], hosts_file: Path, localhost: str) -> None:
        self._numbers = {name: number for number, name in enumerate(hosts, 1)}
        _run("ip", "link", "set", "lo", "up")
        for name, number in self._numbers.items():
            router = f"10.77.{number}.1"
            _run("ip", "netns", "add", name)
            _run("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
            _run("ip", "address", "add", f"{router}/30", "dev", f"to-{name}")
            _run("ip", "link", "set", f"to-{name}", "up")
            _run("ip", "-n", name, "address", "add", f"{self.address(name)}/30", "dev", "eth0")
            for device in ("lo", "eth0"):
                _run("ip", "-n", name, "link", "set", device, "up")
            _run("ip", "-n", name, "route", "add", "default", "via", router)
        _FORWARD.write_text("1", "ascii")
        hosts_file.write_text(f"{self.address(localhost)} localhost\n", "ascii")
        _run("mount", "--bind", str(hosts_file), "/etc/hosts")

    def address(self, host: str) -> str:
        """Return the address of a host."""
        return f"10.77.{self._numbers[host]}.2"

    def start(self, host: str, command: Sequence[str], **options: Any) -> "subprocess.Popen[str]":
        """Start a process on a host; ``options`` are those of ``subprocess.Popen``."""
        return subprocess.Popen(["ip", "netns", "exec", host, *command], text=True, **options)

    def run(self, host: str, command: Sequence[str], timeout: float, stdout: IO[str] | None = None) -> None:
        """Run a command on a host and wait for its end; raise CalledProcessError or TimeoutExpired."""
        subprocess.run(
            ["ip", "netns", "exec", host, *command],
            stdin=subprocess.DEVNULL,
            stdout=stdout or subprocess.DEVNULL,
            timeout=timeout,
            check=True,
        )

    def cut_off(self, host: str) -> None:
        """Drop every packet from and to a host silently, as a broken switch does."""
        for side in ("from", "to"):
            _run("ip", "rule", "add", side, self.address(host), "blackhole", "priority", "100")

    def heal(self, host: str) -> None:
        """Let the packets of a host pass again."""
        for side in ("from", "to"):
            _run("ip", "rule", "del", side, self.address(host), "blackhole", "priority", "100")

    @contextmanager
    def partition(self, *hosts: str) -> Generator[None]:
        """Cut hosts off from all others while the block runs."""
        for host in hosts:
            self.cut_off(host)
        try:
            yield
        finally:
            for host in hosts:
                self.heal(host)

    def delay(self, host: str, seconds: float) -> bool:
        """Delay packets to a host; return False if this kernel cannot (no netem)."""
        delay = f"{seconds * 1000:.0f}ms"
        added = subprocess.run(
            ["tc", "qdisc", "add", "dev", f"to-{host}", "root", "netem", "delay", delay, delay],
            capture_output=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        return added.returncode == 0


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=_COMMAND_SECONDS)
