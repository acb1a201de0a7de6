"""The texts of the pages: complete and alike in both languages."""

import re
import string
from pathlib import Path

import attrs
import pytest

from paystar_async.sandbox import FaultKind, Settings
from paystar_async.sandbox.pages import render
from paystar_async.sandbox.pages.texts import FAULTS, TEXTS

TEMPLATES = Path(render.__file__).parent / "templates"


def placeholders(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


@pytest.mark.parametrize("key", TEXTS)
def test_texts_have_same_placeholders_in_both_languages(key: str) -> None:
    persian, english = TEXTS[key]
    assert placeholders(persian) == placeholders(english)
    assert persian.strip()
    assert not re.search("[۰-۹\u0600-\u06ff]", english)


def test_texts_are_exactly_those_of_templates() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES.iterdir())
    used = set(re.findall(r'gettext\("([^"]+)"(?! ~)', source))
    prefixes = set(re.findall(r'gettext\("([^"]+ )" ~', source))
    assert used <= set(TEXTS)
    used_in_python = {
        "language",
        "card invalid",
        "card other",
        *(key for key in TEXTS if key.startswith(("span", "refusal"))),
    }
    unused = {
        key for key in set(TEXTS) - used - used_in_python if not any(key.startswith(prefix) for prefix in prefixes)
    }
    # The names of sections are in a list of the template.
    assert not {key for key in unused if f'"{key}"' not in source}


def test_faults_and_settings_have_persian_descriptions() -> None:
    assert set(FAULTS) == set(FaultKind)
    for setting in attrs.fields(Settings):
        assert re.search("[آ-ی]", setting.metadata["fa"]), setting.name
        assert setting.metadata["en"].isascii(), setting.name
