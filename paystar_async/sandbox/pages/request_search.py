"""The search over the logged requests, which reads masked texts only: no search can guess a secret bit by bit."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from paystar_async.sandbox.request_log import LoggedRequest
from paystar_async.values.digits import normalize_digits

Tone = Literal["good", "wait", "bad"]
RESULTS: Mapping[str, Tone] = {"succeeded": "good", "refused": "wait", "failed": "bad"}
"""Result to filter by → the tone of its calls."""
WITH_FAULT = "fault"


def find_requests(requests: Iterable[LoggedRequest], text: str, result: str) -> Iterator[LoggedRequest]:
    """Yield the requests that contain every word of a text and have a result.

    Args:
        requests: the logged requests.
        text: words in the name, fields, faults or response of a call, in any order; none for every request.
        result: a key of ``RESULTS``, or ``fault`` for the calls with a fault; any other text for every request.
    """
    terms = _normalize(text).split()
    for request in requests:
        if _has_result(request, result) and (not terms or _contains(request, terms)):
            yield request


def _has_result(request: LoggedRequest, result: str) -> bool:
    if result == WITH_FAULT:
        return bool(request.fault_kinds)
    return result not in RESULTS or result_tone(request) == RESULTS[result]


def _contains(request: LoggedRequest, terms: Iterable[str]) -> bool:
    endpoint, response = request.endpoint, request.response
    parts = [endpoint.method, endpoint.id, *endpoint.paths, *request.fault_kinds, pretty_json(request.masked_fields)]
    if response:
        parts += [str(response.http_status), pretty_json(request.masked_response)]
    text = _normalize("\n".join(parts))
    return all(term in text for term in terms)


def _normalize(text: str) -> str:
    return normalize_digits(text).casefold()


def result_tone(logged: LoggedRequest) -> Tone:
    """Return the style class for a call's result: ``good``, ``wait`` (refused) or ``bad`` (failed)."""
    if logged.status in (1, "ok"):
        return "good"
    return "wait" if logged.response and logged.response.http_status < 500 else "bad"


def pretty_json(value: object) -> str:
    """Return a masked value as indented JSON, and a text unchanged."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
