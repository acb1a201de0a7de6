"""Worker processes on their hosts, started again when they end, as a service manager does."""

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
from tests.soak.network import Network, environment

START_SECONDS = 20.0
END_SECONDS = 15.0
COMMAND_SECONDS = 25.0
"""Longer than a client needs to notice that a server has vanished."""


class WorkerProcess:
    """A worker on a host, and what it says.

    Args:
        network: the network of the host.
        host: the host.
        settings: the settings of the worker.
        events: counts the events of all workers.
    """

    def __init__(self, network: Network, host: str, settings: dict[str, Any], events: Counter[str]) -> None:
        self.host = host
        self.ready, self.held, self.submitted = threading.Event(), threading.Event(), threading.Event()
        self.stop_reason: str | None = None
        self._submit_error: str | None = None
        self._events = events
        self._process = network.start(
            host,
            [sys.executable, "-m", "tests.soak.host_worker", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(environment()),
        )
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        """Return True while the process runs."""
        return self._process.poll() is None

    def tell(self, do: str, **values: object) -> None:
        """Give the worker a command."""
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):  # the worker has ended, which the waiter for the result notices
            self._process.stdin.write(json.dumps({"do": do, **values}) + "\n")
            self._process.stdin.flush()

    def arm(self, moment: Moment | None) -> None:
        """Hold the worker at a hold point."""
        self.held.clear()
        self.tell("arm", moment=moment)

    def submit(self, batch_id: str, count: int, policy: dict[str, Any]) -> str | None:
        """Let the worker submit a batch; return the error, or None once it is on record."""
        self.submitted.clear()
        self.tell("submit", batch=batch_id, count=count, policy=policy)
        end = time.monotonic() + COMMAND_SECONDS
        while not self.submitted.wait(0.1):
            if not self.alive:
                return "the worker has ended"
            if time.monotonic() > end:
                return "no response in time"
        return self._submit_error

    def kill(self) -> None:
        """Kill the worker -9 and collect what is left of it."""
        self._process.kill()
        self._process.wait(END_SECONDS)
        self._close()

    def end(self) -> None:
        """Let the worker finish what is under way and end; one that does not is killed."""
        self.tell("end")
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
                with suppress(OSError, ValueError):  # what was still to be written has no reader any more
                    pipe.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if "event" in message:
                self._events[message["event"]] += 1
            elif "ready" in message:
                self.ready.set()
            elif "held" in message:
                self.held.set()
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
        hosts: where the workers run.
        settings: the settings of each worker.
        batches: what was submitted, with its number of transfers: the application's own memory.
        restarts: how many workers ended by themselves and were started again.
        events: how often each event of the package happened.
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
        """Start all workers and wait until they run."""
        for host in self.hosts:
            self.workers[host] = WorkerProcess(self.network, host, self.settings, self.events)
        for worker in self.workers.values():
            assert worker.ready.wait(START_SECONDS), f"{worker.host}: the worker does not start"

    def tend(self) -> None:
        """Start workers again that have ended by themselves."""
        for host, worker in self.workers.items():
            if not worker.alive:
                worker.end()
                if worker.stop_reason is not None:
                    self.stop_reasons.append(worker.stop_reason)
                self.restarts += 1
                self.workers[host] = WorkerProcess(self.network, host, self.settings, self.events)

    def submit(self, batch_id: str, count: int, policy: dict[str, Any], by: Sequence[str] | None = None) -> None:
        """Have a batch submitted by one host after the other until it is on record."""
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
        """End all workers in their own time."""
        for worker in self.workers.values():
            worker.tell("end")
        self._close(WorkerProcess.end)

    def kill(self) -> None:
        """Kill all workers -9."""
        self._close(WorkerProcess.kill)

    def _close(self, act: Callable[[WorkerProcess], None]) -> None:
        workers, self.workers = list(self.workers.values()), {}
        for worker in workers:
            act(worker)
