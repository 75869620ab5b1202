"""gansearch: hyperparameter search and stability studies for GANs.

    import gansearch
    result = gansearch.run("studies/quickstart.yaml")
    result.trials                       # a DataFrame, best first
    gansearch.export("quickstart", out="best")

Importing this package is cheap: torch, Ray and MLflow are loaded by what needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # so that a type checker, and an editor, see what `__getattr__` gives
    from gansearch.api import (
        Study,
        StudyResult,
        Where,
        check,
        compare,
        configurations,
        curves,
        evidence,
        export,
        find,
        load_study,
        parts,
        repair,
        replay,
        report,
        resume,
        run,
        sample,
        stability,
        status,
        submit,
        sync,
        train,
        trial_log,
        trials,
        ui,
    )

__version__ = "0.1.0"

__all__ = [
    "Study",
    "StudyResult",
    "Where",
    "check",
    "compare",
    "configurations",
    "curves",
    "evidence",
    "export",
    "find",
    "load_study",
    "parts",
    "repair",
    "replay",
    "report",
    "resume",
    "run",
    "sample",
    "stability",
    "status",
    "submit",
    "sync",
    "train",
    "trial_log",
    "trials",
    "ui",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("gansearch.api"), name)
    raise AttributeError(f"module 'gansearch' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
