"""The figures of fresh processes: imports, batches, and what a client holds in memory."""

from collections.abc import Callable, Sequence

from benchmarks.alone import fresh, importing
from benchmarks.figures import Cell, Goal
from benchmarks.measure import paired, spread
from benchmarks.server import Place

IN_FLIGHT = 16
Told = Callable[[str], None]


def imports(_: Place, rounds: int, told: Told, *, quick: bool) -> list[Cell]:
    """``import paystar_async`` beside ``import httpx``, in turn."""
    del quick
    ours, theirs, clients = [], [], []
    for number in range(rounds + 1):
        ours.append(importing("paystar_async"))
        theirs.append(importing("httpx"))
        clients.append(importing("paystar_async; paystar_async.Paystar()"))
        told(f"imports: round {number} of {rounds}")
    ours, theirs = ours[1:], theirs[1:]  # the first one reads the disk
    above = [one["rss"] - other["rss"] for one, other in zip(ours, theirs, strict=True)]
    ratio = paired([one["cpu"] for one in ours], [one["cpu"] for one in theirs])
    built = paired([one["cpu"] for one in clients[1:]], [one["cpu"] for one in theirs])
    return [
        Cell("CPU", Goal("≤", 1.5, 0.8), ratio),
        Cell("RSS above it", Goal("≤", 8, 5), spread(above), "MB"),
        Cell("CPU, a client made", None, built),
        Cell("its RSS", None, spread([one["rss"] for one in clients[1:]]), "MB"),
    ]


def _batches(place: Place, who: str, count: int, chunk: int, port: str = "plain") -> dict[str, float]:
    return fresh("benchmarks.batch", who, count, chunk, IN_FLIGHT, place.url(port))


def memory(place: Place, rounds: int, told: Told, *, quick: bool) -> list[Cell]:
    """The peak of a large batch by that of a small one, and how late the loop came to other things meanwhile."""
    many, few = 100_000 if quick else 1_000_000, 10_000
    large: list[dict[str, float]] = []
    small: list[dict[str, float]] = []
    script: list[dict[str, float]] = []
    for number in range(rounds):
        small.append(_batches(place, "ours", few, 500))
        large.append(_batches(place, "ours", many, 500))
        script.append(_batches(place, "script", few, 500))
        told(f"batches of {many:,}: round {number + 1} of {rounds}")
    return [
        Cell(f"{many:,} ÷ 10,000", Goal("≤", 1.15, 1.05), paired([o["rss"] for o in large], [o["rss"] for o in small])),
        Cell("peak", None, spread([one["rss"] for one in large]), "MB"),
        Cell("loop lag p99", Goal("≤", 10, 5), spread([one["lag"] for one in large]), "ms"),
        Cell("the script's", None, spread([one["lag"] for one in script]), "ms"),
    ]


def by_hand(place: Place, rounds: int, told: Told, *, quick: bool) -> list[Cell]:
    """CPU per transfer, by that of a script of one's own."""
    count = 5_000 if quick else 20_000
    ours: list[float] = []
    theirs: list[float] = []
    for number in range(rounds):
        ours.append(_batches(place, "ours", count, 500)["cpu"])
        theirs.append(_batches(place, "script", count, 500)["cpu"])
        told(f"batches by hand: round {number + 1} of {rounds}")
    return [
        Cell("chunks of 500", Goal("≤", 0.8, 0.6), paired(ours, theirs)),
        Cell("ours", None, spread(ours), "µs a transfer"),
    ]


def throughput(place: Place, rounds: int, told: Told, *, quick: bool) -> list[Cell]:
    """Transfers a second, by what the latency allows."""
    chunk, waves = 20, 5 if quick else 50
    count = IN_FLIGHT * chunk * waves
    allowed = IN_FLIGHT * chunk / 0.2
    reached: list[float] = []
    for number in range(rounds):
        reached.append(count / _batches(place, "ours", count, chunk, "200ms")["seconds"] / allowed)
        told(f"throughput: round {number + 1} of {rounds}")
    return [Cell("200ms, 16 in flight", Goal("≥", 0.95, 0.98), spread(reached))]


def held(subjects: Sequence[str], place: Place, told: Told) -> dict[str, float]:
    """Megabytes that each client holds at work, in a process of its own."""
    found: dict[str, float] = {}
    for name in subjects:
        found[name] = fresh("benchmarks.alone", name, IN_FLIGHT, place.url("plain"))["rss"]
        told(f"memory of a client at work: {name}")
    return found


ALONE: dict[str, tuple[str, Callable[..., list[Cell]]]] = {
    "import": ("import paystar_async ÷ import httpx, fresh processes", imports),
    "memory": ("peak RSS of a batch, many ÷ few; loop lag while it runs", memory),
    "by-hand": ("batch CPU per transfer ÷ a dict + json + httpx script", by_hand),
    "throughput": ("batch transfers a second ÷ what latency allows", throughput),
}
"""Lines that start processes of their own."""
