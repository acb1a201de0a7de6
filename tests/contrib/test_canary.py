"""No secret or personal data is in the log, the responses or the spans of a host."""

import logging
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from paystar_async import Gateway, Paystar
from paystar_async.contrib.opentelemetry import Traced
from paystar_async.contrib.starlette import exception_handlers, payment_route, paystar_lifespan, paystar_of
from paystar_async.payments import Payment
from paystar_async.sandbox import Sandbox
from tests.contrib.browsing import browsing, come_back, paid

CARD, NATIONAL_ID, MOBILE, MAIL = "6037991899752346", "0084575948", "09121234567", "canary@shop.example"


@pytest.mark.parametrize("fails", [False, True])
async def test_contrib_exposes_no_secret_or_personal_data(
    fails: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sandbox = Sandbox()
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))

    async def buy(request: Request) -> Response:
        payment = await paystar_of(request).payments.start(
            amount=50_000,
            order_id="o-1",
            callback="https://shop.example/pay/callback",
            name="علی احمدی",
            phone=MOBILE,
            mail=MAIL,
            national_code=NATIONAL_ID,
            card_number=CARD,
        )
        return RedirectResponse(payment.url, 303)

    async def on_payment(_: Request, payment: Payment) -> None:
        assert payment.order_id == "o-1"

    def make() -> Paystar:
        return Paystar(
            gateway=sandbox.gateway,
            engine=sandbox.engine(),
            database=tmp_path / "orders.db",
            middleware=[Traced(provider)],
            max_retries=0,
        )

    app = Starlette(
        routes=[Route("/buy", buy, methods=["POST"]), payment_route("/pay/callback", on_payment)],
        lifespan=paystar_lifespan(make, on_verified=lambda payment: None),
        exception_handlers=exception_handlers,
    )
    async with browsing(app) as browser:
        page = await browser.post("/buy")
        fields = paid(sandbox, page.headers["location"])
        if fails:
            sandbox.fail("gateway.verify", "ip")
        responses = [
            await come_back(browser, "POST", fields),
            await come_back(browser, "POST", fields | {"card_number": CARD}),
            await come_back(browser, "POST", fields | {"order_id": NATIONAL_ID}),
            await come_back(browser, "POST", fields | {"ref_num": [MOBILE, MAIL]}),
        ]

    assert [result.status_code for result in responses] == [503 if fails else 200, 400, 400, 400]
    assert spans.get_finished_spans()
    output = "\n".join(
        [
            *(
                f"{record.name} {record.getMessage()} {record.args}"
                for record in caplog.records
                if record.name.startswith("paystar")
            ),
            *(f"{result.text} {result.headers}" for result in responses),
            *(span.to_json() for span in spans.get_finished_spans()),
        ]
    )
    gateway: Gateway = sandbox.gateway
    secrets = [gateway.id, gateway.sign_key]
    values = [secret if isinstance(secret, str) else secret.reveal() for secret in secrets if secret is not None]
    values += [
        CARD,
        NATIONAL_ID,
        MOBILE,
        MAIL,
        "احمدی",
        fields["hashed_card_number"],
        fields["tracking_code"],
        "token=",
    ]
    assert not [value for value in values if value in output]
