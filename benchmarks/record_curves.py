"""Records whole curves of some search spaces, on which `benchmarks.allocation` plays policies.

    python -m benchmarks.record_curves ring|digits|fashion FOLDER [--data DIR] [--trials 104]
                                       [--seeds 3] [--when-load-below 4]
    python -m benchmarks.record_curves dense FOLDER --trials 800 --lanes 32
    python -m benchmarks.record_curves pack FOLDER       writes benchmarks/tables/NAME.json.gz

Nothing is pruned; health rules end what they would end in a study. Every report costs what it costs in
processor time, so that a busy machine makes no difference. The configurations are drawn beforehand, by
their number: number 0 is the default, of five others three are random and two lie around the default;
with --seeds 3 the default and one in ten of the others are trained on three seeds. What is in
FOLDER already is not trained again, so a recording may be broken off and gone on with, by
several processes at once.

With --lanes, those that differ in numbers alone are trained as one, as a study with `resources.lanes`
does, and a report costs its share of what that took; one process. `dense` is the ring again with small
networks, so that there can be many of them, from which a search has more to learn.

By a hash of its point each configuration belongs to the half on which policies may be tuned, or to the
half on which they are judged; the default, which every search tries first, belongs to both.
"""

from __future__ import annotations

import argparse
import fcntl
import gzip
import hashlib
import json
import math
import os
import platform
import random
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gansearch.study.config import TrialConfig
    from gansearch.study.records import Report
    from gansearch.study.spec import StudySpec
    from gansearch.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
TABLES = Path(__file__).parent / "tables"
STUDIES: dict[str, tuple[str, dict[str, Any]]] = {
    "ring": ("ring.yaml", {"budget": {"steps": 1500, "report_every": 125}, "pruner": "none"}),
    "dense": (
        "ring.yaml",
        {
            "generator.width": 64,
            "discriminator.width": 64,
            "batch_size": 128,
            "budget": {"steps": 1500, "report_every": 125},
            "evaluation.metrics": ["mode_overlap"],
            "pruner": "none",
        },
    ),
    "digits": (
        "quickstart.yaml",
        {
            "generator.depth": {"int": [1, 3]},
            "discriminator.depth": {"int": [1, 3]},
            "batch_size": 64,
            "optimizer.generator.lr": {"log": [1e-5, 1e-1]},
            "optimizer.discriminator.lr": {"log": [1e-5, 1e-1]},
            "budget": {"steps": 1500, "report_every": 125},
            "pruner": "none",
        },
    ),
    "fashion": (
        "fashion_mnist.yaml",
        {
            "data.image_size": 16,
            "generator.width": 8,
            "discriminator.width": 8,
            "batch_size": 32,
            "budget": {"steps": 300, "report_every": 25},
            "evaluation.samples": 500,
            "evaluation.real_samples": 5000,
            "pruner": "none",
        },
    ),
}
"""The study files that are recorded, and what is different from them."""

REPEATED = 10
"""One configuration in so many is trained on several seeds, and the default."""

SPREAD = 0.15
"""Standard deviation of the points around the default, as a share of their axis."""

Point = dict[str, Any]
Tree = dict[str, Any]
Job = tuple[int, int]
"""A configuration's number, and which of its seeds."""


def spec_of(name: str, data: Path) -> StudySpec:
    """The study that a table is recorded of."""
    from gansearch.training.validation import load_study  # noqa: PLC0415

    file, changes = STUDIES[name]
    spec, _ = load_study(ROOT / "studies" / file, data, changes)
    return spec


def point(spec: StudySpec, number: int) -> tuple[str, Point]:
    """How a configuration was drawn, and where it lies."""
    from gansearch.study.axes import Axis, Choice, Float  # noqa: PLC0415

    draws = random.Random(f"recorded {number}")
    kind = "default" if number == 0 else "random" if number % 5 in (1, 2, 3) else "around the default"
    default = spec.default.plain() if spec.default else {}

    def known(name: str, axis: Axis) -> Any:
        """The default's value; None where its configuration has no such axis."""
        node: Any = default
        for key in name.split("."):
            node = node.get(key) if isinstance(node, dict) else None
        if isinstance(axis, Choice):
            label = node["name"] if isinstance(node, dict) else node
            return label if label in axis.options else next(iter(axis.options))
        return node

    def suggest(name: str, axis: Axis) -> Any:
        middle = known(name, axis)
        if isinstance(axis, Choice):
            near = kind == "default" or (kind != "random" and draws.random() < 0.5)
            return middle if near else draws.choice(list(axis.options))
        log = isinstance(axis, Float) and axis.log
        low, high = (math.log(end) if log else float(end) for end in axis.ends())
        own = None if middle is None else math.log(middle) if log else float(middle)
        middle = (low + high) / 2 if own is None else own
        if kind == "default":
            at = middle
        elif kind == "random" and not isinstance(axis, Float):
            return draws.randint(*axis.ends())
        elif kind == "random":
            at = draws.uniform(low, high)
        else:
            at = math.inf
            while not low <= at <= high:
                at = draws.gauss(middle, SPREAD * (high - low))
        value = math.exp(at) if log else at
        return min(max(value, axis.low), axis.high) if isinstance(axis, Float) else round(value)

    return kind, spec.space.point(suggest)


def half(values: Point) -> str:
    """`tune` or `judge`, by a hash of where a configuration lies."""
    seen = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).digest()
    return ("tune", "judge")[seen[0] % 2]


def jobs(count: int, seeds: int) -> Iterator[Job]:
    """(number, repeat), in the order in which they are to be recorded."""
    yield from ((number, 0) for number in range(count))
    yield from ((number, repeat) for repeat in range(1, seeds) for number in range(0, count, REPEATED))


def claim(name: str, folder: Path, job: Job) -> bool:
    """Whether a job is this process's to do: no other that lives has begun it."""
    path = folder / f"{name}-{job[0]}-{job[1]}.claim"
    try:
        with path.open("x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        try:
            os.kill(int(path.read_text()), 0)
        except (ProcessLookupError, ValueError):
            path.write_text(str(os.getpid()))
            return True
        return False
    return True


class Recorder:
    """Trains configurations of a study and writes each curve down when it has ended.

    Args:
        name: of the study.
        folder: where the lines go.
        data_root: where data are.
    """

    def __init__(self, name: str, folder: Path, data_root: Path) -> None:
        from gansearch.data.load import load  # noqa: PLC0415
        from gansearch.training.prepare import LocalPaths, prepare  # noqa: PLC0415

        self.name, self.folder = name, folder
        self.spec, places = spec_of(name, data_root), LocalPaths.of_environment(data_root)
        example = self.spec.example()
        part, root = example.data, places.data
        self._data = load(part.name, part.options, root=root, split="train", image_size=part.image_size)
        self._reference = prepare(example, self._data, places)

    def config(self, number: int, repeat: int) -> TrialConfig:
        """What is trained as a configuration's number, with the seed of a repeat."""
        from gansearch.study.config import TrialConfig, trial_seed  # noqa: PLC0415
        from gansearch.training.completion import complete  # noqa: PLC0415

        seed = trial_seed(repeat, number, "recorded")
        tree = self.spec.space.at(point(self.spec, number)[1])
        config, mistakes = complete(TrialConfig.model_validate({**tree, "seed": seed}), None)
        if mistakes:
            raise ValueError(f"{self.name} {number}: {mistakes}")
        return config

    def trainer(self, config: TrialConfig) -> Trainer:
        """A training that has not begun."""
        from gansearch.training.trainer import Trainer  # noqa: PLC0415

        return Trainer(config, self._data, self._reference)

    def each(self, todo: Iterable[Job], most: float) -> None:
        """Train one after another, while the machine's load is below `most`."""
        for job in todo:
            while os.getloadavg()[0] >= most:
                time.sleep(5)
            if job in recorded(self.name, self.folder) or not claim(self.name, self.folder, job):
                continue
            trainer, timed = self.trainer(config := self.config(*job)), Timed()
            while not trainer.finished:
                before = time.process_time()
                report = trainer.advance()
                timed.add(report, time.process_time() - before)
            self._write(job, config, timed)

    def together(self, todo: Iterable[Job], lanes: int) -> None:
        """Train those of one shape as one, so many at a time."""
        from gansearch.training.pack import Start  # noqa: PLC0415
        from gansearch.training.stacked.pack import FusedPack  # noqa: PLC0415
        from gansearch.training.stacked.shape import shape_of  # noqa: PLC0415

        done = recorded(self.name, self.folder)
        configs = {job: self.config(*job) for job in todo if job not in done}
        by_shape: dict[str, list[Job]] = {}
        for job, config in configs.items():
            by_shape.setdefault(shape_of(config), []).append(job)
        packs = [
            jobs_of_one[at : at + lanes]
            for at in range(0, max(map(len, by_shape.values()), default=0), lanes)
            for jobs_of_one in by_shape.values()
        ]
        for jobs_of_one in filter(None, packs):
            live = dict(enumerate(jobs_of_one))
            timed = {number: Timed() for number in live}
            pack = FusedPack(self.trainer, most=lanes)
            pack.begin([Start(number, configs[job]) for number, job in live.items()])
            while live:
                before = time.process_time()
                told = pack.advance()
                share = (time.process_time() - before) / max(len(told), 1)
                for number, report in told:
                    timed[number].add(report, share)
                    if report.outcome is not None:
                        job = live.pop(number)
                        pack.stop([number])
                        self._write(job, configs[job], timed[number])

    def _write(self, job: Job, config: TrialConfig, timed: Timed) -> None:
        number, repeat = job
        kind, values = point(self.spec, number)
        last = timed.reports[-1]
        line = {
            "number": number,
            "repeat": repeat,
            "kind": kind,
            "half": "both" if number == 0 else half(values),
            "seed": config.seed,
            "params": values,
            "outcome": last.outcome,
            "reason": last.reason,
            "reports": timed.lines,
        }
        with (self.folder / f"{self.name}.jsonl").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps(line) + "\n")
        best = config.best(timed.reports)
        told = f"{best.value:.4g}" if best else "nothing"
        took = f"{timed.seconds:.1f} s of {time.perf_counter() - timed.begun:.1f}"
        print(self.name, number, repeat, kind, last.outcome, last.step, told, took, flush=True)


class Timed:
    """A training's reports, and the processor seconds since its beginning at each."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.lines: list[Tree] = []
        self.seconds, self.begun = 0.0, time.perf_counter()

    def add(self, report: Report, seconds: float) -> None:
        """Take down a report that took so many seconds."""
        self.seconds += seconds
        self.reports.append(report)
        metrics = {k: _short(v) for k, v in report.metrics.items() if k != "images_per_second"}
        self.lines.append({"step": report.step, "seconds": round(self.seconds, 3), "metrics": metrics})


def recorded(name: str, folder: Path) -> dict[Job, Tree]:
    """What has been recorded, by number and repeat."""
    path = folder / f"{name}.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return {(one["number"], one["repeat"]): one for one in map(json.loads, lines)}


def pack(name: str, folder: Path, data_root: Path, version: str) -> None:
    """Write a table: what all curves share once, and each metric of a curve as one list."""
    import torch  # noqa: PLC0415

    import gansearch  # noqa: PLC0415

    found = recorded(name, folder)
    spec = spec_of(name, data_root)
    trials = []
    for key in sorted(found):
        one = dict(found[key])
        reports = one.pop("reports")
        names = list(reports[0]["metrics"])
        one["steps"] = [report["step"] for report in reports]
        one["seconds"] = [report["seconds"] for report in reports]
        one["metrics"] = {m: [report["metrics"].get(m) for report in reports] for m in names}
        trials.append(one)
    about = {
        "table": name,
        "recorded_with": f"gansearch {gansearch.__version__} at {version}",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": _processor(),
        "seconds": "processor time of one thread, training and evaluation, since the trial's beginning",
        "trials": len(trials),
        "configurations": len({one["number"] for one in trials}),
    }
    table = {"about": about, "study": spec.to_yaml(), "trials": trials}
    TABLES.mkdir(exist_ok=True)
    text = json.dumps(table, separators=(",", ":")).encode()
    (TABLES / f"{name}.json.gz").write_bytes(gzip.compress(text, 9, mtime=0))
    print(json.dumps(about, indent=1), (TABLES / f"{name}.json.gz").stat().st_size, "bytes")


def _short(value: float) -> float | str:
    """Five digits; a word where JSON has no number."""
    return float(f"{value:.5g}") if math.isfinite(value) else str(value)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=[*STUDIES, "pack"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=Path("~/.cache/gansearch/data").expanduser())
    parser.add_argument("--trials", type=int, default=104)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--when-load-below", type=float, default=math.inf, help="else wait")
    parser.add_argument("--lanes", type=int, default=1, help="trained as one")
    parser.add_argument("--version", default="", help="the commit that recorded, for `pack`")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.what != "pack":
        import torch  # noqa: PLC0415

        torch.set_num_threads(1)
        recorder, todo = Recorder(args.what, args.folder, args.data), jobs(args.trials, args.seeds)
        if args.lanes > 1:
            recorder.together(todo, args.lanes)
        else:
            recorder.each(todo, args.when_load_below)
        return
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    version = (
        args.version or subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    )
    for name in STUDIES:
        if recorded(name, args.folder):
            pack(name, args.folder, args.data, version)


if __name__ == "__main__":
    main()
