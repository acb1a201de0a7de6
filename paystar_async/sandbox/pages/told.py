"""What the faults do, in Persian; their English stands where they are defined."""

from collections.abc import Mapping

FAULTS: Mapping[str, str] = {
    "refused": "اتصال برقرار نمی‌شود؛ درون برنامه درخواست قطعاً فرستاده نمی‌شود",
    "latency": "درخواست انجام می‌شود، ولی هم انجام و هم پاسخ به همین اندازه دیر می‌رسد",
    "reset_before": "اتصال پیش از انجام درخواست قطع می‌شود",
    "reset_after": "درخواست انجام می‌شود، سپس اتصال قطع می‌شود",
    "server_error": "خطای HTTP 500، با پاکت وضعیت ۰ یا بدون آن",
    "html": "خطای HTTP 502 با صفحهٔ HTML به‌جای پاسخ",
    "truncated": "درخواست انجام می‌شود و تنها نیمی از JSON پاسخ می‌رسد",
    "unavailable": "خطای HTTP 503 همراه Retry-After",
    "too_many": "خطای HTTP 429 همراه Retry-After",
    "status": "رد درخواست با هر وضعیتی که بخواهید",
    "status_0": "وضعیت ۰، خطای داخلی سرور",
    "status_11": "وضعیت ۱۱، خطای سرویس‌دهندهٔ بانکی",
    "expired_key": "کلید پذیرفته نمی‌شود، با عبارت خود آن سرویس",
    "ip": "وضعیت ۷، نشانی IP مجاز نیست",
    "funds": "وضعیت ۹، موجودی کافی نیست",
    "already_verified": "وضعیت \u2066-6\u2069، پیش‌تر تأیید شده است",
    "http_200": "رد درخواست‌ها با HTTP 200 می‌آید",
    "http_400": "رد درخواست‌ها با HTTP 400 می‌آید",
}
"""What each kind of fault does, in Persian."""
