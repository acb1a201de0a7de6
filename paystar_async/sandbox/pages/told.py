"""What the faults and the settings do. The faults' English stands where they are defined."""

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

SETTINGS: Mapping[str, tuple[str, str]] = {
    "settle_seconds": (
        "چند ثانیه یک انتقال در انتظار می‌ماند؛ صفر یعنی بی‌درنگ",
        "Seconds a transfer stays pending; 0 settles it at once",
    ),
    "verify_seconds": ("چند ثانیه می‌توان پرداخت را تأیید کرد", "Seconds a payment may be verified"),
    "payer_fee": ("کارمزدی که پرداخت‌کننده می‌دهد، به ریال", "What the payer pays on top, in Rial"),
    "price_fee": (
        "کارمزدی که پاسخ تأیید در price بر مبلغ می‌افزاید، به ریال",
        "What verify's price names on top of the amount, in Rial",
    ),
    "deposit_opening": ("موجودی آغازین حساب سپرده، به ریال", "What a deposit account opens with, in Rial"),
    "wallet_opening": ("موجودی آغازین کیف پول، به ریال", "What the wallet opens with, in Rial"),
    "gateway_ceiling": ("سقف مبلغ هر پرداخت، به ریال", "The most a payment may ask for, in Rial"),
    "gateway_signed": ("درگاه کلید امضا دارد", "The gateway has a sign key"),
    "failure_http": ("کد HTTP پاسخ‌های رد: ۴۰۰ یا ۲۰۰", "The HTTP status of a refusal: 400 or 200"),
    "rotate_refresh_tokens": (
        "هر تمدید، توکن تمدید تازه‌ای می‌دهد و قبلی را باطل می‌کند",
        "A renewal brings a new refresh token and ends the old one",
    ),
    "renewal_ends_old_key": ("تمدید، کلید قبلی را بی‌درنگ باطل می‌کند", "A renewal ends the old key at once"),
    "hide_token_codes": (
        "بانکداری باز هم کلید را تنها با پیام رد می‌کند، بی کد ۴ یا ۵",
        "Open banking, too, refuses a key by its message alone",
    ),
    "repeats_execute": (
        "شناسهٔ تکراری دوباره پرداخت می‌شود؛ بدترین حالت برای برنامهٔ شما",
        "A repeated track_id pays again: the worst your program can meet",
    ),
}
"""What each setting does, in Persian and in English."""
