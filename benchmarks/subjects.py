"""Everything that is measured, by name."""

from collections.abc import Mapping

from benchmarks.measure import Subject
from benchmarks.ours import OURS
from benchmarks.peers import PEERS

SUBJECTS: Mapping[str, Subject] = {**OURS, **PEERS}
