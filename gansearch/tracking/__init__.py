"""MLflow, and nothing else knows it: it shows the trials' records, perhaps late, never wrong.

    tracker = Tracker(uri, "cifar-losses", metric="fd_classifier", goal="min", ...)
    tracker.submit(record)          # as often as a record changes; returns at once
    tracker.finish("FINISHED")      # sends the rest; returns how many trials could not be sent
    log_report(uri, "cifar-losses", [report], {"trial 7": {"rank": 1, "iqm": 24.1}})

Importing this package does not import mlflow: that costs a second, and is done by the tracker's own
thread.
"""

from __future__ import annotations

from gansearch.tracking.address import OFF, Store, address, default_store, store_of
from gansearch.tracking.away import why_away
from gansearch.tracking.report import log_report
from gansearch.tracking.server import Server, comparison_url, ui
from gansearch.tracking.tracker import Tracker, sync
from gansearch.tracking.translate import Phase, Status

__all__ = [
    "OFF",
    "Phase",
    "Server",
    "Status",
    "Store",
    "Tracker",
    "address",
    "comparison_url",
    "default_store",
    "log_report",
    "store_of",
    "sync",
    "ui",
    "why_away",
]
