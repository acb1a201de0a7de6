"""A server that holds responses back, and clients of real servers."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from attrs import define, field

from paystar_async import Application, MatchMobile
from paystar_async.blocking import BlockingPaystar

MATCH = MatchMobile(national_id="0012345679", mobile_number="09121234567")
WAIT_SECONDS = 20.0
"""Only a failing test waits so long."""


@define(eq=False)
class Server:
    """A server that says yes to every identity check, and accepts every transfer.

    Attributes:
        opened: connections opened so far.
        open_now: connections that are open.
        most_open: the largest number of connections open at once.
        requests: the paths requested.
        may_respond: while cleared, responses wait.
        arrived: set when a request has arrived.
    """

    url: str = ""
    opened: int = 0
    open_now: int = 0
    most_open: int = 0
    requests: list[str] = field(factory=list[str])
    may_respond: threading.Event = field(factory=threading.Event)
    arrived: threading.Event = field(factory=threading.Event)
    lock: threading.Lock = field(factory=threading.Lock)

    def client(self, **settings: Any) -> BlockingPaystar:
        return BlockingPaystar(
            application=Application(id="1", access_password="x", api_key="k"),
            base_url=self.url,
            max_retries=0,
            **settings,
        )


@contextmanager
def running_server() -> Generator[Server, None, None]:
    server = Server()
    server.may_respond.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            with server.lock:
                server.opened += 1
                server.open_now += 1
                server.most_open = max(server.most_open, server.open_now)

        def finish(self) -> None:
            super().finish()
            with server.lock:
                server.open_now -= 1

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server.requests.append(self.path)
            server.arrived.set()
            server.may_respond.wait(WAIT_SECONDS)
            data: object = {"is_matched": True}
            if "settlement" in self.path:
                data = [
                    {"hashid": each["track_id"], "track_id": each["track_id"], "status": "success"}
                    for each in body["transfers"]
                ]
            response = json.dumps({"status": 1, "message": "", "data": data}).encode()
            with suppress(ConnectionError):  # the client was interrupted
                self.send_response(200)
                self.send_header("content-length", str(len(response)))
                self.end_headers()
                self.wfile.write(response)

        def log_message(self, *_: object, **__: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        server.url = f"http://127.0.0.1:{http.server_port}/api"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.may_respond.set()
            http.shutdown()
            thread.join()


def loop_threads() -> list[threading.Thread]:
    """Return the event loop threads of blocking clients that are running."""
    return [thread for thread in threading.enumerate() if thread.name == "paystar_async event loop"]
