"""``paystar doctor`` lists every environment variable and shows no secret."""

import re
from pathlib import Path

import pytest

import paystar_async
from paystar_async.cli.environment import CREDENTIAL_VARIABLES, VARIABLES
from tests.cli.conftest import Run
from tests.cli.helpers import check_result

PACKAGE = Path(paystar_async.__file__).parent
ADDRESSES = (
    "https://u:CANARY@h.example/api",
    "redis//:CANARY@h",
    "redis:/:CANARY@h",
    "Redis://:CANARY@h",
    "redis://:CANARY@h:port/0",
    "postgres:/u:CANARY@h",
    "postgresql://u:CANARY@h:port/name",
    "host=h password=CANARY dbname=x",
    "host=h password='CAN CANARY",
    "https://h.example/api?password=CANARY",
)
SETTINGS = ("BASE_URL", "KEYS", "DATABASE", "ENGINE", "TIMEOUT", "APPLICATION_ID", "KEYS_FILE", "BASE_URL_FILE")


def test_doctor_shows_file_sources_and_misspelled_names(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text("hidden\n")
    monkeypatch.setenv("PAYSTAR_GATEWAY_ID_FILE", str(file))
    monkeypatch.setenv("PAYSTAR_SIGNKEY", "oops-secret")
    result = run("doctor", "--offline")
    assert f"file {file}" in result.out
    assert result.status == 1
    assert check_result(result.out, "PAYSTAR_SIGNKEY").startswith("bad")
    assert "did you mean PAYSTAR_SIGN_KEY?" in check_result(result.out, "PAYSTAR_SIGNKEY")
    assert not re.search("hidden|oops", result.out)


def test_doctor_names_the_nearest_of_an_unknown_variable(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTAR_CALLBACK_URL", "https://shop.example")
    monkeypatch.setenv("PAYSTAR_API_KEYS_FILE", "/run/secrets/key")
    out = run("doctor", "--offline").out
    assert check_result(out, "PAYSTAR_CALLBACK_URL").startswith("–     is not read; the nearest name that is: PAYSTAR_")
    assert check_result(out, "PAYSTAR_API_KEYS_FILE").startswith("bad   is not read: did you mean PAYSTAR_API_KEY?")


def test_variables_list_every_variable_the_package_reads() -> None:
    source = "".join((PACKAGE / name).read_text(encoding="utf-8") for name in ("config.py", "client/client.py"))
    assert set(re.findall(r'"(PAYSTAR_[A-Z_]+)"', source)) == set(VARIABLES)
    assert {name for names in CREDENTIAL_VARIABLES.values() for name in names} < set(VARIABLES)


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("setting", SETTINGS)
def test_doctor_shows_no_password_of_an_address(
    setting: str, address: str, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    for name in ("BASE_URL", "KEYS", "DATABASE", "ENGINE", "TIMEOUT"):
        if setting == f"{name}_FILE":
            monkeypatch.delenv(f"PAYSTAR_{name}", raising=False)
    monkeypatch.setenv(f"PAYSTAR_{setting}", address)

    result = run("doctor", "--offline")

    assert "CANARY" not in result.out + result.err
    assert not [path for path in tmp_path.rglob("*") if "CANARY" in path.name]
