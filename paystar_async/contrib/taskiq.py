"""taskiq: a client opened with each worker, as a dependency of tasks.

    broker = ...
    setup_paystar(broker)

    @broker.task
    async def wait_for_transfer(track_id: str, paystar: Paystar = PAYSTAR) -> str:
        return type(await paystar.transfers.wait(track_id=track_id)).__name__

Every queue may run a job twice. A job that moves money must get its ``track_id``, stored before, from the code that
queued it, and check the status (``find``, ``wait``) before it sends again; ``paystar.payouts`` does all of that, and a
job only has to wake it. Give all workers one ``keys=`` store, so that one worker refreshes the key for all.

The guides have programs for arq and Celery.
"""

from contextlib import AsyncExitStack
from typing import Annotated, Any, cast

from paystar_async.client import Paystar
from paystar_async.contrib._lifespan import ClientOrFactory, OnVerified, open_client
from paystar_async.errors import ConfigurationError, MissingExtra
from paystar_async.values.arguments import require_methods

try:
    from taskiq import AsyncBroker, Context, TaskiqDepends, TaskiqEvents, TaskiqState
except ImportError:
    raise MissingExtra("paystar_async.contrib.taskiq", "taskiq") from None


def setup_paystar(broker: AsyncBroker, make: ClientOrFactory = None, *, on_verified: OnVerified | None = None) -> None:
    """Open a client when a worker starts, and close it when the worker stops.

    Args:
        broker: the broker; its workers have the client in ``state.paystar``.
        make: a client, or a function called when the worker starts that returns a client (``lambda:
            Paystar(application=..., keys=...)``), so that importing the tasks needs no configuration; default:
            ``Paystar.from_env``.
        on_verified: fulfils an order; called for each verified payment at least once (``payments.on_verified``). With
            a handler, orders whose payer never came back are checked in the background; needs ``database=``.

    Raises:
        ConfigurationError: ``broker`` is not a broker.
    """
    require_methods("broker", broker, "add_event_handler", hint="broker=InMemoryBroker(), for example")
    stack = AsyncExitStack()

    async def start(state: TaskiqState) -> None:
        state.paystar = await stack.enter_async_context(open_client(make, on_verified))

    async def stop(_: TaskiqState) -> None:
        await stack.aclose()

    broker.add_event_handler(TaskiqEvents.WORKER_STARTUP, start)
    broker.add_event_handler(TaskiqEvents.WORKER_SHUTDOWN, stop)


async def paystar_of(context: Annotated[Context, TaskiqDepends()]) -> Paystar:
    """Return the worker's client.

    Raises:
        ConfigurationError: the broker was not set up with ``setup_paystar``, or is not started.
    """
    paystar = cast("object", context.state.get("paystar"))
    if not isinstance(paystar, Paystar):
        raise ConfigurationError(
            "this worker has no client", hint="call setup_paystar(broker) where the broker is created"
        )
    return paystar


PAYSTAR: Any = TaskiqDepends(paystar_of)
"""The worker's client, as a parameter of a task: ``paystar: Paystar = PAYSTAR``; omit it when queueing."""

PaystarDep = Annotated[Paystar, TaskiqDepends(paystar_of)]
"""The worker's client as in FastAPI, ``paystar: PaystarDep``; type checkers then demand it in ``kiq``, too."""
