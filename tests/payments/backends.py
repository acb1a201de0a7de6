"""The database of orders; every test that asks for ``backend`` runs on a file and on a server."""

import time

from paystar_async.payments.order_store import OrderStore
from paystar_async.runtime.clock import ManualClock
from paystar_async.storage.database import Database
from paystar_async.storage.factory import database as open_database
from paystar_async.values.secret import Secret
from tests.servers import execute_sql


class Backend:
    """The database of orders, shared by its stores; a server has its own clock."""

    def __init__(self, location: str) -> None:
        self._location = location
        is_server = location.startswith("postgresql://")
        self._clock = ManualClock() if is_server else ManualClock(start=time.time())
        self.now = time.time if is_server else self._clock.time
        self._opened: list[Database] = []

    def store(self, gateway: str = "gateway-1") -> OrderStore:
        """Return a new store on this database, as in another process."""
        self._opened.append(open_database(self._location, self._clock))
        return OrderStore(self._opened[-1], Secret(gateway))

    def sql(self, statement: str) -> None:
        """Execute a statement outside of the package."""
        execute_sql(self._location, statement)

    async def aclose(self) -> None:
        """Close all databases that were opened."""
        for database in self._opened:
            await database.aclose()
