"""A small study on digits, and what the tests of search and tuning run it with."""

from functools import partial
from pathlib import Path

import pytest

from gansearch.analysis.configurations import best_first
from gansearch.analysis.evidence import gather
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.journal import Journal
from gansearch.journal.stored import StoredStudy
from gansearch.search.proposer import Proposer
from gansearch.study.document import parse_document
from gansearch.study.records import Report
from gansearch.study.starting import Given
from gansearch.training.validation import read_study
from gansearch.tuning.creation import create
from gansearch.tuning.ledger import Ledger
from gansearch.tuning.where import Where


def best_of(study: StoredStudy) -> Given:
    """The configurations with which a search begins that begins with those of a study."""
    return best_first(gather(study))


STUDY = """
data: {name: digits}
generator: {name: mlp, depth: {int: [1, 3]}, width: 16}
discriminator: {name: mlp, depth: 1, width: 16}
loss:
  choice:
    - hinge
    - {name: wasserstein, penalty: {name: gradient-penalty, weight: {log: [0.1, 100]}}}
optimizer:
  generator: {lr: {log: [1e-5, 1e-1]}}
  discriminator: {lr: {log: [1e-5, 1e-1]}}
batch_size: 16
budget: {steps: 90, report_every: 10}
evaluation: {samples: 50}
search: {trials: 8}
pruner: {name: asha, reduction_factor: 3}
keep: 2
"""


@pytest.fixture(scope="session")
def spec():
    """The study above, with changes at its end: `spec("search: {trials: 3}")` replaces a key."""

    def make(changes: str = ""):
        keys = {line.partition(":")[0] for line in changes.splitlines()}
        kept, skipping = [], False
        for line in STUDY.splitlines():
            skipping = line.partition(":")[0] in keys if line[:1].strip() else skipping
            if not skipping:
                kept.append(line)
        document = parse_document("\n".join(kept) + "\n" + changes, "study.yaml")
        return read_study(document, Path())[0]

    return make


@pytest.fixture
def where(tmp_path_factory):
    return Where(data=str(tmp_path_factory.getbasetemp() / "data"), tracking="off")


@pytest.fixture
def make_ledger(tmp_path):
    """A ledger over a journal in a fresh directory; called again, as a resumed driver would."""

    def make(spec, mirror=None) -> Ledger:
        directory = StudyDirectory(tmp_path / "runs" / "study")
        if not directory.path.exists():
            create(spec, StoredStudy(directory), None)
        journal = Journal.open(directory.path, "study", writer=True)
        source = partial(Proposer, spec)
        return Ledger(source, directory, journal, mirror, keep=spec.plan.keep)

    return make


@pytest.fixture(scope="session")
def report():
    def make(step, value, outcome=None, reason=""):
        metrics = {"fd_classifier": value, "diversity": 1.0}
        return Report(step, step * 16, step * 0.1, metrics, 0.0, outcome, reason)

    return make
