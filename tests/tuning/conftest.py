"""What these tests share: a study, and what they run it with."""

from studies import make_ledger, report, spec, where  # noqa: F401
