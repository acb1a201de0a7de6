"""The client for programs without an event loop: Django and Flask under WSGI, Celery, cron jobs, scripts.

    with BlockingPaystar.from_env() as paystar:
        paystar.transfers.balance(account_number="0100000000001")

All blocking clients of a process share one event loop in one thread, which begins at the first call. A client may be
used by any number of threads at once, and after a fork.
"""

from paystar_async.blocking.client import BlockingPaystar

__all__ = ["BlockingPaystar"]
