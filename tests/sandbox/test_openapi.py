"""Conformance of the sandbox to its OpenAPI document, with valid and invalid requests."""

from typing import Any, cast

import pytest
import schemathesis
import schemathesis.checks
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from paystar_async.credentials import Credentials, signature
from paystar_async.runtime.clock import ManualClock
from paystar_async.sandbox import Sandbox
from paystar_async.table import BY_ID
from tests.sandbox.raw_client import reveal

EXAMPLES = 12
"""Requests per operation, half of them with the right credentials."""
COMMON: Any = schemathesis.checks
OPENAPI: Any = checks
CHECKS: list[Any] = [
    COMMON.not_a_server_error,
    OPENAPI.status_code_conformance,
    OPENAPI.content_type_conformance,
    OPENAPI.response_headers_conformance,
    OPENAPI.response_schema_conformance,
]
PROFILE = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
SANDBOX = Sandbox(clock=ManualClock())
SCHEMA: Any = schemathesis.openapi.from_asgi("/_sandbox/openapi.json", SANDBOX.app)
OPERATIONS: dict[str, Any] = {result.ok().label: result.ok() for result in SCHEMA.get_all_operations()}


def authorize(case: Any) -> None:
    """Add credentials, key and signature to a generated request."""
    endpoint = BY_ID[case.operation.definition.raw["x-endpoint"]]
    accounts = Credentials(application=SANDBOX.application, gateway=SANDBOX.gateway, wallet=SANDBOX.wallet)
    token, refresh_token = accounts.initial_token(endpoint.realm)
    case.headers = {"authorization": f"Bearer {token.reveal() if token else ''}"}
    content: object = case.query if endpoint.method == "GET" else case.body
    if not isinstance(content, dict):
        return
    fields = cast("dict[str, object]", content)
    fields |= {
        name: reveal(value) for name, value in accounts.identification_fields(endpoint.realm, endpoint.method).items()
    }
    if endpoint.refresh_token_field:
        fields[endpoint.refresh_token_field] = reveal(refresh_token)
    sign_key = accounts.sign_key(endpoint.realm)
    if endpoint.signed_fields and sign_key is not None:
        fields["sign"] = signature(sign_key, (fields.get(name) for name in endpoint.signed_fields))


@pytest.mark.parametrize("label", OPERATIONS)
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_sandbox_responses_conform_to_its_openapi(label: str, mode: GenerationMode) -> None:
    operation = OPERATIONS[label]

    @seed(11)
    @settings(PROFILE)
    @given(case=operation.as_strategy(generation_mode=mode), is_authorized=st.booleans())
    def run(case: Any, is_authorized: bool) -> None:
        if is_authorized:
            authorize(case)
        case.call_and_validate(checks=CHECKS)

    run()
