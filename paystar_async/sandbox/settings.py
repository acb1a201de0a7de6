"""The sandbox's settings: one list for the constructor, the controls, the dashboard and the docs."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from attrs import Attribute, asdict, define, evolve, field, fields

from paystar_async.errors import ConfigurationError
from paystar_async.values.field_type import short_repr

MAX_SECONDS = 1_000_000_000
"""About thirty years; much later dates would overflow."""
MAX_RIAL = 10**15
"""A thousand times the limit of a bank transfer; sums of such amounts are exact in every JSON parser."""
MAX_TEXT_CHARACTERS = 100

Validator = Callable[[object], bool]


def is_number(value: object) -> bool:
    """Return True for a number from 0 to ``MAX_SECONDS``."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_SECONDS


def is_rial(value: object) -> bool:
    """Return True for an amount from 0 to ``MAX_RIAL``."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_RIAL


def is_flag(value: object) -> bool:
    """Return True for True and False."""
    return isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT_CHARACTERS and value.isprintable()


def _setting(
    default: object, is_allowed: Validator, expected: str, en: str, fa: str, choices: tuple[object, ...] = ()
) -> Any:
    """Declare a setting.

    Args:
        default: the value in a new sandbox.
        is_allowed: returns True for an allowed value.
        expected: the allowed values, for the error message.
        en: description in English.
        fa: description in Persian.
        choices: the allowed values, if they are few.
    """

    def validate(_: object, attribute: "Attribute[Any]", value: object) -> None:
        if not is_allowed(value):
            raise ValueError(f"{attribute.name} is {expected}, not {short_repr(value)}")

    return field(default=default, validator=validate, metadata={"en": en, "fa": fa, "choices": choices})


def _seconds(default: float, en: str, fa: str) -> Any:
    return _setting(default, is_number, f"a number of seconds, 0 to {MAX_SECONDS}", en, fa)


def _rial(default: int, en: str, fa: str) -> Any:
    return _setting(default, is_rial, f"an integer in Rial, 0 to {MAX_RIAL}", en, fa)


def _flag(en: str, fa: str, *, default: bool = False) -> Any:
    return _setting(default, is_flag, "true or false", en, fa)


def _choice(choices: tuple[object, ...], en: str, fa: str) -> Any:
    def is_choice(value: object) -> bool:
        return any(type(value) is type(choice) and value == choice for choice in choices)

    return _setting(choices[0], is_choice, " or ".join(map(str, choices)), en, fa, choices)


def _text(default: str, en: str, fa: str) -> Any:
    return _setting(default, _is_text, f"a text of up to {MAX_TEXT_CHARACTERS} printable characters", en, fa)


@define(kw_only=True)
class Settings:
    """The sandbox's settings; every attribute may be changed at any time. ``DESCRIPTIONS`` explains each."""

    settle_seconds: float = _seconds(
        2.0,
        "Seconds a transfer stays pending; 0 settles a transfer at once",
        "چند ثانیه یک انتقال در انتظار می‌ماند؛ صفر یعنی بی‌درنگ",
    )
    verify_seconds: float = _seconds(
        600.0,
        "Seconds a payment may be verified before the money is refunded to the payer",
        "چند ثانیه می‌توان پرداخت را تأیید کرد؛ پس از آن به پرداخت‌کننده برمی‌گردد",
    )
    # assumed (page-lifetime): a payer has a quarter of an hour.
    page_seconds: float = _seconds(
        900.0,
        "Seconds a payer has on the payment page; afterwards the page cancels and leads back to the shop",
        "چند ثانیه پرداخت‌کننده در صفحهٔ پرداخت وقت دارد؛ پس از آن لغو می‌شود و به پذیرنده برمی‌گردد",
    )
    payer_fee: int = _rial(
        0,
        "Fee in Rial that the payer pays on top of the amount; included in payment_amount",
        "کارمزدی که پرداخت‌کننده می‌دهد، به ریال؛ در payment_amount دیده می‌شود",
    )
    price_fee: int = _rial(
        0,
        "Fee in Rial that verify adds to the amount in price; whether the live service adds a fee is not known",
        "کارمزدی که پاسخ تأیید در price بر مبلغ می‌افزاید، به ریال؛ رفتار سرویس زنده دانسته نیست",
    )
    deposit_opening: int = _rial(
        1_000_000_000_000,
        "Opening balance of a deposit account, in Rial",
        "موجودی آغازین حساب سپرده، به ریال",
    )
    wallet_opening: int = _rial(
        1_000_000_000_000,
        "Opening balance of the wallet, in Rial",
        "موجودی آغازین کیف پول، به ریال",
    )
    gateway_ceiling: int = _rial(
        1_000_000_000_000,
        "Maximum amount of a payment, in Rial",
        "سقف مبلغ هر پرداخت، به ریال",
    )
    gateway_signed: bool = _flag(
        "The gateway has a sign key; off simulates an unsigned gateway",
        "درگاه کلید امضا دارد؛ خاموش یعنی درگاهی که بدون امضا راه افتاده است",
        default=True,
    )
    unsigned_verify: bool = _flag(
        "Verify is accepted without a signature; a wrong signature is still refused",
        "تأیید بدون امضا هم پذیرفته می‌شود؛ امضای نادرست باز هم رد می‌شود",
    )
    default_callback_method: str = _choice(
        ("GET", "POST"),
        "How the payer returns if create has no callback_method: GET or POST",
        "اگر callback_method داده نشود، پرداخت‌کننده با GET برمی‌گردد یا POST",
    )
    partial_execution: bool = _flag(
        "A refused call of several transfers may have executed the transfers before the refusal",
        "وقتی درخواستی با چند انتقال رد می‌شود، انتقال‌های پیش از آن شاید انجام شده باشند",
    )
    repeats_execute: bool = _flag(
        "A repeated track_id pays again: the worst case for your program",
        "شناسهٔ تکراری دوباره پرداخت می‌شود؛ بدترین حالت برای برنامهٔ شما",
    )
    failure_http: int = _choice(
        (400, 200), "The HTTP status of a refusal: 400 or 200", "کد HTTP پاسخ‌های رد: ۴۰۰ یا ۲۰۰"
    )
    rotate_refresh_tokens: bool = _flag(
        "A refresh returns a new refresh token and ends the old one",
        "هر تمدید، توکن تمدید تازه‌ای می‌دهد و قبلی را باطل می‌کند",
    )
    refresh_ends_old_key: bool = _flag("A refresh ends the old key at once", "تمدید، کلید قبلی را بی‌درنگ باطل می‌کند")
    hide_token_codes: bool = _flag(
        "A key is refused with a message only: HTTP 400 without code 4 or 5",
        "کلید تنها با پیام رد می‌شود، با HTTP 400 و بی کد ۴ یا ۵",
    )
    unauthenticated_action: str = _text(
        "PardakhtCreate", "The action in an unauthenticated response", "مقدار action در پاسخ unauthenticated"
    )
    unauthenticated_tag: str = _text(
        "unauthenticated", "The tag in an unauthenticated response", "مقدار tag در پاسخ unauthenticated"
    )

    def change(self, changes: Mapping[str, Any]) -> None:
        """Change several settings, all or none.

        Args:
            changes: setting → value.

        Raises:
            ConfigurationError: a setting does not exist, or a value is not allowed; no setting was changed.
        """
        for name in changes:
            if name not in DESCRIPTIONS:
                raise ConfigurationError(
                    f"there is no setting {short_repr(name)}", hint=f"one of {', '.join(DESCRIPTIONS)}"
                )
        try:
            changed = evolve(self, **changes)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        for name in changes:
            setattr(self, name, getattr(changed, name))

    def as_dict(self) -> dict[str, Any]:
        """Return every setting with its value."""
        return asdict(self)


DESCRIPTIONS: Mapping[str, str] = {attribute.name: str(attribute.metadata["en"]) for attribute in fields(Settings)}
"""Setting → description, in English."""


def parse_setting(text: str) -> tuple[str, object]:
    """Parse ``NAME=VALUE``; a value that is not valid JSON is a text.

    Raises:
        ConfigurationError: ``text`` does not have this form.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigurationError(f"a setting is NAME=VALUE, not {short_repr(text)}", hint="such as settle_seconds=0")
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        return name, value
