"""Every command as a function: good in a notebook, and what the command line itself calls."""

from gansearch.api.asking import Study, apart, check, lacking, load_study, parts, starts, untrained
from gansearch.api.clusters import job_logs, remote, submit, submit_resume
from gansearch.api.keeping import View, repair, report, sync, ui
from gansearch.api.models import export, sample, train
from gansearch.api.reading import (
    StudyLike,
    compare,
    configurations,
    curves,
    evidence,
    facts,
    find,
    status,
    trial_log,
    trials,
)
from gansearch.api.replaying import replay
from gansearch.api.running import StudyResult, resume, run, stability
from gansearch.tuning.where import Where

__all__ = [
    "Study",
    "StudyLike",
    "StudyResult",
    "View",
    "Where",
    "apart",
    "check",
    "compare",
    "configurations",
    "curves",
    "evidence",
    "export",
    "facts",
    "find",
    "job_logs",
    "lacking",
    "load_study",
    "parts",
    "remote",
    "repair",
    "replay",
    "report",
    "resume",
    "run",
    "sample",
    "stability",
    "starts",
    "status",
    "submit",
    "submit_resume",
    "sync",
    "train",
    "trial_log",
    "trials",
    "ui",
    "untrained",
]
