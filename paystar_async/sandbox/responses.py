"""What every answer is wrapped in, and what a refusal looks like."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen
from starlette.requests import Request as HttpRequest

from paystar_async.endpoint import Endpoint
from paystar_async.sandbox.settings import Settings


def is_own(request: HttpRequest) -> bool:
    """Whether a page of this very origin sends it, or a program: those name no origin."""
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()


INVALID_ACCESS = "دسترسی نامعتبر"
"""How a key is refused: with this message beside code 4 or 5, or with no code of its own."""

# assumed: the reference shows "ok" for bank transfers and 1 for everything else.
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
class Reply:
    """An answer, ready to be sent."""

    body: bytes = field(repr=False)
    http: int = 200
    media: str = "application/json"
    headers: Mapping[str, str] = field(factory=dict[str, str])


def json_reply(content: object, *, http: int = 200) -> Reply:
    """A JSON answer."""
    return Reply(body=json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(), http=http)


def success(row: Endpoint, data: object) -> Reply:
    """The envelope of a call that went well."""
    return json_reply({"status": _SUCCESS.get(row.service, 1), "message": MESSAGES[1], "data": data})


class Refusal(Exception):
    """A call that is refused, or fails, as Paystar would answer it.

    Args:
        status: the envelope's status.
        message: its message; the status's own by default.
        fields: field → messages, where single fields are refused.
        http: the HTTP status, where it does not follow the setting.
    """

    def __init__(
        self,
        status: int | str,
        message: str | None = None,
        *,
        fields: Mapping[str, list[str]] | None = None,
        http: int | None = None,
    ) -> None:
        super().__init__(status)
        self.status, self.fields = status, fields
        self.http = 401 if status == _UNAUTHENTICATED else http  # assumed
        self.message = message or MESSAGES.get(status) or MESSAGES.get(_plain(status)) or str(status)

    def reply(self, settings: Settings, failure_http: int | None = None) -> Reply:
        """Return the refusal's envelope.

        Args:
            settings: how the sandbox behaves.
            failure_http: the HTTP status of a refusal that has none of its own; the setting by default.
        """
        envelope: dict[str, Any] = {"status": self.status, "message": self.message, "data": self.fields}
        if self.status == _UNAUTHENTICATED:
            envelope |= {
                "action": settings.unauthenticated_action,
                "tag": settings.unauthenticated_tag,
                "api_version": "v1",
            }
        return json_reply(envelope, http=self.http or failure_http or settings.failure_http)


def _plain(status: int | str) -> int | str:
    """A gateway code without the 100 it is sometimes lowered by."""
    return status + 100 if isinstance(status, int) and status < -100 else status
