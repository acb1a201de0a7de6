"""The two languages of the pages: which one is meant, and how each writes numbers."""

import re
from enum import StrEnum

from paystar_async.sandbox.clock import jalali, tehran
from paystar_async.sandbox.pages.texts import TEXTS

_PERSIAN = str.maketrans("0123456789,.", "۰۱۲۳۴۵۶۷۸۹٬٫")
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_WEIGHT = re.compile(r"([01](\.[0-9]{0,3})?)?")


class Language(StrEnum):
    """A language a page can be in."""

    FA = "fa"
    EN = "en"

    @property
    def dir(self) -> str:
        """The direction its lines run in."""
        return "rtl" if self is Language.FA else "ltr"

    @property
    def other(self) -> "Language":
        """The one to switch to."""
        return Language.EN if self is Language.FA else Language.FA

    def say(self, key: str, **values: object) -> str:
        """A text in this language, with the values put in."""
        return TEXTS[key][self is Language.EN].format(**values)

    def has(self, key: str) -> bool:
        """Whether there is such a text."""
        return key in TEXTS

    def number(self, value: float) -> str:
        """A number, grouped, in this language's digits."""
        return self.digits(f"{value:,}")

    def digits(self, text: object) -> str:
        """The digits and separators of a text, as this language writes them."""
        return str(text).translate(_PERSIAN) if self is Language.FA else str(text)

    def toman(self, rial: int) -> str:
        """So many Rial in Toman: a tenth, with a fraction only where there is one."""
        whole, rest = divmod(rial, 10)
        return self.digits(f"{whole:,}.{rest}" if rest else f"{whole:,}")

    def span(self, seconds: float) -> str:
        """A span of time, in its largest unit."""
        unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= 2 * size or size == seconds), _UNITS[-1])
        return self.say(f"span {unit}", n=self.number(int(seconds // size)))

    def day_and_time(self, timestamp: float) -> str:
        """A moment in Tehran, by this language's calendar."""
        moment = tehran(timestamp)
        if self is Language.EN:
            return f"{moment:%Y-%m-%d %H:%M:%S}"
        year, month, day = jalali(moment.date())
        return self.digits(f"{year}/{month:02}/{day:02} {moment:%H:%M:%S}")


def language_of(wanted: object, fallback: Language = Language.FA) -> Language:
    """The language a field names, or the fallback."""
    return next((one for one in Language if one == wanted), fallback)


def accepted_language(header: str) -> Language:
    """The one of ours a browser likes best; English when it names neither."""
    liked = {str(one): 0.0 for one in Language}
    for part in header.split(","):
        name, _, weight = part.strip().lower().partition(";q=")
        language = name.partition("-")[0]
        if language in liked and _WEIGHT.fullmatch(weight):
            liked[language] = max(liked[language], float(weight or 1))
    return Language.FA if liked["fa"] > liked["en"] else Language.EN
