"""Worker processes on their hosts, restarted when they end, as by a service manager."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from attrs import define, field

from tests.soak.host_worker import Moment
from tests.soak.network import Network
from tests.support import environment_without_paystar

START_SECONDS = 20.0
END_SECONDS = 15.0
COMMAND_SECONDS = 25.0
"""Longer than a client needs to notice that a server has vanished."""


class WorkerProcess:
    """A worker process on a host.

    Args:
        network: the network of the host.
        host: the name of the host.
        settings: the settings of the worker.
        events: the counter of the events of all workers.
    """

    def __init__(self, network: Network, host: str, settings: dict[str, Any], events: Counter[str]) -> None:
        self.host = host
        self.ready, self.holding, self.submitted = threading.Event(), threading.Event(), threading.Event()
        self.stop_reason: str | None = None
        self._submit_error: str | None = None
        self._events = events
        self._process = network.start(
            host,
            [sys.executable, "-m", "tests.soak.host_worker", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment_without_paystar(),
        )
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        """Return True while the process runs."""
        return self._process.poll() is None

    def send_command(self, command: str, **values: object) -> None:
        """Send a command to the worker."""
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):  # the worker has ended, as the caller notices while it waits for the result
            self._process.stdin.write(json.dumps({"do": command, **values}) + "\n")
            self._process.stdin.flush()

    def arm(self, moment: Moment | None) -> None:
        """Hold the next task of the worker at a moment; None: hold no task."""
        self.holding.clear()
        self.send_command("arm", moment=moment)

    def submit(self, batch_id: str, count: int, policy: dict[str, Any]) -> str | None:
        """Let the worker submit a batch; return the error, or None once the batch is recorded."""
        self.submitted.clear()
        self.send_command("submit", batch=batch_id, count=count, policy=policy)
        end = time.monotonic() + COMMAND_SECONDS
        while not self.submitted.wait(0.1):
            if not self.alive:
                return "the worker has ended"
            if time.monotonic() > end:
                return "no response in time"
        return self._submit_error

    def kill(self) -> None:
        """Kill the worker with SIGKILL and wait for its end."""
        self._process.kill()
        self._process.wait(END_SECONDS)
        self._close()

    def end(self) -> None:
        """Let the worker finish its calls and end; kill a worker that does not end."""
        self.send_command("end")
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(END_SECONDS)
        self._close()

    def _close(self) -> None:
        self._reader.join(END_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError, ValueError):  # unwritten data has no reader any more
                    pipe.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if "event" in message:
                self._events[message["event"]] += 1
            elif "ready" in message:
                self.ready.set()
            elif "holding" in message:
                self.holding.set()
            elif "submitted" in message:
                self._submit_error = message["error"]
                self.submitted.set()
            elif "stopped" in message:
                self.stop_reason = message["stopped"]


@define(eq=False)
class WorkerFleet:
    """One worker on each host.

    Attributes:
        network: the network.
        hosts: the hosts of the workers.
        settings: the settings of each worker.
        batches: number of transfers by submitted batch, as the application remembers.
        restarts: number of workers that ended by themselves and were restarted.
        events: number of events by name.
        stop_reasons: the errors by which the ledger stopped workers.
    """

    network: Network
    hosts: Sequence[str]
    settings: dict[str, Any]
    workers: dict[str, WorkerProcess] = field(factory=dict[str, WorkerProcess])
    batches: dict[str, int] = field(factory=dict[str, int])
    restarts: int = 0
    events: Counter[str] = field(factory=Counter[str])
    stop_reasons: list[str] = field(factory=list[str])

    def start(self) -> None:
        """Start all workers and wait until they are ready."""
        for host in self.hosts:
            self.workers[host] = WorkerProcess(self.network, host, self.settings, self.events)
        for worker in self.workers.values():
            assert worker.ready.wait(START_SECONDS), f"{worker.host}: the worker does not start"

    def tend(self) -> None:
        """Restart workers that have ended by themselves."""
        for host, worker in self.workers.items():
            if not worker.alive:
                worker.end()
                if worker.stop_reason is not None:
                    self.stop_reasons.append(worker.stop_reason)
                self.restarts += 1
                self.workers[host] = WorkerProcess(self.network, host, self.settings, self.events)

    def submit(self, batch_id: str, count: int, policy: dict[str, Any], by: Sequence[str] | None = None) -> None:
        """Submit a batch by one host after the other until the batch is recorded."""
        self.batches[batch_id] = count
        end = time.monotonic() + 2 * COMMAND_SECONDS
        number = len(self.batches)
        hosts = list(by or self.hosts)
        while (error := self.workers[hosts[number % len(hosts)]].submit(batch_id, count, policy)) is not None:
            assert time.monotonic() < end, f"{batch_id} cannot be submitted: {error}"
            self.tend()
            time.sleep(0.2)
            number += 1

    def end(self) -> None:
        """Let all workers finish their calls and end."""
        for worker in self.workers.values():
            worker.send_command("end")
        self._close(WorkerProcess.end)

    def kill(self) -> None:
        """Kill all workers with SIGKILL."""
        self._close(WorkerProcess.kill)

    def _close(self, act: Callable[[WorkerProcess], None]) -> None:
        workers, self.workers = list(self.workers.values()), {}
        for worker in workers:
            act(worker)
