"""Do the health rules know which trainings lose their modes? A confusion matrix against the truth.

    python -m benchmarks.lost_modes [--part judge]                     replays the recorded curves
    python -m benchmarks.lost_modes --part judge --record OUT.json.gz  trains them: minutes of one core

Small trainings of mixed health, without health rules, on the ring of 8 Gaussians, the grid of 25 and
pairs of stacked digits (100 modes), twenty reports each. At each report 2,500 samples say which modes
are kept: those with at least a tenth of the samples that are their due. A sample is of the nearest
Gaussian, if it is nearer to it than half the way to that one's own neighbour, or of the classifier's
class. How good a sample is is another question. Of a training's kept modes after a tenth of its budget,
before which they may be those of an untrained generator's noise, as medians of three neighbouring
reports, the truth is

- `lost`: at the end no more than half of the most that it kept,
- `few`: never more than a quarter of all,
- `healthy`: at the end at least 80 % of the most that it kept, and at least a half of all,
- `between` the rest, of which nothing is demanded, and `non-finite` what ended so.

The rules are asked afterwards, on what they read in a study: the objective (`mode_overlap` or `fd_raw`
of points, `fd_classifier` of digits) and what every report holds. What is changed in the rules is
chosen on `tune`; `judge`, other configurations and seeds, is recorded afterwards, and says once how
well it does.

`--nearest` asks the truth as it was defined before: of all reports, and a sample is of the nearest
Gaussian however far it is, so that a speck in the middle of the ring keeps half its modes.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

FOLDER = Path(__file__).parent / "material"
MATERIAL = {"tune": FOLDER / "modes.json.gz", "judge": FOLDER / "modes_judge.json.gz"}
REPORTS = 20
SAMPLES = 2500
DUE = 0.1
"""Of the samples that are a mode's due, the share with which it is kept."""
COUNTS = ("kept", "nearest")
"""Columns of a curve: modes kept, and those that would be if no sample were too far from them."""

Tree = dict[str, Any]
Tell = Callable[[Any], dict[str, Any]]
MODES = {"ring": 8, "grid": 25, "stacked": 100}
OBJECTIVES = {
    "ring": {"mode_overlap": "max", "fd_raw": "min"},
    "grid": {"mode_overlap": "max", "fd_raw": "min"},
    "stacked": {"fd_classifier": "min"},
}
VERDICTS = ("completed", "collapsed", "stalled", "diverged")
TRUTHS = ("healthy", "between", "few", "lost", "non-finite")


def rates(generator: float, discriminator: float | None = None, beta1: float = 0.5) -> Tree:
    sides = {"generator": generator, "discriminator": discriminator or generator}
    return {"optimizer": {side: {"lr": lr, "beta1": beta1} for side, lr in sides.items()}}


def loss(name: str, penalty: str | None = None, **options: Any) -> Tree:
    return {"loss": {"name": name} | ({"penalty": {"name": penalty} | options} if penalty else {})}


CHANGES: dict[str, Tree] = {
    "usual": rates(1e-3),
    "r1, rates 1e-3": loss("non-saturating", "r1", weight=0.1) | rates(1e-3),
    "wasserstein alone, rates 1e-3": loss("wasserstein") | rates(1e-3),
    "rates 5e-3": rates(5e-3),
    "hinge, rates 5e-3": loss("hinge") | rates(5e-3),
    "wgan-gp": loss("wasserstein", "gradient-penalty", weight=1) | rates(2e-3),
    "momentum .9, rates 2e-3": rates(2e-3, beta1=0.9),
    "wasserstein alone, rates 3e-3": loss("wasserstein") | rates(3e-3),
    "r1, rates 1e-2": loss("non-saturating", "r1", weight=0.1) | rates(1e-2),
    "generator 5e-3": rates(5e-3, 5e-4),
    "hinge": loss("hinge") | rates(1e-3),
    "discriminator 5e-3": rates(2e-4, 5e-3),
    "least squares, rates 2e-3": loss("least-squares") | rates(2e-3),
    "rates 2e-2": rates(2e-2),
    "minimax, rates 2e-3": loss("minimax") | rates(2e-3),
    "wgan-gp, weak": loss("wasserstein", "gradient-penalty", weight=0.01) | rates(2e-3),
    "r1, rates 5e-3": loss("non-saturating", "r1", weight=0.1) | rates(5e-3),
    "wgan-gp, momentum .9": loss("wasserstein", "gradient-penalty", weight=1) | rates(5e-3, beta1=0.9),
    "two rates": rates(1e-3, 4e-3),
    "generator 2e-2": rates(2e-2, 1e-3),
    "r1, little": loss("non-saturating", "r1", weight=0.001) | rates(2e-3),
    "wasserstein alone, momentum .9": loss("wasserstein") | rates(1e-3, beta1=0.9),
    "rates 1e-2": rates(1e-2),
    "minimax, rates 1e-2": loss("minimax") | rates(1e-2),
}
"""What differs from the base; the name is the configuration's."""

MORE: dict[str, Tree] = {
    "rates 2e-3": rates(2e-3),
    "rates 1.5e-2": rates(1.5e-2),
    "momentum .9, rates 4e-3": rates(4e-3, beta1=0.9),
    "minimax, rates 5e-3": loss("minimax") | rates(5e-3),
    "hinge, rates 1.5e-2": loss("hinge") | rates(1.5e-2),
    "least squares, rates 5e-3": loss("least-squares") | rates(5e-3),
    "paired, rates 2e-3": loss("relativistic-paired") | rates(2e-3),
    "average, rates 5e-3": loss("relativistic-average") | rates(5e-3),
    "wasserstein alone, rates 2e-3": loss("wasserstein") | rates(2e-3),
    "wgan-gp, .03": loss("wasserstein", "gradient-penalty", weight=0.03) | rates(4e-3),
    "r1, .03": loss("non-saturating", "r1", weight=0.03) | rates(3e-3),
    "discriminator 1e-2": rates(5e-4, 1e-2),
}
"""Of two seeds each: the judge of the rules before, for tuning since it has been seen."""

FRESH: dict[str, Tree] = {
    "rates 3e-3": rates(3e-3),
    "rates 8e-3": rates(8e-3),
    "momentum .9, rates 3e-3": rates(3e-3, beta1=0.9),
    "two rates, 2e-3": rates(2e-3, 6e-3),
    "generator 1e-2": rates(1e-2, 1e-3),
    "minimax, rates 3e-3": loss("minimax") | rates(3e-3),
    "hinge, rates 1e-2": loss("hinge") | rates(1e-2),
    "least squares, rates 1e-2": loss("least-squares") | rates(1e-2),
    "paired, rates 5e-3": loss("relativistic-paired") | rates(5e-3),
    "average, rates 1e-2": loss("relativistic-average") | rates(1e-2),
    "wasserstein alone, rates 5e-3": loss("wasserstein") | rates(5e-3),
    "wgan-gp, .1": loss("wasserstein", "gradient-penalty", weight=0.1) | rates(3e-3),
    "r1, .3": loss("non-saturating", "r1", weight=0.3) | rates(2e-3),
    "paired, r1-r2": loss("relativistic-paired", "r1-r2", weight=0.1) | rates(2e-3),
}
"""The judge's, of two seeds each."""


def plan(part: str) -> dict[str, tuple[Tree, int]]:
    """The trainings of `tune` or `judge` by name: what differs from the base, and the seed."""
    if part == "judge":
        return dict(pairs(FRESH, 2000))
    once = {name: (change, seed) for seed, (name, change) in enumerate(CHANGES.items())}
    return once | dict(pairs(MORE, 1000))


def pairs(changes: dict[str, Tree], first: int) -> Iterator[tuple[str, tuple[Tree, int]]]:
    """Each of two seeds, by a name that tells which."""
    for i, (name, change) in enumerate(changes.items()):
        for seed in (first + 2 * i, first + 2 * i + 1):
            yield f"{name}, seed {seed}", (change, seed)


def base(kind: str) -> Tree:
    points = kind in ("ring", "grid")
    network = {"name": "mlp", "depth": 2, "width": 128 if kind == "ring" else 64, "norm": "none"}
    steps = {"ring": 1600, "grid": 1600, "stacked": 1200}[kind]
    stacked = {"name": "stacked-mnist", "source": "digits", "digits": 2, "samples": 20_000}
    metrics = ["mode_overlap", "fd_raw"] if points else ["fd_classifier"]
    return {
        "data": {"name": kind} if points else stacked,
        "generator": network,
        "discriminator": network,
        "latent_size": 2 if points else 32,
        "batch_size": 128 if kind == "ring" else 64,
        "ema": 0.99,
        "budget": {"steps": steps, "report_every": steps // REPORTS},
        "evaluation": {"metrics": metrics, "samples": 1000, "real_samples": 2000},
        "objective": {"metric": metrics[0], "goal": OBJECTIVES[kind][metrics[0]]},
        "health": {"diverged": False, "collapsed": False, "stalled": False},
    }


class Training:
    """One of them, and its curve so far: a list for each column."""

    def __init__(
        self,
        kind: str,
        name: str,
        planned: tuple[Tree, int],
        data: Any,
        places: Any,
        tell: Tell,
        reference: Any,
    ) -> None:
        from gansearch.study.config import TrialConfig  # noqa: PLC0415
        from gansearch.training.completion import complete  # noqa: PLC0415
        from gansearch.training.prepare import prepare  # noqa: PLC0415
        from gansearch.training.trainer import Trainer  # noqa: PLC0415

        self.kind, self.name, self._tell = kind, name, tell
        change, seed = planned
        tree = base(kind) | {"seed": seed}
        for key, value in change.items():
            tree[key] = tree[key] | value if key in ("generator", "discriminator") else value
        self.config, mistakes = complete(TrialConfig.model_validate(tree), data.domain)
        if mistakes:
            raise ValueError(f"{kind}, {name}: {mistakes}")
        self.reference = reference or prepare(self.config, data, places)
        self.trainer = Trainer(self.config, data, self.reference)
        self.columns: dict[str, list[float]] = {key: [] for key in ("step", *COUNTS)}

    def note(self, report: Any) -> None:
        """Write down a report, and which modes are kept."""
        from gansearch.training.sampling import EVALUATION_SEED  # noqa: PLC0415

        samples = self.trainer.generate(SAMPLES, self.config.seed + EVALUATION_SEED)
        self.columns["step"].append(report.step)
        for key, modes in self._tell(samples).items():
            self.columns[key].append(kept(modes, MODES[self.kind]))
        for key, value in report.metrics.items():
            if key not in ("images_per_second", "lanes"):
                self.columns.setdefault(key, []).append(float(f"{value:.4g}"))

    @property
    def over(self) -> bool:
        return bool(self.trainer.finished or -1 in self.columns["kept"])

    def curve(self) -> Tree:
        part: Tree = {"kind": self.kind, "name": self.name}
        scales = {name: self.trainer._evaluator.scale(name) for name in OBJECTIVES[self.kind]}
        part |= {"steps": self.config.budget.steps, "scales": scales}
        return part | {"columns": self.columns}


def record(kind: str, planned: dict[str, tuple[Tree, int]]) -> Iterator[Tree]:
    """Train, those of one shape as one; the curves."""
    from gansearch.data.load import load  # noqa: PLC0415
    from gansearch.study.config import TrialConfig  # noqa: PLC0415
    from gansearch.training.prepare import LocalPaths  # noqa: PLC0415
    from gansearch.training.stacked.shape import shape_of, why_alone  # noqa: PLC0415

    places, part = LocalPaths.of_environment(), TrialConfig.model_validate(base(kind)).data
    data = load(part.name, part.options, root=places.data, split="train", image_size=part.image_size)
    tell = teller(data, places.cache)
    groups: dict[str, list[Training]] = {}
    reference = None  # of the first, and then of all: they are measured by the same
    for name, of in planned.items():
        training = Training(kind, name, of, data, places, tell, reference)
        reference = training.reference
        alone = why_alone(training.config)
        groups.setdefault(alone + name if alone else shape_of(training.config), []).append(training)
    for group in groups.values():
        if len(group) == 1:
            while not group[0].over:
                group[0].note(group[0].trainer.advance())
        else:
            together(group)
        yield from (training.curve() for training in group)


def together(group: list[Training]) -> None:
    """Train to the end, one step of all at a time; one that is no longer finite leaves the others."""
    from gansearch.training.stacked.step import Lanes  # noqa: PLC0415

    left, lanes = list(group), None
    while left:
        lanes = Lanes([training.trainer for training in left], lanes)
        while not any(training.over for training in left):
            for number in lanes.train():
                left[number].note(lanes.report(number))
        left = [training for training in left if not training.over]


def teller(data: Any, cache: Path) -> Tell:
    """What tells the modes of samples for each of `COUNTS`: -1 is none; None if one is not finite."""
    import torch  # noqa: PLC0415

    from gansearch.metrics.reference import Evaluator, prepare  # noqa: PLC0415

    points = data.domain.kind == "points"
    metric = "modes" if points else "is_classifier"
    (extract,) = Evaluator(prepare([(metric, {})], data, cache_dir=cache))._extractors.values()
    if points:
        centres = torch.from_numpy(data.mixture.centres)
        way = torch.cdist(centres, centres).fill_diagonal_(torch.inf).amin(1) / data.mixture.deviation

    def tell(samples: Any) -> dict[str, Any]:
        seen = extract(samples)
        if not torch.isfinite(seen.features).all():
            return dict.fromkeys(COUNTS)
        if seen.probabilities is not None and not points:
            return dict.fromkeys(COUNTS, seen.probabilities.argmax(1))
        distance, nearest = seen.features.min(1)
        near = distance < way[nearest] / 2
        return {"kept": torch.where(near, nearest, -1), "nearest": nearest}

    return tell


def kept(modes: Any, every: int) -> int:
    """The modes with at least a tenth of the samples that are their due; -1 if not finite."""
    import torch  # noqa: PLC0415

    if modes is None:
        return -1
    met = torch.bincount(modes[modes >= 0], minlength=every)
    return int((met >= DUE * SAMPLES / every).sum())


def truth(curve: Tree, count: str = "kept") -> str:
    counts = curve["columns"][count]
    if counts[-1] < 0:
        return "non-finite"
    if count == "kept":
        steps = curve["columns"]["step"]
        counts = [n for step, n in zip(steps, counts, strict=True) if step >= curve["steps"] / 10]
    smooth = [median(counts[i : i + 3]) for i in range(len(counts) - 2)]
    most, last, every = max(smooth), smooth[-1], MODES[curve["kind"]]
    if most <= every / 4:
        return "few"
    if last <= most / 2:
        return "lost"
    return "healthy" if last >= 0.8 * most and last >= every / 2 else "between"


def verdict(curve: Tree, objective: str, goal: str) -> tuple[str, int | None, str]:
    """The outcome that the rules give a curve, at which report, and why."""
    from gansearch.study.config import TrialConfig  # noqa: PLC0415
    from gansearch.study.records import Report  # noqa: PLC0415
    from gansearch.training.health import Health  # noqa: PLC0415

    steps, columns = curve["steps"], curve["columns"]
    tree = {
        "budget": {"steps": steps, "report_every": steps // REPORTS},
        "objective": {"metric": objective, "goal": goal},
    }
    scale = curve.get("scales", {}).get(objective, 0.0)
    health = Health(TrialConfig.model_validate(tree), "point", scale)
    for i, step in enumerate(columns["step"]):
        metrics = {key: float(values[i]) for key, values in columns.items()}
        found = health.observe(Report(step, 0, 0.0, metrics, 0.0))
        if found.outcome:
            return str(found.outcome), i, found.reason
    return "completed", None, ""


def table(curves: list[Tree], count: str, every: bool) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    for curve in curves:
        true = truth(curve, count)
        for objective, goal in OBJECTIVES[curve["kind"]].items():
            said, at, why = verdict(curve, objective, goal)
            counts[true, said] += 1
            if every:
                path = " ".join(map(str, curve["columns"][count]))
                where = f"{curve['kind']}, {curve['name']}, {objective}"
                print(f"{true:10} {said:10} {at!s:4} {where}: {path} {why}")
    print(f"| truth | {' | '.join(VERDICTS)} |\n|---{'|---' * len(VERDICTS)}|")
    for true in TRUTHS:
        print(f"| {true} | {' | '.join(str(counts[true, said]) for said in VERDICTS)} |")
    healthy = sum(counts["healthy", said] for said in VERDICTS)
    lost = sum(counts["lost", said] for said in VERDICTS)
    stopped = healthy - counts["healthy", "completed"]
    print(f"\nhealthy and stopped: {stopped} of {healthy} ({share(stopped, healthy)})")
    named = counts["lost", "collapsed"]
    print(f"lost and named: {named} of {lost} ({share(named, lost)})\n")


def share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"


def read(path: Path) -> list[Tree]:
    with gzip.open(path, "rt") as file:
        found: list[Tree] = json.load(file)
    return found


def write(curves: list[Tree], path: Path) -> None:
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        file.write(json.dumps(curves).encode())


def record_all(part: str, path: Path, kinds: list[str]) -> None:
    """Train what is not in the file already."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    curves = read(path) if path.exists() else []
    done = {(curve["kind"], curve["name"]) for curve in curves}
    for kind in kinds:
        left = {name: of for name, of in plan(part).items() if (kind, name) not in done}
        for curve in record(kind, left):
            curves.append(curve)
            write(curves, path)
            print(kind, curve["name"], truth(curve), curve["columns"]["kept"], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=[*MATERIAL], help="only this one")
    parser.add_argument("--nearest", action="store_true", help="the truth as it was defined before")
    parser.add_argument("--every", action="store_true", help="a line for every curve, too")
    parser.add_argument("--curves", type=Path, help="a file of your own")
    parser.add_argument("--record", type=Path, metavar="OUT", help="train, and write the curves there")
    parser.add_argument("--kinds", nargs="+", choices=[*MODES], default=[*MODES], help="of --record")
    args = parser.parse_args()
    if args.record and not args.part:
        parser.error("--record wants a --part")
    parts = [args.part] if args.part else [*MATERIAL]
    for part in parts:
        if args.record:
            record_all(part, args.record, args.kinds)
            continue
        curves = read(args.curves or MATERIAL[part])
        print(f"{part}: {len(curves)} trainings, points under two objectives each\n")
        table(curves, "nearest" if args.nearest else "kept", args.every)


if __name__ == "__main__":
    main()
