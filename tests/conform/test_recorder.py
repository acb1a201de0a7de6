"""ShapeRecorder: what it writes, what it never writes, and a file that survives processes, kill -9 and its bound."""

import json
import logging
import multiprocessing
import os
import random
import resource
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from paystar_async import Paystar
from paystar_async.conform import ShapeRecorder
from paystar_async.conform.recorder import decode_observation, read_observations
from paystar_async.endpoint import Observation, Request, Send
from paystar_async.errors import ConfigurationError, InvalidResponse, PaystarError, StatusError
from paystar_async.response import Response
from paystar_async.sandbox import Sandbox
from paystar_async.transport.observation import report_observation
from tests.support import Engine, Raw, client, html_page, in_turn, ok, refused, request, transfer
from tests.transport.endpoint_requests import CALLS, example_request, make_request

CANARIES = (
    "kanari-key/+=7",
    "6037991899752346",
    "IR820540102680020817909002",
    "0084575948",
    "09121234567",
    "علی‌مرادی",
    "gholamreza",
    "603799******2346",
    "kanari",
    "KanariToken",
    "a" * 64 + "kanari",
)
CANARY_NUMBERS = (6037991899752346, 84575948, 481_516_230, 4815162.5)
NAMES = ("status", "message", "data", "track_id", "amount", "hashid", "owners", "0", "12", "token")


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def observation(number: int = 0) -> Observation:
    return Observation(
        endpoint="transfers.find", http_status=number, status=1, sent="none", shape='"null"', facts={"order": "none"}
    )


def raw(body: bytes) -> Raw:
    return 200, {}, body


async def call(recorder: ShapeRecorder, reply: Any) -> None:
    async with client(Engine(in_turn(reply)), middleware=[recorder], max_retries=0) as paystar:
        await paystar.transfers.find(track_id="t-1")


async def test_recorder_writes_shape_of_success(tmp_path: Path) -> None:
    path = tmp_path / "shapes.jsonl"
    item = {"hashid": "h1", "track_id": "t-1", "status": "success", "amount": "50,000", "kanari": 1}
    await call(ShapeRecorder(path), ok([item], status="ok"))
    assert records(path) == [
        {
            "endpoint": "transfers.find",
            "http": 200,
            "status": "ok",
            "sent": "none",
            "facts": {"track_id": "as sent"},
            "shape": {
                "status": "word:known",
                "message": "text:letters:1-4",
                "data": [
                    {
                        "hashid": "text:id:1-4",
                        "track_id": "text:id:1-4",
                        "status": "word:known",
                        "amount": "text:grouped:5-8",
                        "…": "unknown",
                    }
                ],
            },
            "times": 1,
        }
    ]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("reply", "error", "status", "shape"),
    [
        (
            refused(10, "بد", data={"transfers.0.amount": ["x"]}),
            StatusError,
            10,
            {"transfers.#.amount": ["text:letters:1-4"]},
        ),
        (refused(77), StatusError, "other", "null"),
        (html_page(), InvalidResponse, None, "body:html"),
        (raw(b""), InvalidResponse, None, "body:empty"),
        (raw(b"[1]"), InvalidResponse, None, "body:other"),
    ],
)
async def test_recorder_writes_shape_of_failure(
    tmp_path: Path, reply: Any, error: type[PaystarError], status: object, shape: object
) -> None:
    path = tmp_path / "shapes.jsonl"
    with pytest.raises(error):
        await call(ShapeRecorder(path), reply)
    (record,) = records(path)
    assert record["status"] == status
    assert shape in (record["shape"], record["shape"]["data"] if isinstance(record["shape"], dict) else None)


async def test_recorder_writes_shape_of_automatic_refresh(tmp_path: Path) -> None:
    path = tmp_path / "shapes.jsonl"
    engine = Engine(in_turn(refused(5), ok({"api_key": "kanari-new", "api_key_expire_date": "x"}), ok([])))
    async with client(engine, middleware=[ShapeRecorder(path)]) as paystar:
        await paystar.transfers.find(track_id="t-1")
    assert [record["endpoint"] for record in records(path)] == [
        "transfers.find",
        "keys.refresh_application_key",
        "transfers.find",
    ]
    assert "kanari" not in path.read_text("utf-8")


async def test_recorder_counts_equal_records_in_powers_of_two(tmp_path: Path) -> None:
    path = tmp_path / "shapes.jsonl"
    recorder = ShapeRecorder(path)
    for _ in range(9):
        await call(recorder, ok([]))
    assert [record["times"] for record in records(path)] == [1, 2, 4, 8]


async def test_recorder_never_changes_the_result_of_a_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = ShapeRecorder(tmp_path)  # a folder cannot be written
    monkeypatch.setattr("paystar_async.transport.observation.shape_of", Mock(side_effect=ZeroDivisionError))
    async with client(Engine(in_turn(ok({"track_id": "t-1", "status": "pending"}))), middleware=[recorder]) as paystar:
        assert len(await paystar.transfers.settle(transfers=[transfer("t-1")])) == 1
    monkeypatch.undo()
    for _ in range(2):
        await call(recorder, ok([]))
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warnings == [
        "the shape of a response was not recorded: ZeroDivisionError",
        "shapes are no longer recorded: Is a directory",
    ]


async def test_recorder_stops_at_max_bytes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "shapes.jsonl"
    recorder = ShapeRecorder(path, max_bytes=400)
    for number in range(50):
        recorder.record(observation(number))
    assert 0 < path.stat().st_size <= 400
    assert [record.getMessage() for record in caplog.records] == [
        "shapes are no longer recorded: the file has 400 bytes"
    ]
    assert len(read_observations(path)[0]) == len(records(path))


@pytest.mark.parametrize("max_bytes", [0, -1, True])
def test_recorder_max_bytes_not_positive_raises(tmp_path: Path, max_bytes: int) -> None:
    with pytest.raises(ConfigurationError, match="above 0"):
        ShapeRecorder(tmp_path / "x", max_bytes=max_bytes)


def fuzzed(rng: random.Random, depth: int = 0) -> Any:
    """Return a JSON value with canaries in values, field names, lists and nested objects."""
    kind = rng.randrange(6 if depth < 2 else 3)
    if kind == 0:
        return rng.choice(CANARY_NUMBERS)
    if kind <= 2:
        return rng.choice(CANARIES)
    if kind == 3:
        return [fuzzed(rng, depth + 1) for _ in range(rng.randrange(3))]
    return {rng.choice(NAMES + CANARIES): fuzzed(rng, depth + 1) for _ in range(rng.randrange(1, 4))}


def fuzzed_envelope(rng: random.Random) -> dict[str, Any]:
    status = rng.choice((1, "ok", 10, "unauthenticated", *CANARIES, *CANARY_NUMBERS))
    return {
        "status": status,
        "message": rng.choice(CANARIES),
        rng.choice(NAMES + CANARIES): fuzzed(rng),
        "data": fuzzed(rng),
    }


def canaries_in(text: str) -> list[str]:
    spellings = [*CANARIES, *map(str, CANARY_NUMBERS)]
    return [spelling for spelling in spellings if spelling in text or json.dumps(spelling)[1:-1] in text]


def test_recorder_writes_no_canary_of_100_000_bodies(tmp_path: Path) -> None:
    rng, lines = random.Random(7), list[bytes]()
    for number in range(100):  # a recorder each: one recorder stops at MAX_DISTINCT
        recorder = ShapeRecorder(tmp_path / "unused")
        recorder._append = lines.append  # type: ignore # the bytes, without 100,000 system calls
        live = make_request(example_request(CALLS[number % len(CALLS)]))
        live.observe = recorder.record
        for _ in range(1000):
            report_observation(live, 200, fuzzed_envelope(rng), b"", 0.0)
    written = b"".join(lines).decode()
    assert written.count("\n") > 50_000
    assert canaries_in(written) == []
    assert canaries_in('"kanari-key/+=7"'), "the search finds a canary"


@pytest.mark.parametrize("endpoint", CALLS, ids=str)
async def test_recorder_writes_no_value_of_a_request(tmp_path: Path, endpoint: Any) -> None:
    """Send each endpoint's example to a server that echoes its input as data, as field names and as the message."""
    path = tmp_path / "shapes.jsonl"
    value = example_request(endpoint)

    def echo(sent: Any) -> Any:
        return ok({**sent.fields, **{str(text): 1 for text in sent.fields.values()}, "bearer": sent.bearer})

    engine = Engine(echo)
    async with client(engine, middleware=[ShapeRecorder(path)], max_retries=0) as paystar:
        with suppress(PaystarError):
            await paystar.send(value)
    text = path.read_text("utf-8")
    values = [str(content) for content in engine.sent[0].fields.values() if len(str(content)) > 4]
    assert records(path)
    assert [content for content in (*values, engine.sent[0].bearer or "-no-") if content in text] == []


def _record_many(path: Path, first: int) -> None:
    recorder = ShapeRecorder(path)
    for number in range(first, first + 300):
        recorder.record(observation(number))


def _record_forever(path: Path) -> None:
    while True:
        ShapeRecorder(path, max_bytes=1_000_000_000).record(observation())


def test_recorder_file_is_shared_by_processes(tmp_path: Path) -> None:
    path = tmp_path / "shapes.jsonl"
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_record_many, args=(path, 1000 * number)) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    observations, unreadable = read_observations(path)
    assert unreadable == 0
    assert {observation.http_status for observation in observations} == {
        1000 * number + index for number in range(2) for index in range(300)
    }


def test_recorder_file_survives_kill(tmp_path: Path) -> None:
    path = tmp_path / "shapes.jsonl"
    process = multiprocessing.get_context("spawn").Process(target=_record_forever, args=(path,))
    process.start()
    while not path.exists() or path.stat().st_size < 20_000:
        assert process.is_alive()
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    observations, unreadable = read_observations(path)
    assert unreadable == 0
    assert len(observations) > 100


def _record_until_full(path: Path, lines: int) -> None:
    recorder = ShapeRecorder(path)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))  # as on a full disk, the last write is cut
    for number in range(lines):
        recorder.record(observation(number))
    assert path.stat().st_size == 1_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    recorder.record(observation(lines))


def test_recorder_on_full_disk_loses_the_cut_record_alone(tmp_path: Path) -> None:
    path = tmp_path / "shapes.jsonl"
    process = multiprocessing.get_context("spawn").Process(target=_record_until_full, args=(path, 20))
    process.start()
    process.join()
    assert process.exitcode == 0
    observations, unreadable = read_observations(path)
    assert unreadable == 1
    assert observations[-1].http_status == 20


@pytest.mark.parametrize("kind", ["pipe", "device", "immutable"])
async def test_recorder_to_unwritable_file_lets_calls_go_on(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = {"pipe": tmp_path / "pipe", "device": Path("/dev/full"), "immutable": Path("/proc/version")}[kind]
    if kind == "pipe":
        os.mkfifo(path)  # without a reader: opening it would wait
    elif not path.exists():
        pytest.skip(f"{path} is a file of Linux")
    recorder = ShapeRecorder(path)
    for _ in range(3):
        await call(recorder, ok([]))
    assert [record.getMessage()[:31] for record in caplog.records] == ["shapes are no longer recorded: "]


async def test_recorder_leaves_the_calls_of_an_inner_middleware(tmp_path: Path) -> None:
    path = tmp_path / "shapes.jsonl"

    async def replace(inner: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        return await next(inner.replace(timeout=3.0))

    async with client(Engine(in_turn(ok([]))), middleware=[ShapeRecorder(path), replace]) as paystar:
        await paystar.transfers.find(track_id="t-1")
    assert len(records(path)) == 1


def test_record_callback_writes_method_and_shape(tmp_path: Path) -> None:
    path = tmp_path / "shapes.jsonl"
    recorder = ShapeRecorder(path)
    recorder.record_callback("POST", {"status": "1", "ref_num": "kanari", "kanari": "x"}, default_method=True)
    recorder.record_callback("kanari", {}, default_method=True)
    (record,) = records(path)
    assert record["endpoint"] == "gateway.callback"
    assert record["facts"] == {"method": "POST", "default": "yes"}
    assert record["shape"] == {"status": "text:digits:1-4", "ref_num": "text:letters:5-8", "…": "unknown"}


@pytest.mark.parametrize(("callback_method", "default"), [(None, "yes"), (1, "no")])
async def test_record_callback_knows_how_payment_was_created(
    tmp_path: Path, callback_method: int | None, default: str
) -> None:
    path, sandbox = tmp_path / "shapes.jsonl", Sandbox()
    recorder = ShapeRecorder(path)
    async with Paystar(gateway=sandbox.gateway, engine=sandbox.engine(), middleware=[recorder]) as paystar:
        created = await paystar.gateway.create(
            amount=50_000, order_id="o-1", callback="https://shop.example/back", callback_method=callback_method
        )
    for _ in range(2):
        recorder.record_callback("GET", {"ref_num": [created.ref_num]})
    forged: list[object] = ["unseen", "", None, 1, [], {}, [created.ref_num, "x"]]
    for ref_num in forged:
        recorder.record_callback("GET", {"ref_num": ref_num})
    callbacks = [record for record in records(path) if record["endpoint"] == "gateway.callback"]
    assert [record["facts"]["default"] for record in callbacks] == [default]
    assert callbacks[0]["shape"] == {"ref_num": next(iter(records(path)))["shape"]["data"]["ref_num"]}


def unreadable_lines() -> Iterator[str]:
    yield from ("", "{", "[]", "1", "null", '{"endpoint":"x"}', "[" * 100_000)
    record: dict[str, object] = {"endpoint": "x", "http": 1, "status": 1, "sent": "none", "facts": {}, "shape": "null"}
    yield from (json.dumps(record | {name: "many"}) for name in ("facts", "sent", "http"))
    yield json.dumps(record | {"status": [1]})


@pytest.mark.parametrize("line", [*unreadable_lines()])
def test_decode_observation_unreadable_line_returns_none(line: str) -> None:
    assert decode_observation(line) is None


def test_read_observations_skips_and_counts_unreadable_lines(tmp_path: Path) -> None:
    path = tmp_path / "shapes.jsonl"
    ShapeRecorder(path).record(observation())
    with path.open("ab") as file:
        file.write(b'\n{"endpoint":"tr\n\xff\n')
    observations, unreadable = read_observations(path)
    assert (len(observations), unreadable) == (1, 2)


def test_read_observations_missing_file_raises(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        read_observations(tmp_path / "absent")


def test_observe_is_not_copied_into_repr_or_equality() -> None:
    live = request()
    live.observe = print
    assert "observe" not in repr(live)
