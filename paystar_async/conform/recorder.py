"""A user middleware that records the shapes of responses, never a value."""

import json
import os
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, cast

from paystar_async.conform.comparisons import Comparisons
from paystar_async.endpoint import Observation, Request, Send
from paystar_async.errors import ConfigurationError
from paystar_async.response import Response
from paystar_async.runtime.clock import Clock, clock_or_system
from paystar_async.runtime.events import logger
from paystar_async.values.arguments import require_path
from paystar_async.values.shapes import list_in, shape_of

DEFAULT_MAX_BYTES = 4_000_000
"""Size at which a file of shapes stops growing."""
MAX_DISTINCT = 2_000
"""Different records that one recorder counts; further ones are not recorded."""
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
"""Flags of the file; a pipe without a reader is an error instead of a wait."""
CALLBACK = "gateway.callback"
"""The endpoint of a recorded callback."""


class ShapeRecorder:
    """A user middleware that appends the shape of each response to a file of JSON lines.

    A record holds the endpoint, the HTTP status, the envelope's status, field names, JSON types, classes of lengths
    and forms of texts, and comparisons such as ``order: newest first``; no value, and no field name that is not made of
    known words. ``paystar conform --from FILE`` judges the file. An equal record is written when it has been seen 1, 2,
    4, 8, … times, so that frequent responses do not fill the file. Several processes may write to one file; a process
    that is killed loses no more than its last record. A file that cannot be written is logged once, and the call goes
    on.

    Args:
        path: the file; created with access for its owner only.
        max_bytes: size in bytes at which the file stops growing.
        clock: the clock that dates of responses are compared with; the system's by default.

    Raises:
        ConfigurationError: ``max_bytes`` is not a positive number, or ``clock`` is not a clock.
        InvalidValue: ``path`` is not the path of a file.
    """

    def __init__(
        self, path: str | PathLike[str], *, max_bytes: int = DEFAULT_MAX_BYTES, clock: Clock | None = None
    ) -> None:
        size = cast("object", max_bytes)
        if isinstance(size, bool) or not isinstance(size, int | float) or not size >= 1:
            raise ConfigurationError("max_bytes must be a number of bytes above 0")
        self.path = require_path("path", path)
        self._max_bytes = max_bytes
        self._counts: dict[tuple[object, ...], int] = {}
        self._comparisons = Comparisons(clock_or_system(clock))
        self._has_warned = False
        self._is_cut = False  # whether the last record was written in part

    async def __call__(self, request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        """Send the request, and record the shape of each of its responses."""
        observations: list[Observation] = []
        request.observe = observations.append
        try:
            response = await next(request)
        except BaseException as error:
            self._record_call(request, observations, None, error)
            raise
        self._record_call(request, observations, response.value, None)
        return response

    def record_callback(self, method: str, fields: Mapping[str, object], *, default_method: bool | None = None) -> None:
        """Record the shape of a payment's callback, which no middleware sees.

        The callback routes of ``paystar_async.contrib`` call this by themselves.

        Args:
            method: the HTTP method of the callback, ``GET`` or ``POST``; another one is not recorded.
            fields: the fields of the callback; a field may be a list of texts.
            default_method: whether the payment was created without ``callback_method``. None: as this recorder saw it;
                only the first callback of a payment that it saw created is recorded then, since anyone can send one.
        """
        if method not in ("GET", "POST"):
            return
        try:
            texts = {name: _unwrap(value) for name, value in dict(fields).items()}
            if default_method is None:
                default_method = self._comparisons.take_default_method(texts.get("ref_num"))
            if default_method is not None:
                self.record(
                    Observation(
                        endpoint=CALLBACK,
                        http_status=0,
                        status=None,
                        sent="none",
                        shape=shape_of(texts),
                        facts={"method": method, "default": "yes" if default_method else "no"},
                    )
                )
        except Exception as error:  # the payment must be confirmed
            self._warn(type(error).__name__)

    def _record_call(
        self, request: Request[Any], observations: list[Observation], value: object, error: BaseException | None
    ) -> None:
        # The call may have paid: an error in here must not look like a failed payment.
        try:
            facts = self._comparisons.compare(request, value, error)
            for observation in reversed(observations):
                if facts and observation.endpoint == request.endpoint.id:
                    observation.facts |= facts
                    break
            for observation in observations:
                self.record(observation)
        except Exception as failure:
            self._warn(type(failure).__name__)

    def record(self, observation: Observation) -> None:
        """Record a response, or count it if an equal one was recorded."""
        facts = tuple(observation.facts.items())
        key = (
            observation.endpoint,
            observation.http_status,
            observation.status,
            observation.sent,
            observation.shape,
            facts,
        )
        count = self._counts.get(key, 0) + 1
        if count == 1 and len(self._counts) >= MAX_DISTINCT:
            return
        self._counts[key] = count
        if count & (count - 1) == 0:
            try:
                self._append(f'{encode_observation(observation)[:-1]},"times":{count}}}\n'.encode())
            except OSError as error:
                self._warn(error.strerror or type(error).__name__)

    def _append(self, record: bytes) -> None:
        # O_APPEND and one write: records of several processes do not mix, and a killed process leaves none in part.
        descriptor = os.open(self.path, _APPEND, 0o600)
        try:
            if os.fstat(descriptor).st_size + len(record) > self._max_bytes:
                self._warn(f"the file has {self._max_bytes} bytes")
                return
            if self._is_cut:
                record = b"\n" + record
            self._is_cut = os.write(descriptor, record) < len(record)
            if self._is_cut:
                self._warn("the disk is full")
        finally:
            os.close(descriptor)

    def _warn(self, reason: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning("shapes are no longer recorded: %s", reason)


def _unwrap(value: object) -> object:
    """Return the entry of a list with one entry, as forms are parsed; any other value as it is."""
    entries = list_in(value)
    return entries[0] if entries is not None and len(entries) == 1 else value


def encode_observation(observation: Observation) -> str:
    """Return an observation as a JSON object."""
    status = observation.status
    facts = observation.facts
    return (
        f'{{"endpoint":"{observation.endpoint}","http":{observation.http_status},'
        f'"status":{"null" if status is None else status if isinstance(status, int) else json.dumps(status)},'
        f'"sent":"{observation.sent}",'
        f'"facts":{json.dumps(facts, separators=(",", ":")) if facts else "{}"},"shape":{observation.shape}}}'
    )


def read_observations(path: str | PathLike[str]) -> tuple[list[Observation], int]:
    """Return the observations in a file, and the number of unreadable lines.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise ConfigurationError(f"the shapes cannot be read: {error.strerror or error}") from None
    observations = [decode_observation(line) for line in lines if line.strip()]
    readable = [observation for observation in observations if observation is not None]
    return readable, len(observations) - len(readable)


def decode_observation(line: str) -> Observation | None:
    """Return the observation of a line; None if the line is not one."""
    try:
        record: Any = json.loads(line)
        facts = {str(name): str(fact) for name, fact in record["facts"].items()}
        shape, status, sent = record["shape"], record["status"], record["sent"]
        if sent not in ("none", "one", "several") or not isinstance(status, int | str | None):
            return None
        return Observation(
            endpoint=str(record["endpoint"]),
            http_status=int(record["http"]),
            status=status,
            sent=sent,
            shape=json.dumps(shape, ensure_ascii=False),
            facts=facts,
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
