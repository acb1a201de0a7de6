"""Responses of the sandbox: the envelope of a success and of a refusal."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen
from starlette.requests import Request as HttpRequest

from paystar_async.endpoint import Endpoint
from paystar_async.errors.statuses import without_gateway_offset
from paystar_async.sandbox.settings import Settings


def is_same_origin(request: HttpRequest) -> bool:
    """Return True for a request from a page of this origin, or from a program, which sends no Origin header."""
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()


INVALID_ACCESS = "دسترسی نامعتبر"
"""Message of a refused key, beside code 4 or 5 or without a code."""

# assumed (success-status): the reference shows "ok" for bank transfers and 1 for everything else.
_SUCCESS: Mapping[str, str] = {"transfers": "ok"}
_UNAUTHENTICATED = "unauthenticated"

MESSAGES: Mapping[int | str, str] = {
    1: "عملیات با موفقیت انجام شد",
    0: "خطای داخلی سرور",
    2: "برنامه یافت نشد",
    3: "برنامه غیرفعال است",
    4: INVALID_ACCESS,
    5: INVALID_ACCESS,
    6: "رمز دسترسی نادرست است",
    7: "آدرس آی‌پی مجاز نیست",
    8: "سرویس برای این برنامه غیرفعال است",
    9: "موجودی کیف پول بانکی کافی نیست",
    10: "داده‌های ورودی نامعتبر است",
    11: "خطا در سرویس‌دهنده بانکی",
    12: "تنظیمات بانکداری باز تکمیل نشده است",
    13: "توکن تمدید نامعتبر است",
    -1: "درخواست نامعتبر است",
    -2: "درگاه فعال نیست",
    -3: "توکن تکراری است",
    -4: "مبلغ بیشتر از سقف مجاز درگاه است",
    -5: "شناسه تراکنش معتبر نیست",
    -6: "تراکنش قبلا وریفای شده است",
    -7: "پارامترهای ارسال شده با تراکنش مطابقت ندارد",
    -8: "تراکنش قابل وریفای نیست",
    -9: "تراکنش وریفای نشد",
    -16: "موجودی کیف پول کارمزد کافی نیست",
    -98: "تراکنش ناموفق بود",
    -99: "خطای سامانه",
    _UNAUTHENTICATED: "احراز هویت ناموفق بود",
}


@frozen(kw_only=True)
class SandboxResponse:
    """An HTTP response, ready to be sent."""

    body: bytes = field(repr=False)
    http_status: int = 200
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(factory=dict[str, str])


def json_response(content: object, *, http_status: int = 200) -> SandboxResponse:
    """Return ``content`` as a JSON response."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return SandboxResponse(body=body, http_status=http_status)


def success_response(endpoint: Endpoint, data: object) -> SandboxResponse:
    """Return ``data`` in the envelope of a successful call."""
    return json_response({"status": _SUCCESS.get(endpoint.service, 1), "message": MESSAGES[1], "data": data})


class Refusal(Exception):
    """A refused or failed call, with the status that Paystar would send.

    Args:
        status: the envelope's status.
        message: the envelope's message; by default the one that belongs to the status.
        fields: field → messages, if single fields are refused.
        http_status: the HTTP status, if it does not follow the setting ``failure_http``.
    """

    def __init__(
        self,
        status: int | str,
        message: str | None = None,
        *,
        fields: Mapping[str, list[str]] | None = None,
        http_status: int | None = None,
    ) -> None:
        super().__init__(status)
        self.status, self.fields = status, fields
        self.http_status = 401 if status == _UNAUTHENTICATED else http_status  # assumed (unauthenticated-http)
        self.message = message or MESSAGES.get(status) or MESSAGES.get(without_gateway_offset(status)) or str(status)

    def to_response(self, settings: Settings, failure_http: int | None = None) -> SandboxResponse:
        """Return the refusal in its envelope.

        Args:
            settings: the sandbox's settings.
            failure_http: the HTTP status, if the refusal does not name one; by default ``settings.failure_http``.
        """
        envelope: dict[str, Any] = {"status": self.status, "message": self.message, "data": self.fields}
        if self.status == _UNAUTHENTICATED:
            envelope |= {
                "action": settings.unauthenticated_action,
                "tag": settings.unauthenticated_tag,
                "api_version": "v1",
            }
        return json_response(envelope, http_status=self.http_status or failure_http or settings.failure_http)
