"""A trial in its worker: what it does when memory runs out. Called as Tune would, without Ray."""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import weakref
from pathlib import Path

import pytest
import torch

from gansearch import files
from gansearch.data.load import load
from gansearch.journal.directory import ERROR, LOG, StudyDirectory
from gansearch.study.config import TrialConfig
from gansearch.study.records import Outcome, Report
from gansearch.training import checkpoint, pack, settings
from gansearch.training.completion import complete
from gansearch.training.memory import CONTEXT, describe, is_out_of_memory
from gansearch.training.prepare import LocalPaths, prepare
from gansearch.training.trainer import Trainer
from gansearch.tuning.trainable import Begin, Told, Worker
from gansearch.tuning.where import TRAINER


@pytest.fixture(scope="module")
def digits():
    return load("digits", {}, root=Path(), split="train")


@pytest.fixture(scope="module")
def config(digits):
    """A small configuration that is out of memory with more than `room` images at once."""

    def make(room=4, calls=1, **sections) -> TrialConfig:
        tree = {
            "generator": {"name": "toys:HungryGenerator", "room": room, "calls": calls},
            "discriminator": {"name": "mlp", "depth": 1, "width": 16},
            "batch_size": 16,
            "latent_size": 8,
            "budget": {"steps": 20, "report_every": 5},
            "evaluation": {"samples": 50, "metrics": [{"name": "diversity"}]},
            "objective": {"metric": "diversity", "goal": "max"},
            "health": {"collapsed": False, "stalled": False},
        }
        completed, found = complete(TrialConfig.model_validate(tree | sections), digits.domain)
        assert not found
        return completed

    return make


@pytest.fixture(scope="module")
def reference(config, digits):
    return prepare(config(), digits, LocalPaths(Path(), Path()))


class Alone(Worker):
    """A worker with one trial, without Tune."""

    def __init__(self, **shared):  # Tune's own asks for its storage
        self.setup({}, **shared)
        self._queue = []

    def take(self, config, number=0, heard=0) -> None:
        """Have this trial and no other."""
        self.reset_config({})
        self.tell([handed(config, number, heard)])

    def next(self) -> Told:
        """What it tells next."""
        while not self._queue:
            self._queue += self.step()["told"]
        return self._queue.pop(0)


def handed(config, number=0, heard=0):
    return Begin(number, json.dumps(config.plain()), heard)


@pytest.fixture
def worker(tmp_path, digits, reference):
    """A worker on the study in `tmp_path`; options replace what it is set up with."""

    def make(**options) -> Alone:
        known = {"data": digits, "reference": reference, "trainer": TRAINER}
        return Alone(**known | {"directory": str(tmp_path / "study")} | options)

    return make


@pytest.fixture
def begin(worker):
    def make(config, number=0, heard=0, **options) -> Alone:
        alone = worker(**options)
        alone.take(config, number, heard)
        return alone

    return make


def run_out(alone):
    """All the reports that a trial tells, by step; it ends without an error."""
    found = {}
    while not (found and found[max(found)].outcome):
        told = alone.next()
        assert not told.failure
        found[told.report.step] = told.report
    return found


def exact(report):
    metrics = {k: v for k, v in report.metrics.items() if k != "images_per_second"}
    return report.step, report.images, metrics, report.outcome, report.reason


def test_a_report_says_what_the_machine_was_used_for_also_after_the_worker_has_died(begin, config):
    told_first = run_out(begin(config(room=16), number=6))
    for report in told_first.values():
        usage = report.usage
        assert usage["images_per_second"] > 0
        assert usage["process_cpu_utilization_percentage"] > 0
    again = run_out(begin(config(room=16), number=6))[20]  # of the checkpoint
    assert again.usage == told_first[20].usage


@pytest.mark.slow
def test_on_a_gpu_it_is_what_it_is_on_the_cpu(worker, config, digits, tmp_path, emulated_gpu):
    """Three trials in a share of one, as lanes and as a whole, and gone on with after its death."""
    configs = [config(room=16, generator={"name": "mlp", "width": 8}, seed=seed) for seed in range(3)]
    told = {}
    for device, gpus in (("cpu", 0.0), (emulated_gpu, 0.5)):
        places = LocalPaths(tmp_path, tmp_path)
        reference = prepare(configs[0], digits, places, device)
        shared = {"device": device, "gpus": gpus, "reference": reference, "lanes": 3}
        for life in range(2):
            one = worker(**shared, directory=str(tmp_path / device))
            one.reset_config({})
            one.tell([handed(each, number, heard=10 * life) for number, each in enumerate(configs)])
            for _ in range(2):
                for each in one.step()["told"]:
                    assert not each.failure
                    told[device, each.number, each.report.step] = each.report
    assert len(told) == 2 * 3 * 4
    for (device, number, step), ours in told.items():
        assert exact(ours) == exact(told["cpu", number, step])
        assert ("process_gpu_memory_peak_megabytes" in ours.usage) == (device != "cpu")


class Leaky(Trainer):
    """Says a password and a secret of its environment, then fails with both."""

    def advance(self):
        said = f"http://me:hunter2@weights.example/x with {os.environ['MLFLOW_TRACKING_TOKEN']}"
        print("from", said)
        raise OSError(f"cannot get {said}")


def test_what_a_trial_prints_and_how_it_fails_show_no_secret(begin, config, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "s3same-0pen")
    told_last = begin(config(room=16), number=7, trainer=f"{__name__}:Leaky").next()
    assert told_last.failure == "OSError: cannot get http://weights.example/x with ***"
    folder = tmp_path / "study" / "trials" / "0007"
    assert "from http://weights.example/x with ***" in (folder / "log.txt").read_text()
    error = (folder / "error.txt").read_text()
    assert "OSError: cannot get http://weights.example/x with ***" in error
    assert "hunter2" not in error


class Leaving(Trainer):
    """Has a part that leaves the process, or means to."""

    def advance(self):
        sys.exit("no such option")


def test_sys_exit_ends_the_trial_whose_it_is_and_not_its_worker(begin, config):
    told_last = begin(config(room=16), number=7, trainer=f"{__name__}:Leaving").next()
    assert told_last.failure == "SystemExit: no such option"


class Unsettling(Trainer):
    """Has a part that changes what all parts of the process share, and one that fails of it."""

    def advance(self):
        report = super().advance()
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(torch.get_num_threads() + 1)
        if self.config.seed:
            torch.set_grad_enabled(False)
            raise RuntimeError("no gradient")
        return report


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_trial_does_to_torch_is_not_done_to_the_next(begin, config, caplog, fails):
    asked = config(room=16).model_copy(update={"seed": int(fails)})
    told = begin(asked, number=3, trainer=f"{__name__}:Unsettling").next()
    assert settings.changed() == []
    assert torch.get_num_threads() == 1
    calls = "torch.set_default_dtype(torch.float64)"
    assert f"a part has called {calls}" in caplog.text
    if fails:
        assert told.failure.startswith(f"RuntimeError: no gradient, after a part has called {calls}")
        assert "torch.set_grad_enabled(False) and torch.set_num_threads(2)" in told.failure


def test_out_of_memory_from_the_start_it_trains_in_smaller_pieces(begin, config, digits, reference):
    results = run_out(begin(config(room=4), halve_batch=2))
    assert list(results) == [5, 10, 15, 20]
    last = results[20]
    assert last.outcome is Outcome.COMPLETED
    assert last.reason == "its batches of 16 were computed in 4 pieces"
    assert last.metrics["microbatches"] == 4

    known = Trainer(config(room=4), digits, reference)
    known.split(4)
    while not known.finished:
        known.advance()
    assert [exact(r) for r in results.values()] == [exact(r) for r in known.reports]


def test_out_of_memory_later_it_goes_on_from_its_last_checkpoint(begin, config, caplog):
    calls = 5 + 3  # in the middle of the way to the second report
    trial = begin(config(room=8, calls=calls), number=3, halve_batch=1)
    with caplog.at_level(logging.WARNING):
        results = run_out(trial)
    assert "trial 3 is out of memory" in caplog.text
    assert list(results) == [5, 10, 15, 20]
    found = [r.metrics.get("microbatches") for r in results.values()]
    assert found == [None, 2.0, 2.0, 2.0]
    assert results[20].outcome is Outcome.COMPLETED

    whole = run_out(begin(config(room=16, calls=calls), number=4))
    assert exact(results[5]) == exact(whole[5])
    assert exact(results[10]) != exact(whole[10])


def test_another_worker_goes_on_in_the_same_pieces(begin, config, tmp_path):
    setting = config(room=8)
    first = begin(setting, halve_batch=3)
    first.next()
    second = begin(setting)  # one that would not halve by itself
    results = run_out(second)
    assert results[20].metrics["microbatches"] == 2.0
    folder = StudyDirectory(tmp_path / "study").trial(0)
    assert checkpoint.latest(folder)["microbatches"] == 2
    assert [exact(r) for r in results.values()] == [
        exact(r) for r in run_out(begin(setting, number=1, halve_batch=3)).values()
    ]


LIMITS = {
    "not asked for": ({"halve_batch": 0}, {}, 1, "out of memory"),
    "so often": ({"halve_batch": 2}, {}, 3, "out of memory, even with its batches in 4 pieces"),
    "two images": (
        {"halve_batch": 9},
        {"batch_size": 5},
        2,
        "out of memory, even with its batches in 2",
    ),
}


@pytest.mark.parametrize(("options", "sections", "attempts", "reason"), LIMITS.values(), ids=LIMITS)
def test_at_most_so_often(begin, config, monkeypatch, options, sections, attempts, reason, tmp_path):
    made = []
    monkeypatch.setattr(Trainer, "load", None)  # there is no checkpoint to load
    trial = begin(config(room=1, **sections), **options)
    make = trial._make
    trial._make = lambda config: made.append(1) or make(config)
    told = trial.next()
    assert (told.report, len(made)) == (None, attempts)
    assert told.failure.startswith(reason)
    trace = StudyDirectory(tmp_path / "study").trial(0) / "error.txt"
    assert "Tried to allocate 1 GiB" in trace.read_text()
    trial.take(config(room=99), number=1)
    again = run_out(trial)[20]
    assert again.outcome is Outcome.COMPLETED
    assert "microbatches" not in again.metrics, "the next trial begins anew"


def test_what_was_too_large_is_gone_when_memory_is_given_back(begin, config, monkeypatch):
    trial = begin(config(room=4), halve_batch=2)
    make, made, left, collect = trial._make, [], [], gc.collect

    def watched(config):
        one = make(config)
        held = [one, one.generator, one._samples, *one.discriminator.parameters()]
        made.extend(map(weakref.ref, held))
        return one

    def collected():
        collect()
        left.append(sum(reference() is not None for reference in made))

    trial._make = watched
    monkeypatch.setattr(gc, "collect", collected)
    trial.next()
    assert left == [0, 0]
    assert len(made) > 3 * 6


def test_a_checkpoint_that_does_not_fit_is_not_tried_for_ever(begin, config, monkeypatch):
    trial = begin(config(room=99), halve_batch=2)
    trial.next()
    trial.take(config(room=99))
    attempts = []

    def load(self, state):
        attempts.append(1)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Trainer, "load", load)
    assert trial.next().failure == "out of memory, even with its batches in 4 pieces"
    assert len(attempts) == 3


class Plain:
    """A trainer that knows nothing of micro-batches."""

    finished = False

    def __init__(self, config, **_) -> None:
        self.reports: list[Report] = []

    def advance(self):
        raise MemoryError


def test_a_trainer_that_cannot_divide_its_batches_fails_at_once(begin, config, monkeypatch):
    monkeypatch.setattr(pack, "Plain", Plain, raising=False)
    trial = begin(config(), halve_batch=5, trainer="gansearch.training.pack:Plain")
    assert trial.next().failure == "out of memory"


def test_a_model_that_does_not_fit_at_all_fails_at_once(begin, config):
    trial = begin(config(), halve_batch=5)
    made = []

    def make(config):
        made.append(1)
        raise torch.OutOfMemoryError("CUDA out of memory")

    trial._make = make
    assert trial.next().failure == "out of memory"
    assert made == [1]


SAID = {
    "torch's": (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
    "python's": (MemoryError(), True),
    "cuda's": (torch.AcceleratorError("CUDA error: out of memory"), True),
    "cublas": (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
    "the cpu's": (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
    "another": (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    "a user's": (ValueError("out of memory of what I was to do"), False),
    "a lost gpu": (torch.AcceleratorError("CUDA error: an illegal memory access"), False),
}


@pytest.mark.parametrize(("error", "expected"), SAID.values(), ids=SAID)
def test_what_says_that_memory_is_short(error, expected):
    assert is_out_of_memory(error) is expected
    assert (describe(error) == "out of memory") is expected


def test_the_machine_s_own_want_of_memory_is_real(begin, config):
    """A real allocation that no machine can give, in torch's words of this version."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_a_lost_gpu_is_a_matter_for_another_worker(begin, config):
    trial = begin(config(), halve_batch=5)

    def make(config):
        raise torch.AcceleratorError("CUDA error: an illegal memory access")

    trial._make = make
    with pytest.raises(torch.AcceleratorError):
        trial.next()


GIB = 2**30


@pytest.mark.parametrize(
    ("gpus", "free", "limit", "warned"),
    [
        (0.25, 139.0, 0.25 * 140 - CONTEXT / GIB, False),
        (0.25, 10.0, 0.25 * 140 - CONTEXT / GIB, True),
        (0.001, 139.0, 0.07, False),
        (1, 1.0, None, False),
        (2, 1.0, None, False),
        (0, 1.0, None, False),
    ],
)
def test_a_share_of_a_gpu_is_a_share_of_its_memory(
    begin, config, monkeypatch, caplog, gpus, free, limit, warned
):
    limits = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (int(free * GIB), 140 * GIB))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", limits.append)
    with caplog.at_level(logging.WARNING):
        begin(config(), gpus=gpus)
    assert [share * 140 for share in limits] == ([] if limit is None else [pytest.approx(limit)])
    assert ("something else is using it" in caplog.text) is warned


def test_what_a_trial_prints_is_in_its_log_and_nowhere_else(begin, config, monkeypatch, capsys):
    trial = begin(config(room=16))
    genuine = Trainer.advance

    def talkative(trainer):
        print("step", trainer.step)
        print("a warning", file=sys.stderr)
        return genuine(trainer)

    trial.next()
    log = trial._directory.trial(0) / LOG
    assert not log.exists(), "nothing was printed"
    monkeypatch.setattr(Trainer, "advance", talkative)
    trial.next()
    assert log.read_text() == "step 5\na warning\n"
    trial.next()
    assert log.read_text().count("a warning") == 2
    assert capsys.readouterr() == ("", "")
    print("mine again")
    assert capsys.readouterr().out == "mine again\n"


def test_in_an_object_store_a_trial_is_as_on_a_disk_its_log_and_error_too(
    begin, config, monkeypatch, bucket, tmp_path
):
    genuine = Trainer.advance

    def talkative(trainer):
        print("step", trainer.step)
        if trainer.step == 10:
            raise RuntimeError("a bug of the user's")
        return genuine(trainer)

    monkeypatch.setattr(Trainer, "advance", talkative)
    found = []
    for place in (tmp_path / "study", files.place(f"{bucket}/study")):
        directory = StudyDirectory(place)
        first = begin(config(room=16), directory=str(directory.path))
        assert first.next().report.step == 5
        second = begin(config(room=16), directory=str(directory.path))  # the first one's worker died
        results = [second.next() for _ in range(3)]
        assert results[-1].failure == "RuntimeError: a bug of the user's"
        folder = directory.trial(0)
        assert files.read(folder / LOG) == b"step 0\nstep 5\nstep 10\n"
        assert files.read(folder / ERROR).decode().endswith("RuntimeError: a bug of the user's\n")
        names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        found.append((names, [exact(told.report) for told in results[:-1]]))
    assert found[0] == found[1]


def test_checkpoints_of_another_configuration_are_left_and_the_trial_begins_afresh(tmp_path, config):
    from gansearch.tuning.trial_folder import TrialFolder

    directory, mine, other = StudyDirectory(tmp_path), config(), config(latent_size=4)
    checkpoint.save(directory.trial(3), 5, {"config": other.plain(), "step": 5})
    folder = TrialFolder(directory, 3, mine)
    assert folder.latest() is None
    folder.log.keep()
    assert "begun afresh" in (directory.trial(3) / LOG).read_text()
    assert not checkpoint.steps(directory.trial(3)), "nor does a later worker find them"
    checkpoint.save(directory.trial(3), 5, {"config": mine.plain(), "step": 5})
    assert TrialFolder(directory, 3, mine).latest()["step"] == 5


def test_checkpoints_of_the_same_training_are_kept(tmp_path, config):
    """Health rules judge a training and do not change it; an option that a network got later is its
    default in what was written before.
    """
    from gansearch.tuning.trial_folder import TrialFolder

    directory, mine = StudyDirectory(tmp_path), config(health={"stalled": False})
    mine = TrialConfig.model_validate(mine.plain() | {"discriminator": {"name": "mlp", "depth": 3}})
    older = config().plain() | {"discriminator": {"name": "mlp"}}
    checkpoint.save(directory.trial(3), 5, {"config": older, "step": 5})
    assert TrialFolder(directory, 3, mine).latest()["step"] == 5
