"""What can be set of the sandbox: one list for the constructor, the controls, the dashboard and the docs."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from attrs import Attribute, asdict, define, evolve, field, fields

from paystar_async.errors import ConfigurationError

MAX_SECONDS = 1_000_000_000
"""Thirty years: far beyond that a clock and its dates break."""
MAX_RIAL = 10**15
"""A thousand times what a bank transfer may be; sums of such amounts stay whole in every JSON reader."""
MAX_TEXT_CHARACTERS = 100

Check = Callable[[object], bool]


def is_number(value: object) -> bool:
    """Return whether ``value`` is a number from 0 to ``MAX_SECONDS``."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_SECONDS


def is_rial(value: object) -> bool:
    """Return whether ``value`` is an amount from 0 to ``MAX_RIAL``."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_RIAL


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT_CHARACTERS and value.isprintable()


def _setting(default: object, check: Check, expected: str, en: str, fa: str, choices: tuple[object, ...] = ()) -> Any:
    """Declare a setting.

    Args:
        default: its value in a new sandbox.
        check: returns whether a value is allowed.
        expected: what is allowed, as an error says it.
        en: what it does, in English.
        fa: the same in Persian.
        choices: every value that is allowed, where they are few.
    """

    def validate(_: object, attribute: "Attribute[Any]", value: object) -> None:
        if not check(value):
            raise ValueError(f"{attribute.name} is {expected}, not {value!r:.60}")

    return field(default=default, validator=validate, metadata={"en": en, "fa": fa, "choices": choices})


def _seconds(default: float, en: str, fa: str) -> Any:
    return _setting(default, is_number, f"a number of seconds, 0 to {MAX_SECONDS}", en, fa)


def _rial(default: int, en: str, fa: str) -> Any:
    return _setting(default, is_rial, f"whole Rial, 0 to {MAX_RIAL}", en, fa)


def _flag(en: str, fa: str, *, default: bool = False) -> Any:
    return _setting(default, _is_flag, "true or false", en, fa)


def _choice(choices: tuple[object, ...], en: str, fa: str) -> Any:
    def is_choice(value: object) -> bool:
        return any(type(value) is type(choice) and value == choice for choice in choices)

    return _setting(choices[0], is_choice, " or ".join(map(str, choices)), en, fa, choices)


def _text(default: str, en: str, fa: str) -> Any:
    return _setting(default, _is_text, f"a text of up to {MAX_TEXT_CHARACTERS} printable characters", en, fa)


@define(kw_only=True)
class Settings:
    """How the sandbox behaves; every attribute may be set while it runs. ``DESCRIPTIONS`` says what each does."""

    settle_seconds: float = _seconds(
        2.0,
        "Seconds a transfer stays pending; 0 settles it at once",
        "چند ثانیه یک انتقال در انتظار می‌ماند؛ صفر یعنی بی‌درنگ",
    )
    verify_seconds: float = _seconds(
        600.0,
        "Seconds a payment may be verified before it goes back to the payer",
        "چند ثانیه می‌توان پرداخت را تأیید کرد؛ پس از آن به پرداخت‌کننده برمی‌گردد",
    )
    payer_fee: int = _rial(
        0,
        "Rial the payer pays on top of the amount; shows up in payment_amount",
        "کارمزدی که پرداخت‌کننده می‌دهد، به ریال؛ در payment_amount دیده می‌شود",
    )
    price_fee: int = _rial(
        0,
        "Rial that verify's price names on top of the amount; whether the live service does so is not known",
        "کارمزدی که پاسخ تأیید در price بر مبلغ می‌افزاید، به ریال؛ رفتار سرویس زنده دانسته نیست",
    )
    deposit_opening: int = _rial(
        1_000_000_000_000,
        "Rial in a deposit account when it is first used",
        "موجودی آغازین حساب سپرده، به ریال",
    )
    wallet_opening: int = _rial(
        1_000_000_000_000,
        "Rial in the wallet when it is first used",
        "موجودی آغازین کیف پول، به ریال",
    )
    gateway_ceiling: int = _rial(
        1_000_000_000_000,
        "The most a payment may ask for, in Rial",
        "سقف مبلغ هر پرداخت، به ریال",
    )
    gateway_signed: bool = _flag(
        "The gateway has a sign key; off plays a gateway set up unsigned",
        "درگاه کلید امضا دارد؛ خاموش یعنی درگاهی که بدون امضا راه افتاده است",
        default=True,
    )
    unsigned_verify: bool = _flag(
        "Verify is accepted without a signature, too; a wrong signature is refused all the same",
        "تأیید بدون امضا هم پذیرفته می‌شود؛ امضای نادرست باز هم رد می‌شود",
    )
    default_callback_method: str = _choice(
        ("GET", "POST"),
        "How the payer comes back where create names no callback_method: GET or POST",
        "اگر callback_method داده نشود، پرداخت‌کننده با GET برمی‌گردد یا POST",
    )
    partial_execution: bool = _flag(
        "A call of several transfers that is refused may have executed those before the refusal",
        "وقتی درخواستی با چند انتقال رد می‌شود، انتقال‌های پیش از آن شاید انجام شده باشند",
    )
    repeats_execute: bool = _flag(
        "A repeated track_id pays again: the worst your program can meet",
        "شناسهٔ تکراری دوباره پرداخت می‌شود؛ بدترین حالت برای برنامهٔ شما",
    )
    failure_http: int = _choice(
        (400, 200), "The HTTP status of a refusal: 400 or 200", "کد HTTP پاسخ‌های رد: ۴۰۰ یا ۲۰۰"
    )
    rotate_refresh_tokens: bool = _flag(
        "A refresh brings a new refresh token and ends the old one",
        "هر تمدید، توکن تمدید تازه‌ای می‌دهد و قبلی را باطل می‌کند",
    )
    renewal_ends_old_key: bool = _flag("A refresh ends the old key at once", "تمدید، کلید قبلی را بی‌درنگ باطل می‌کند")
    hide_token_codes: bool = _flag(
        "A key is refused by the message alone, with HTTP 400 and without code 4 or 5",
        "کلید تنها با پیام رد می‌شود، با HTTP 400 و بی کد ۴ یا ۵",
    )
    unauthenticated_action: str = _text(
        "PardakhtCreate", "The action in an unauthenticated response", "مقدار action در پاسخ unauthenticated"
    )
    unauthenticated_tag: str = _text(
        "unauthenticated", "The tag in an unauthenticated response", "مقدار tag در پاسخ unauthenticated"
    )

    def change(self, changes: Mapping[str, Any]) -> None:
        """Set several settings, all or none.

        Args:
            changes: setting → value.

        Raises:
            ConfigurationError: a setting does not exist, or a value is not allowed; nothing was set.
        """
        for name in changes:
            if name not in DESCRIPTIONS:
                raise ConfigurationError(f"there is no setting {name!r:.60}", hint=f"one of {', '.join(DESCRIPTIONS)}")
        try:
            changed = evolve(self, **changes)
        except ValueError as refusal:
            raise ConfigurationError(str(refusal)) from None
        for name in changes:
            setattr(self, name, getattr(changed, name))

    def as_dict(self) -> dict[str, Any]:
        """Return every setting and its value."""
        return asdict(self)


DESCRIPTIONS: Mapping[str, str] = {one.name: str(one.metadata["en"]) for one in fields(Settings)}
"""What each setting does, in English."""


def parse_setting(text: str) -> tuple[str, object]:
    """Read ``NAME=VALUE``; a value that is JSON is read as JSON, anything else is a text.

    Raises:
        ConfigurationError: ``text`` is not of this form.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigurationError(f"a setting is NAME=VALUE, not {text!r:.60}", hint="such as settle_seconds=0")
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        return name, value
