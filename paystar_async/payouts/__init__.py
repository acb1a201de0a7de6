"""Payouts that pay once: a ledger, and one function that moves money."""

from typing import TYPE_CHECKING

from paystar_async.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from paystar_async.payouts.batch import Batch
    from paystar_async.payouts.models import Policy
    from paystar_async.payouts.report import Report

__all__ = ["Batch", "Policy", "Report"]

__getattr__, __dir__ = lazy_names(__name__, {"Batch": "batch", "Policy": "models", "Report": "report"})
