"""A worker that waits for transfers to end, in taskiq: ``taskiq worker tests.examples.taskiq_worker:broker``.

The sender stores the ``track_id`` of a transfer first, then queues it; the job only looks it up, so it may run twice.
"""

from taskiq import InMemoryBroker

from paystar_async import Paystar
from paystar_async.contrib.taskiq import PAYSTAR, setup_paystar
from paystar_async.outcomes import Failed, Pending, Succeeded, Unknown

broker = InMemoryBroker()  # in production: Redis, RabbitMQ, NATS
setup_paystar(broker)


@broker.task
async def wait_for_transfer(track_id: str, paystar: Paystar = PAYSTAR) -> str:
    match await paystar.transfers.wait(track_id=track_id, timeout=60):
        case Succeeded(ref_code=ref_code):
            return f"paid: {ref_code}"
        case Failed(reason=reason):
            return f"no money moved: {reason}"
        case Pending(reason=reason) | Unknown(reason=reason):
            return f"queue it again: {reason}"
