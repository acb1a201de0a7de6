"""The two languages of the pages: selection, texts and number formats."""

import re
from enum import StrEnum
from math import ceil

from starlette.requests import Request as HttpRequest

from paystar_async.sandbox.clock import to_jalali, to_tehran
from paystar_async.sandbox.pages.texts import TEXTS

_PERSIAN_DIGITS = str.maketrans("0123456789,.", "۰۱۲۳۴۵۶۷۸۹٬٫")
_UNIT_SECONDS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_QUALITY = re.compile(r"([01](\.[0-9]{0,3})?)?")


class Language(StrEnum):
    """A language of the pages."""

    FA = "fa"
    EN = "en"

    @property
    def direction(self) -> str:
        """Direction of the text, ``rtl`` or ``ltr``."""
        return "rtl" if self is Language.FA else "ltr"

    @property
    def other(self) -> "Language":
        """The other language, to switch to."""
        return Language.EN if self is Language.FA else Language.FA

    def gettext(self, key: str, **values: object) -> str:
        """Return a text in this language, formatted with the values."""
        return TEXTS[key][self is Language.EN].format(**values)

    def has_text(self, key: str) -> bool:
        """Return True if the text exists."""
        return key in TEXTS

    def format_number(self, value: float) -> str:
        """Format a number with thousands separators, in this language's digits."""
        return self.format_digits(f"{value:,}")

    def format_digits(self, text: object) -> str:
        """Return a text with its digits and separators as this language writes them."""
        return str(text).translate(_PERSIAN_DIGITS) if self is Language.FA else str(text)

    def format_toman(self, rial: int) -> str:
        """Format an amount in Rial as Toman: a tenth, with a fraction only if it is not 0."""
        toman, tenths = divmod(rial, 10)
        return self.format_digits(f"{toman:,}.{tenths}" if tenths else f"{toman:,}")

    def format_duration(self, seconds: float) -> str:
        """Format a duration in its largest unit."""
        unit, size = next(
            ((unit, size) for unit, size in _UNIT_SECONDS if seconds >= 2 * size or size == seconds), _UNIT_SECONDS[-1]
        )
        return self.gettext(f"span {unit}", n=self.format_number(int(seconds // size)))

    def format_countdown(self, seconds: float) -> str:
        """Format the time left as minutes and seconds, such as ``14:59``."""
        return self.format_digits(":".join(f"{part:02}" for part in divmod(ceil(seconds), 60)))

    def format_timestamp(self, timestamp: float) -> str:
        """Format a timestamp in Tehran time, by this language's calendar."""
        moment = to_tehran(timestamp)
        if self is Language.EN:
            return f"{moment:%Y-%m-%d %H:%M:%S}"
        year, month, day = to_jalali(moment.date())
        return self.format_digits(f"{year}/{month:02}/{day:02} {moment:%H:%M:%S}")


def parse_language(value: object, fallback: Language = Language.FA) -> Language:
    """Return the language that a field names, or the fallback."""
    return next((language for language in Language if language == value), fallback)


def request_language(request: HttpRequest) -> Language:
    """Return the language that a request's query names, or that its browser prefers."""
    accepted = preferred_language(request.headers.get("accept-language", ""))
    return parse_language(request.query_params.get("lang"), accepted)


def preferred_language(header: str) -> Language:
    """Return the language that an Accept-Language header prefers; English if it names neither."""
    qualities = {str(language): 0.0 for language in Language}
    for part in header.split(","):
        name, _, quality = part.strip().lower().partition(";q=")
        language = name.partition("-")[0]
        if language in qualities and _QUALITY.fullmatch(quality):
            qualities[language] = max(qualities[language], float(quality or 1))
    return Language.FA if qualities["fa"] > qualities["en"] else Language.EN
