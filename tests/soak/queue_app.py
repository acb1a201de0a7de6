"""The queue module of a service: the procrastinate app, the client and the dispatcher between them."""

import json
import os
from pathlib import Path

from procrastinate import App, PsycopgConnector

from paystar_async.contrib.procrastinate import ProcrastinateDispatcher
from tests.soak import payout_workers

_settings = json.loads(Path(os.environ["PAYSTAR_SOAK"]).read_text("utf-8"))

app = App(
    connector=PsycopgConnector(conninfo=_settings["ledger"], min_size=1, max_size=4),
    worker_defaults={"update_heartbeat_interval": 0.5, "stalled_worker_timeout": 2.0},
)
paystar = payout_workers.client(_settings)
dispatcher = ProcrastinateDispatcher(app, paystar, sweep="* * * * * *", stalled=2.0)
