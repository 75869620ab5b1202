"""Does this checkout compute what another one does, to the last bit?

    python -m benchmarks.same OLD_CHECKOUT [STUDY.yaml] [--trials N] [--set KEY=VALUE]...
                              [--new-set KEY=VALUE]... [--except-penalised] [--save FILE.json]
    python -m benchmarks.same OLD.json [STUDY.yaml] ...     against what --save wrote

A study runs once with each checkout, one trial at a time, without tracking, each in a process with its
own PYTHONPATH, runs directory and cache. Compared are, for each trial of the search and of the
stability study, its proposal (the axes' values), every metric of every report but those that a clock
measures, and its outcome, reason and last step. Floats are compared by their hexadecimal form. A metric
that only the new one has is no difference. It prints the digests of both, what differs, and exits with
1 if anything does. `--new-set` is for keys that the old one does not know: since 0.1.0 a search tries
the default first, so that it takes `--new-set 'search.start=[]'` to compare with that.

`--except-penalised` is for a change of the penalties' randomness alone. The reports and the end of a
trial with a penalty are then not compared. What comes after such a trial in a search that learns (a
sampler other than random, or a pruner) may rightly differ, too; so of each later trial only these are:
where both checkouts proposed the same, the reports that both have, which depend on nothing but the
configuration and the trial's seed. With `--set search.sampler=random --set pruner.name=none` trials do
not depend on each other: every proposal is compared, and all else of those without a penalty. Or
leave penalties out of it: `--set 'loss={choice: [non-saturating, hinge]}'`. Of a stability study that
comes after a penalised trial only what is the same configuration on the same seed is compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CLOCKED = ("number", "step", "seconds", "time", "images_per_second")
"""Columns of the curves that are no result: where a row stands, or what a clock said."""
SHOWN = 40

Trial = dict[str, Any]
Dump = dict[str, Any]

TELL = """
import json, math, sys
from pathlib import Path
import gansearch

clocked, path, out = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]

def exact(value):
    value = value.item() if hasattr(value, "item") else value
    return value.hex() if isinstance(value, float) else value

def told(record):
    return {
        "number": record.number,
        "configuration": record.configuration,
        "penalised": bool((record.config.get("loss") or {}).get("penalty")),
        "seed": record.config["seed"],
        "params": {name: exact(value) for name, value in sorted(record.params.items())},
        "outcome": record.outcome.value,
        "reason": record.reason,
        "step": record.step,
        "reports": {
            str(report.step): {
                name: exact(value)
                for name, value in sorted({**report.metrics, "images": report.images}.items())
                if name not in clocked
            }
            for report in record.reports
        },
    }

found = gansearch.evidence(path)
# What is read by other ways has to say the same.
table, curves = gansearch.trials(path), gansearch.curves(path)
for record in found.search:
    assert table.loc[record.number, "outcome"] == record.outcome.value
    steps = curves.loc[curves["number"] == record.number, "step"]
    assert steps.tolist() == [report.step for report in record.reports]
document = {
    "version": gansearch.__version__,
    "state": gansearch.status(path)["state"],
    "search": [told(record) for record in found.search],
    "stability": [told(record) for record in found.stability],
}
Path(out).write_text(json.dumps(document, indent=1, sort_keys=True))
print(gansearch.__file__)
"""
"""Run by each checkout itself: all that is compared, through its public face."""


def run(checkout: Path, study: Path, arguments: list[str]) -> Dump:
    """Run the study with a checkout's code and read what it found."""
    checkout = checkout.resolve()
    if not (checkout / "gansearch" / "__init__.py").is_file():
        raise SystemExit(f"{checkout} is no checkout of gansearch")
    with tempfile.TemporaryDirectory(prefix="gansearch-same-") as name:
        folder = Path(name)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GANSEARCH_RUNS", "MLFLOW_"))}
        environment = kept | {
            "PYTHONPATH": str(checkout),
            "GANSEARCH_CACHE": str(folder / "cache"),  # each trains its own reference classifier
            "OMP_NUM_THREADS": "1",
            "RAY_worker_niceness": "0",
        }
        environment.pop("GANSEARCH_STORAGE", None)

        def python(*command: str) -> str:
            done = subprocess.run(
                [sys.executable, *command],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
                check=False,
            )
            if done.returncode:
                raise SystemExit(f"{checkout}: {' '.join(command[:3])} ended with {done.returncode}")
            return done.stdout

        alone = ("--concurrency", "1", "--tracking", "off", "--runs-dir", "runs", "--name", "study")
        python("-m", "gansearch", "run", str(study), *alone, *arguments)
        where = python("-c", TELL, json.dumps(CLOCKED), "runs/study", "dump.json").split()[-1]
        if not Path(where).is_relative_to(checkout):
            raise SystemExit(f"{checkout} was to run, and {where} did")
        dump: Dump = json.loads((folder / "dump.json").read_text())
        if dump["state"] != "finished":
            raise SystemExit(f"{checkout}: the study is {dump['state']}")
        asked = (folder / "runs" / "study" / "study.yaml").read_text()
        return dump | {"study": asked, "arguments": arguments}


def digest(value: Any) -> str:
    """The first twelve digits of a hash of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def digests(dump: Dump) -> dict[str, str]:
    """A digest of each thing that is compared, over all trials of a dump."""
    every = dump["search"] + dump["stability"]
    ends = ("outcome", "reason", "step")
    return {
        "proposals": digest([(t["configuration"], t["seed"], t["params"]) for t in every]),
        "reports": digest([t["reports"] for t in every]),
        "ends": digest([[t[key] for key in ends] for t in every]),
    }


def independent(dump: Dump) -> bool:
    """Whether no trial of the search depends on another one."""
    import yaml  # noqa: PLC0415

    tree = yaml.safe_load(dump["study"])
    sampler, pruner = tree["search"]["sampler"], tree["pruner"]
    names = [part["name"] if isinstance(part, dict) else part for part in (sampler, pruner)]
    return names == ["random", "none"]


class Comparison:
    """What differs between two dumps.

    Attributes:
        differences: (which trial, what, old, new) of each.
        compared: how many proposals, reports and ends were.
        left_out: how many trials' reports were not, or only in part.
    """

    def __init__(self, old: Dump, new: Dump, *, except_penalised: bool) -> None:
        self.differences: list[tuple[str, str, str, str]] = []
        self.compared = dict.fromkeys(("proposals", "reports", "ends"), 0)
        self.left_out = 0
        alone = independent(new)
        touched = False  # by a penalised trial that came before
        for part in ("search", "stability"):
            if part == "stability" and touched:
                self._stability(old, new)
                continue
            if len(old[part]) != len(new[part]):
                self._differ(part, "trials", len(old[part]), len(new[part]))
            for one, two in zip(old[part], new[part], strict=False):
                name = f"{part} {one['number']}"
                learned = except_penalised and touched and not alone
                penalised = except_penalised and (one["penalised"] or two["penalised"])
                same = all(one[key] == two[key] for key in ("configuration", "seed", "params"))
                if not learned:
                    self._fields(name, "proposals", one, two, ("configuration", "seed", "params"))
                if penalised or (learned and not same):
                    self.left_out += 1
                elif learned:
                    self.left_out += 1
                    self._reports(name, one, two, common=True)
                else:
                    self._reports(name, one, two, common=False)
                    self._fields(name, "ends", one, two, ("outcome", "reason", "step"))
                touched |= penalised

    def _stability(self, old: Dump, new: Dump) -> None:
        """Others may have been chosen: compared is what is the same configuration on the same seed."""
        params = [{f"trial {t['number']}": t["params"] for t in dump["search"]} for dump in (old, new)]
        before = {(t["configuration"], t["seed"]): t for t in old["stability"]}
        for two in new["stability"]:
            label = two["configuration"]
            one = before.get((label, two["seed"]))
            same = label == "default" or (
                label in params[1] and params[0].get(label) == params[1][label]
            )
            if one is None or not same or one["penalised"] or two["penalised"]:
                self.left_out += 1
                continue
            name = f"stability {two['number']}"
            self._reports(name, one, two, common=False)
            self._fields(name, "ends", one, two, ("outcome", "reason", "step"))

    def _fields(self, name: str, kind: str, one: Trial, two: Trial, keys: tuple[str, ...]) -> None:
        self.compared[kind] += 1
        for key in keys:
            if one[key] != two[key]:
                self._differ(name, key, one[key], two[key])

    def _reports(self, name: str, one: Trial, two: Trial, *, common: bool) -> None:
        before, after = one["reports"], two["reports"]
        if not common and list(before) != list(after):
            self._differ(name, "steps reported", list(before), list(after))
        for step in (step for step in before if step in after):
            self.compared["reports"] += 1
            for metric in sorted(before[step]):
                values = before[step].get(metric), after[step].get(metric)
                if values[0] != values[1]:
                    self._differ(f"{name} step {step}", metric, *map(_number, values))

    def _differ(self, name: str, what: str, old: Any, new: Any) -> None:
        self.differences.append((name, what, str(old), str(new)))


def _number(value: Any) -> Any:
    """A float as people read it, with all its digits."""
    return repr(float.fromhex(value)) if isinstance(value, str) else value


def show(old: Dump, new: Dump, comparison: Comparison) -> None:
    """The digests of both, and what differs."""
    ours, theirs = digests(new), digests(old)
    print("\n| | old | new | compared |\n|---|---|---|---|")
    for kind, count in comparison.compared.items():
        print(f"| {kind} | {theirs[kind]} | {ours[kind]} | {count} |")
    if comparison.left_out:
        print(f"\n{comparison.left_out} trials were not compared, or only in part (--except-penalised)")
    if comparison.differences:
        print("\n| where | what | old | new |\n|---|---|---|---|")
        for row in comparison.differences[:SHOWN]:
            print("| " + " | ".join(text[:60] for text in row) + " |")
        if (more := len(comparison.differences) - SHOWN) > 0:
            print(f"\nand {more} more")
    found = len(comparison.differences)
    print(
        f"\n{found} differences" if found else "\nthe same, to the last bit, in all that was compared"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path, help="a checkout, or what --save wrote of one")
    parser.add_argument("study", type=Path, nargs="?", default=ROOT / "studies" / "quickstart.yaml")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--new-set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--except-penalised", action="store_true")
    parser.add_argument("--new", type=Path, default=ROOT, help="the other checkout [this one]")
    parser.add_argument("--save", type=Path, metavar="FILE.json", help="keep what the old one found")
    args = parser.parse_args()
    arguments = [word for item in args.set for word in ("--set", item)]
    arguments += ["--trials", str(args.trials)] if args.trials else []
    study = args.study.resolve()
    saved = args.old.is_file()
    old = json.loads(args.old.read_text()) if saved else run(args.old, study, arguments)
    if args.save:
        args.save.write_text(json.dumps(old, indent=1, sort_keys=True) + "\n")
    if old["arguments"] != arguments:
        raise SystemExit(f"{args.old} was made with {old['arguments']}, not {arguments}")
    new = run(args.new, study, arguments + [word for item in args.new_set for word in ("--set", item)])
    comparison = Comparison(old, new, except_penalised=args.except_penalised)
    show(old, new, comparison)
    if not all(comparison.compared.values()):
        print("hardly anything could be compared: choose another study, see the docstring")
    elif not comparison.differences:
        return
    sys.exit(1)


if __name__ == "__main__":
    main()
