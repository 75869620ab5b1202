"""The study that these tests share, and what they run it with."""

from studies import launch, make_ledger, places, report, spec  # noqa: F401
