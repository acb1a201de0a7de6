"""``paystar sandbox logs`` and ``trigger``: print the requests of a running sandbox, and trigger events in it."""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

import httpx
from cyclopts import Parameter

from paystar_async.cli.console import EXIT_FAILED, print_error, print_json, print_note, stdout_console
from paystar_async.cli.json_output import JSON_ALWAYS_OPTION, JsonObject, timestamp
from paystar_async.cli.parameters import choice_parameter
from paystar_async.config import normalize_base_url
from paystar_async.credentials import BASE_URL
from paystar_async.errors import ConfigurationError
from paystar_async.values.dates import TEHRAN

_DEFAULT_URL = "http://127.0.0.1:8000/api"
_POLL_SECONDS = 0.25
_TIMEOUT_SECONDS = 10.0
_MIN_ERROR_STATUS = 400

EventName = Literal[
    "payment-paid",
    "payment-cancelled",
    "payment-failed",
    "payment-expired",
    "transfer-succeeded",
    "transfer-failed",
    "key-expired",
]

_PAYMENT_EVENTS: dict[EventName, str] = {
    "payment-paid": "pay",
    "payment-cancelled": "cancel",
    "payment-failed": "fail",
    "payment-expired": "expire",
}
_TRANSFER_EVENTS: dict[EventName, str] = {"transfer-succeeded": "success", "transfer-failed": "failed"}

Url = Annotated[str | None, Parameter(help=f"base URL of the sandbox; default: PAYSTAR_BASE_URL, or {_DEFAULT_URL}")]


def logs(
    *,
    follow: Annotated[bool, Parameter(help="print requests as they come, until Ctrl-C")] = True,
    as_json: Annotated[bool, Parameter(name="--json", negative=(), help="print a JSON object per line")] = False,
    url: Url = None,
) -> int:
    """Print the requests that a sandbox received, masked, and follow them.

    Each line has the request's number, its time in Tehran, the endpoint, the HTTP status, the status of the response,
    the fields and the faults. The sandbox remembers the last 50.
    """
    with _SandboxControl(url) as control:
        last = 0
        while True:
            entries: Sequence[Mapping[str, Any]] = control.call("GET", "requests")["requests"][::-1]
            if entries and entries[-1]["number"] < last:
                last = 0  # the sandbox was reset
            if entries and last and entries[0]["number"] > last + 1:
                print_note(f"… {entries[0]['number'] - last - 1} requests are not shown")
            for entry in entries:
                if entry["number"] > last:
                    _print_request(entry, as_json=as_json)
            last = entries[-1]["number"] if entries else last
            if not follow:
                return 0
            time.sleep(_POLL_SECONDS)


def trigger(
    event: Annotated[EventName, choice_parameter(get_args(EventName), "what happens")],
    target: Annotated[
        str | None,
        Parameter(
            help="the payment (token, URL of its page, order_id or ref_num; default: the newest unpaid one), the "
            "track_id of the transfer, or the realm of the key (application, wallet, inquiry; default: all)"
        ),
    ] = None,
    /,
    *,
    callback: Annotated[
        bool, Parameter(help="after a payment, call the shop's callback as the payer's browser does")
    ] = True,
    url: Url = None,
    as_json: Annotated[bool, JSON_ALWAYS_OPTION] = False,  # noqa: ARG001 - declares the option
) -> int:
    """Make a payment paid, a transfer fail or a key expire in a sandbox, and print the result as JSON.

    Exit status: 0 done; 1 the shop's callback failed; 2 there is no such sandbox, payment or transfer.
    """
    # Every key is always present.
    result: JsonObject = {"event": event, "callback": None, "shop": None, "transfer": None, "realm": None}
    error = None
    with _SandboxControl(url) as control:
        if event in _PAYMENT_EVENTS:
            paid = control.call("POST", "pay", {"token": target or "newest", "choice": _PAYMENT_EVENTS[event]})
            result["callback"] = {"method": paid["method"], "url": paid["url"], "fields": paid["callback"]}
            if callback:
                result["shop"], error = _call_shop(control.http, **result["callback"])
        elif event == "key-expired":
            control.call("POST", "expire", {"realm": target})
            result["realm"] = target or "all"
        elif target is None:
            raise ConfigurationError(f"{event} needs the track_id of a transfer", hint=f"trigger {event} TRACK_ID")
        else:
            decided = control.call("POST", "transfer", {"track_id": target, "status": _TRANSFER_EVENTS[event]})
            transfer = decided["transfers"][target]
            result["transfer"] = {"track_id": target, "status": transfer["status"], "amount": transfer["amount"]}
    print_json(result)
    if error is not None:
        print_error(error, hint="call it yourself with the fields above; --no-callback leaves it out")
    return 0 if error is None else EXIT_FAILED


def _call_shop(
    http: httpx.Client, method: str, url: str, fields: Mapping[str, str]
) -> tuple[JsonObject | None, str | None]:
    """Call a callback as the payer's browser does; return the shop's response, and what failed."""
    try:
        response = http.request(method, url, data=fields if method == "POST" else None)
    except httpx.HTTPError as error:
        return None, f"the payer has chosen, but the callback failed: {type(error).__name__}"
    shop = {"http_status": response.status_code, "location": response.headers.get("location")}
    is_error = response.status_code >= _MIN_ERROR_STATUS
    return shop, f"the payer has chosen, but the shop responded HTTP {response.status_code}" if is_error else None


class _SandboxControl:
    """The controls of a running sandbox.

    Args:
        url: the base URL of the sandbox's clients; None: see ``Url``.

    Raises:
        ConfigurationError: the URL is not one of a sandbox.
    """

    def __init__(self, url: str | None) -> None:
        base_url = normalize_base_url(url or os.environ.get("PAYSTAR_BASE_URL") or _DEFAULT_URL)
        if urlsplit(base_url).hostname == urlsplit(BASE_URL).hostname:
            raise ConfigurationError("base_url is the live service, not a sandbox", hint="--url http://HOST:PORT/api")
        self._root = base_url.removesuffix("/api")
        self.http = httpx.Client(trust_env=False, timeout=_TIMEOUT_SECONDS)

    def __enter__(self) -> "_SandboxControl":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def call(self, method: str, name: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Return the response of a control.

        Raises:
            ConfigurationError: no sandbox is there, or it refuses the call.
        """
        try:
            response = self.http.request(method, f"{self._root}/_sandbox/{name}", json=body)
            content: Any = response.json()
        except httpx.HTTPError as error:
            reason = f"no sandbox responds at {self._root}: {type(error).__name__}"
        except ValueError:
            reason = f"{self._root} is not a sandbox"
        else:
            if isinstance(content, dict) and response.is_success:
                return content  # pyright: ignore[reportUnknownVariableType]
            if isinstance(content, dict) and "error" in content:
                raise ConfigurationError(str(content["error"]))  # pyright: ignore[reportUnknownArgumentType]
            reason = f"{self._root} is not a sandbox"
        raise ConfigurationError(reason, hint="start one with paystar sandbox, or name its address with --url")


def _print_request(entry: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps({**entry, "time": timestamp(entry["time"])}) + "\n")
        sys.stdout.flush()
        return
    response = entry["response"]
    status = response.get("status") if isinstance(response, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    parts = (
        f"#{entry['number']}",
        f"{datetime.fromtimestamp(entry['time'], TEHRAN):%H:%M:%S}",
        entry["endpoint"],
        "no response yet" if entry["http"] is None else f"{entry['http']} status {status}",
        json.dumps(entry["fields"], ensure_ascii=False),
        *(f"fault {kind}" for kind in entry["faults"]),
    )
    stdout_console().print("  ".join(parts), soft_wrap=True)
