"""The two languages of the pages."""

import re
import string
from pathlib import Path

import attrs
import pytest

from paystar_async.sandbox import FaultKind, Settings
from paystar_async.sandbox.pages import render
from paystar_async.sandbox.pages.language import Language, accepted_language, language_of
from paystar_async.sandbox.pages.texts import FAULTS, TEXTS

FA, EN = Language.FA, Language.EN
TEMPLATES = Path(render.__file__).parent / "templates"


def places(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


def test_persian_writes_numbers_in_its_own_digits_and_separators() -> None:
    assert (FA.number(1_512_005), EN.number(1_512_005)) == ("۱٬۵۱۲٬۰۰۵", "1,512,005")
    assert (FA.toman(1_512_005), EN.toman(1_512_005)) == ("۱۵۱٬۲۰۰٫۵", "151,200.5")
    assert (FA.toman(50_000), EN.toman(0)) == ("۵٬۰۰۰", "0")


def test_a_moment_is_tehrans_by_the_languages_calendar() -> None:
    assert FA.day_and_time(1_767_225_600.0) == "۱۴۰۴/۱۰/۱۱ ۰۳:۳۰:۰۰"
    assert EN.day_and_time(1_767_225_600.0) == "2026-01-01 03:30:00"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (600, "10 min"), (3_600, "1 h"), (86_400, "1 d")]
)
def test_a_span_is_told_in_its_largest_unit(seconds: float, said: str) -> None:
    assert EN.span(seconds) == said


@pytest.mark.parametrize("key", TEXTS)
def test_a_text_says_the_same_things_in_both_languages(key: str) -> None:
    persian, english = TEXTS[key]
    assert places(persian) == places(english)
    assert persian.strip()
    assert not re.search("[۰-۹\u0600-\u06ff]", english)


def test_every_text_a_template_asks_for_is_there_and_none_is_left_over() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES.iterdir())
    asked = set(re.findall(r'say\("([^"]+)"(?! ~)', source))
    endings = set(re.findall(r'say\("([^"]+ )" ~', source))
    assert asked <= set(TEXTS)
    elsewhere = {
        "language",
        "card invalid",
        "card other",
        *(key for key in TEXTS if key.startswith(("span", "refusal"))),
    }
    left = {key for key in set(TEXTS) - asked - elsewhere if not any(key.startswith(start) for start in endings)}
    # A section's name comes from a list.
    assert not {key for key in left if f'"{key}"' not in source}


def test_every_fault_and_every_setting_is_told_in_persian_too() -> None:
    assert set(FAULTS) == set(FaultKind)
    for setting in attrs.fields(Settings):
        assert re.search("[آ-ی]", setting.metadata["fa"]), setting.name
        assert setting.metadata["en"].isascii(), setting.name


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", EN),
        ("fa", FA),
        ("fa-IR,fa;q=0.9,en;q=0.5", FA),
        ("en-US,en;q=0.9,fa;q=0.8", EN),
        ("de, fa;q=0.1", FA),
        ("fa;q=x, en;q=0.1", EN),
        ("*", EN),
    ],
)
def test_the_language_a_browser_likes_best(header: str, language: Language) -> None:
    assert accepted_language(header) is language


def test_a_language_that_is_none_falls_back() -> None:
    assert language_of("en") is EN
    assert language_of("xx") is language_of(None) is FA
    assert language_of(["en"], EN) is EN
    assert (FA.other, EN.other, FA.dir, EN.dir) == (EN, FA, "rtl", "ltr")
