"""What a fresh process pays: for an import, and for a client at work (``python -m benchmarks.alone SUBJECT …``)."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from typing import cast

from benchmarks.certificate import trusted
from benchmarks.measure import round_of, rss_megabytes

_IMPORT = """
import json, resource, time
def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20
before, used = held(), time.process_time()
import {module}
print(json.dumps({{"cpu": time.process_time() - used, "rss": held() - before}}))
"""


def _said(*command: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, check=True, env=os.environ)
    return cast("dict[str, float]", json.loads(done.stdout))


def importing(module: str) -> dict[str, float]:
    """Seconds of CPU and megabytes that an import costs a fresh process, with what is written behind it."""
    return _said("-c", _IMPORT.format(module=module))


def fresh(module: str, *arguments: object) -> dict[str, float]:
    """What a process of its own printed, which runs this module."""
    return _said("-m", module, *map(str, arguments))


async def _worked(subject: str, in_flight: int, url: str) -> dict[str, float]:
    from benchmarks.subjects import SUBJECTS

    held = rss_megabytes()
    async with SUBJECTS[subject](url, in_flight) as call:
        await round_of(call, 50 * in_flight, in_flight)
        return {"rss": rss_megabytes() - held}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, trusted(folder):
        print(json.dumps(asyncio.run(_worked(sys.argv[1], int(sys.argv[2]), sys.argv[3]))))
