"""A deviation that responds in recorded shapes of the live service, see ``paystar conform``.

The data of each success gets the field names, types, nulls and wrappers that were recorded last, and each refusal gets
its recorded HTTP status. Values are the sandbox's own, in the recorded form.
"""

import json
from collections.abc import Iterable
from typing import Any, cast

from attrs import evolve

from paystar_async.conform.judges import SUCCESS, form_of
from paystar_async.endpoint import Observation
from paystar_async.sandbox.deviations import BankCall, Handle
from paystar_async.sandbox.responses import SandboxResponse, json_response
from paystar_async.values.shapes import NUMBERS, UNKNOWN_NAME, alternatives_of, list_in, object_in, shape_of

_KINDS = ("int", "float", "bool", "text", "word")
_ABSENT = object()
_SAMPLES: dict[str, Any] = {
    "bool": True,
    "int": 1,
    "float": 1.0,
    "word": "pending",
    "digits": "1",
    "decimal": "1.0",
    "grouped": "1,000",
    "dotted": "1.000",
    "day": "2026-01-01",
    "time": "2026-01-01 00:00:00",
    "jalali_day": "1404-10-11",
    "jalali_time": "1404-10-11 00:00:00",
    "short_time": "04-10-11 00:00:00",
    "iso_time": "2026-01-01T00:00:00Z",
    "iban": "IR820540102680020817909002",
    "masked_card": "502229******6708",
    "persian": "متن",
    "empty": "",
}
_OTHER_SAMPLE = "sample"


class RecordedShapes:
    """A deviation that responds in recorded shapes.

    Args:
        observations: recorded responses; the last one of an endpoint counts.
    """

    def __init__(self, observations: Iterable[Observation]) -> None:
        self._data: dict[tuple[str, str], Any] = {}
        self._http: dict[tuple[str, int | str], int] = {}
        for observation in observations:
            shape: Any = json.loads(observation.shape)
            if observation.status in SUCCESS and isinstance(shape, dict):
                data = cast("dict[str, Any]", shape).get("data", "null")
                if not _is_empty(data):
                    self._data[observation.endpoint, observation.sent] = data
            elif observation.status is not None and observation.status != "other":
                self._http[observation.endpoint, observation.status] = observation.http_status

    def __call__(self, call: BankCall, next: Handle, /) -> SandboxResponse:  # noqa: A002
        """Return the bank's response in the recorded shape."""
        response = next(call)
        envelope: dict[str, Any] = json.loads(response.body)
        status = envelope["status"]
        if status not in SUCCESS:
            http_status = self._http.get((call.endpoint.id, status))
            return response if http_status is None else evolve(response, http_status=http_status)
        shape = self._data.get((call.endpoint.id, _sent_count(call)))
        if shape is None or _is_empty(shape):
            return response
        return json_response(envelope | {"data": reshape(envelope["data"], shape)}, http_status=response.http_status)


def _sent_count(call: BankCall) -> str:
    """Return the number of transfers in a call as an Observation has it: none, one or several."""
    transfers = call.raw.get("transfers")
    if not isinstance(transfers, list):
        return "none"
    return "one" if len(cast("list[object]", transfers)) == 1 else "several"


def _is_empty(shape: Any) -> bool:
    """Return True for a shape without fields: an empty list, an empty object, null."""
    return shape in ([], {}, "null")


def reshape(value: Any, shape: Any) -> Any:
    """Return a value of the sandbox in a recorded shape.

    Args:
        value: a JSON value; a missing one is replaced by a sample.
        shape: a parsed shape, see ``values.shapes``.
    """
    if (names := object_in(shape)) is not None:
        return _reshape_object(value, names)
    if (entries := list_in(shape)) is not None:
        items = list_in(value)
        if items is None:
            items = [] if value is _ABSENT else [value]
        return [reshape(item, entries[0]) for item in items] if entries else items
    return _reshape_scalar(value, str(shape))


def _reshape_object(value: Any, shape: dict[str, Any]) -> Any:
    names = [name for name in shape if name != UNKNOWN_NAME]
    if (items := list_in(value)) is not None:
        if names == [NUMBERS]:
            return {str(index): reshape(item, shape[NUMBERS]) for index, item in enumerate(items)}
        wrapped = next((name for name in names if isinstance(shape[name], list)), None)
        if wrapped is None:
            return reshape(items[0] if items else _ABSENT, shape)
        value = {wrapped: items}
    fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    reshaped = {name: reshape(fields.get(name, _ABSENT), shape[name]) for name in names if name != NUMBERS}
    return {name: content for name, content in reshaped.items() if content is not _ABSENT}


def _reshape_scalar(value: Any, shape: str) -> Any:
    terms = [term for term in shape.split("|") if term.partition(":")[0] in _KINDS]
    if value is _ABSENT and "absent" in shape.split("|"):
        return _ABSENT
    if not terms:
        return value if shape in ("mixed", "deep", "unknown") and value is not _ABSENT else None
    if value is None and "null" in shape.split("|"):
        return None
    own_forms = {form_of(term) for term in alternatives_of([json.loads(shape_of(_plain(value)))])}
    forms = [form_of(term) for term in terms]
    is_status = "word" in forms and isinstance(value, str)  # a transfer's status is never changed
    if value is not _ABSENT and (is_status or own_forms & set(forms)):
        return value
    return _sample(terms[0]) if value is _ABSENT else _convert(value, forms[0])


def _plain(value: Any) -> Any:
    return None if value is _ABSENT else value


def _sample(term: str) -> Any:
    """Return a value of a recorded form: a number of the shortest length in its class."""
    form, shortest = form_of(term), term.rpartition(":")[2].partition("-")[0]
    if form in ("int", "digits"):
        digits = "1".ljust(int(shortest), "0")
        return int(digits) if form == "int" else digits
    return _SAMPLES.get(form, _OTHER_SAMPLE)


def _convert(value: Any, form: str) -> Any:
    """Return a number in another form, or a sample of the form."""
    number = _number(value)
    if number is not None:
        match form:
            case "int":
                return number
            case "float":
                return float(number)
            case "bool":
                return bool(number)
            case "digits":
                return str(number)
            case "decimal":
                return f"{number}.00"
            case "grouped":
                return f"{number:,}"
            case "dotted":
                return f"{number:,}".replace(",", ".")
            case _:
                pass
    if form in ("letters", "id", "hex", "ascii", "other") and isinstance(value, str):
        return value
    return _SAMPLES.get(form, _OTHER_SAMPLE)


def _number(value: Any) -> int | None:
    if isinstance(value, int | float):
        return int(value)
    digits = value.replace(",", "").partition(".")[0] if isinstance(value, str) else ""
    return int(digits) if digits.isdecimal() else None
