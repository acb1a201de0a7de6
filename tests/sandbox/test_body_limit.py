"""Bodies, numbers and nesting that a sandbox takes are bounded; what is beyond is the sender's fault, never a crash."""

from collections.abc import AsyncIterator

import pytest

from paystar_async.errors import ConfigurationError
from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.body_limit import MAX_CALL_BYTES, MAX_CONTROL_BYTES
from paystar_async.sandbox.faults import MAX_FAULTS
from paystar_async.sandbox.settings import MAX_SECONDS
from tests.sandbox.merchant import Merchant

CONTROL, CALL = "http://localhost/_sandbox/clock", "http://localhost/api/pardakht/create"


@pytest.mark.parametrize(("path", "limit"), [(CONTROL, MAX_CONTROL_BYTES), (CALL, MAX_CALL_BYTES)])
async def test_body_limit_large_body_is_413(merchant: Merchant, path: str, limit: int) -> None:
    answer = await merchant.http.post(path, content=b" " * (limit + 1))

    assert answer.status_code == 413
    assert answer.json() == {"error": f"a body of more than {limit} bytes"}


@pytest.mark.parametrize("form", ["application/x-www-form-urlencoded", "application/json"])
async def test_body_limit_stream_without_length_is_refused(merchant: Merchant, form: str) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"a" * 40_000

    answer = await merchant.http.post(CALL, content=endless(), headers={"content-type": form})

    assert answer.status_code in (400, 413)  # the form parser has a bound of its own


WRONG = {
    "clock": ["1e400", "NaN", "Infinity", "-1", "true", "1e12", "9" * 400, '"1"'],
    "settings": ["1e400", "NaN", "-1", "1e12", "9" * 400],
    "seconds": ["1e400", "NaN", "-1", "1e12", "9" * 400],
    "rate": ["1.1", "NaN", "-1", "9" * 400],
    "times": ["1.5", "-1", "9" * 400],
    "status": ["9" * 400, f'"{"x" * 101}"', "[]"],
    "amount": ["1e400", "NaN", "-1", "9" * 400, "1.5"],
    "fee": ["9" * 400, "-1"],
    "http": ["400.0", "[]", "500", "true"],
}
BODIES = {
    "clock": ("clock", '{"advance": %s}'),
    "settings": ("settings", '{"settle_seconds": %s}'),
    "fee": ("settings", '{"payer_fee": %s}'),
    "http": ("settings", '{"failure_http": %s}'),
    "seconds": ("faults", '{"kind": "latency", "seconds": %s}'),
    "rate": ("faults", '{"kind": "latency", "rate": %s}'),
    "times": ("faults", '{"kind": "latency", "times": %s}'),
    "status": ("faults", '{"kind": "status", "status": %s}'),
    "amount": ("balance", '{"account": "1", "amount": %s}'),
}


@pytest.mark.parametrize(("name", "number"), [(name, one) for name, numbers in WRONG.items() for one in numbers])
async def test_control_number_out_of_bounds_is_400(merchant: Merchant, name: str, number: str) -> None:
    control, body = BODIES[name]

    answer = await merchant.http.post(f"http://localhost/_sandbox/{control}", content=(body % number).encode())

    assert answer.status_code == 400, answer.text
    assert len(answer.text) < 1000
    assert (await merchant.http.get("http://localhost/_sandbox/")).status_code == 200


@pytest.mark.parametrize("control", ["clock", "settings", "faults", "heal", "pay", "balance"])
@pytest.mark.parametrize(
    "body", ['{"a":' * 5000 + "1" + "}" * 5000, "[" * 500_000, '{"advance":' + "[" * 40 + "]" * 40 + "}"]
)
async def test_control_deep_body_is_400(merchant: Merchant, control: str, body: str) -> None:
    answer = await merchant.http.post(f"http://localhost/_sandbox/{control}", content=body.encode())

    assert answer.status_code == 400


async def test_control_clock_stops_at_its_last_year(merchant: Merchant) -> None:
    sandbox = Sandbox()
    for _ in range(5):
        sandbox.advance(MAX_SECONDS)
    with pytest.raises(ConfigurationError, match="year 2200"):
        sandbox.advance(MAX_SECONDS)
    assert sandbox.clock.time() < 7_258_118_400


def test_control_faults_are_counted() -> None:
    sandbox = Sandbox()
    for _ in range(MAX_FAULTS):
        sandbox.fail(kind="html")

    with pytest.raises(ConfigurationError, match="still to come"):
        sandbox.fail(kind="html")


@pytest.mark.parametrize(
    ("media", "body"),
    [
        ("application/x-www-form-urlencoded", "a" + "[0]" * 50_000 + "=1"),
        ("application/json", '{"order_id":' + "[" * 600 + "]" * 600 + "}"),
        ("application/json", '{"order_id":' * 100_000),
        ("application/json", '{"amount":' + "9" * 5000 + "}"),
    ],
)
async def test_call_hostile_body_is_refused_and_shown(merchant: Merchant, media: str, body: str) -> None:
    answer = await merchant.http.post(CALL, content=body.encode(), headers={"content-type": media})

    assert answer.status_code in (400, 401)
    assert (await merchant.http.get("http://localhost/_sandbox/requests")).status_code == 200
