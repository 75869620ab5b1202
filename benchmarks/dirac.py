"""Does a stability map, made by real training, agree with a boundary that is known in closed form?

    python -m benchmarks.dirac [--trials 400] [--steps 500] [--seed 0] [--concurrency 2]

The Dirac-GAN (Mescheder et al. 2018, arXiv 1801.04406, section 2): the data are a point, the generator
is a point theta away from it, and the discriminator is linear, D(x) = psi (x - data). A random search
over the learning rate h (one for both networks, plain gradient descent) and the weight gamma of the R1
penalty trains it with the project's own loss, penalty, optimizer, loop, health rules and engine. Its
stability map is then compared with the boundary, where the largest eigenvalue of the loop's linearised
step is 1 in absolute value. At the equilibrium, theta = psi = 0, the non-saturating loss's
f(t) = -log(1 + exp(-t)) has the slope 1/2, and R1 is gamma/2 psi^2 (their equation 9).

The loop alternates: the discriminator moves first and the generator answers the new one,

    psi'   = (1 - h gamma) psi - h/2 theta
    theta' = theta + h/2 psi'

The determinant of this map is 1 - h gamma and its trace 2 - h gamma - h^2/4. By Jury's conditions
(|det| < 1, 1 - trace + det = h^2/4 > 0 and 1 + trace + det = 4 - 2 h gamma - h^2/4 > 0) both
eigenvalues lie within the unit circle where, and only where,

    0 < gamma < 2/h - h/8.

The paper's analysis moves both at once, theta' = theta + h/2 psi: the eigenvalues are 1 + h lambda with
lambda = -gamma/2 +- sqrt(gamma^2/4 - 1/4), the determinant 1 - h gamma + h^2/4 and the trace
2 - h gamma, so that it is stable where h/4 < gamma < 2/h + h/8. Such a step turns around the
equilibrium and outwards, which gamma must make up for; the alternating one keeps the area of the plane
(without a penalty its determinant is 1: it neither converges nor diverges), and any penalty makes it
converge, however slowly. Where gamma is large both end at about h gamma = 2, where a step along the
penalty's slope alone overshoots to the same height.

How a trial that does not converge is called failed: it is judged once, at its end, by the rule
`diverged: {weight_growth: 1.01}`, that is, if a parameter is further from the equilibrium than at the
start. After n steps the distance is about C r^n times that of the start, with r the spectral radius.
Where gamma < 1 a stable trial turns around the equilibrium, r^2 = 1 - h gamma and C is 1 to 3: it has
come closer once C r^n < 1, after n = 2 ln C / (h gamma) steps, 440 in the corner of the ranges,
h gamma = 0.005; there are 500. Where gamma > 1 theta creeps home without turning, closer at each step.
An unstable trial is further away once r^n > 1, as good as at once; beyond the boundary r - 1 is about
h (gamma - 2/h + h/8), so that a gamma 1 % too large is seen as a growth by e^10. What is left is that
the boundary is one of small deviations: from a start at 0.05 one stable trial in 5,000 gets away, all
within 0.01 decades of it (from 0.5, one in 70).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from gansearch.data.domain import Domain
from gansearch.study.records import Outcome, TrialRecord

if TYPE_CHECKING:
    import pandas as pd

    from gansearch.analysis.evidence import Evidence

START = 0.05
"""Of both parameters: near the equilibrium, of which the boundary tells."""

RATES, WEIGHTS = (0.05, 10.0), (0.1, 100.0)

STUDY = f"""
question: Where does the Dirac-GAN converge?
data: dirac
generator: {{name: "benchmarks.dirac:Generator"}}
discriminator: {{name: "benchmarks.dirac:Discriminator"}}
loss: {{name: non-saturating, penalty: {{name: r1, weight: {{log: {[*WEIGHTS]}}}}}}}
optimizer:
  generator: {{name: sgd, lr: {{log: {[*RATES]}}}}}
  discriminator: {{name: sgd, lr: {{same: optimizer.generator.lr}}}}
latent_size: 1
batch_size: 2
ema: null
budget: {{steps: 500, report_every: 500}}
evaluation: {{metrics: [], samples: 10}}
objective: {{metric: g_weight_growth, goal: min}}
health: {{diverged: {{weight_growth: 1.01}}, collapsed: false, stalled: false}}
search: {{sampler: random, trials: 400, seed: 0}}
pruner: none
keep: 1
"""


class Generator(nn.Module):
    """Latents [B, L], which it ignores -> points [B, 1], all of them theta: the data are at 0."""

    def __init__(self, _domain: Domain, _latent_size: int, *, start: float = START) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(start))

    def forward(self, latents: Tensor) -> Tensor:
        return self.theta.expand(len(latents), 1)


class Discriminator(nn.Module):
    """Points [B, 1] -> logits [B]: psi times the point."""

    def __init__(self, _domain: Domain, *, start: float = START) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.tensor(start))

    def forward(self, points: Tensor) -> Tensor:
        logits: Tensor = self.psi * points[:, 0]
        return logits


def step_matrix(rate: float, weight: float) -> np.ndarray:
    """The linearised step of the loop: what (psi, theta) near 0 is multiplied by."""
    discriminator = np.array([[1 - rate * weight, -rate / 2], [0, 1]])
    generator = np.array([[1, 0], [rate / 2, 1]])
    step: np.ndarray = generator @ discriminator
    return step


def boundary(rate: Any) -> Any:
    """The weight below which it is stable, for each learning rate; nowhere from a rate of 4 on."""
    return 2 / rate - rate / 8


def search(trials: int, steps: int, seed: int, concurrency: int, folder: Path) -> Evidence:
    """A search, run for real in a folder."""
    import gansearch  # noqa: PLC0415

    file = folder / "dirac.yaml"
    file.write_text(STUDY)
    wanted = {
        "search.trials": trials,
        "search.seed": seed,
        "budget.steps": steps,
        "budget.report_every": steps,
    }
    study = gansearch.load_study(file, overrides=wanted)
    done = gansearch.run(study, runs_dir=folder / "runs", tracking="off", concurrency=concurrency)
    evidence: Evidence = gansearch.evidence(done.directory)
    return evidence


def foretold(records: list[TrialRecord]) -> list[bool]:
    """Whether each trial ended as its eigenvalues say: completed, or not."""
    found = []
    for record in records:
        rate = record.params["optimizer.generator.lr"]
        stable = record.params["loss.penalty.weight"] < boundary(rate)
        found.append(stable == (record.outcome is Outcome.COMPLETED))
    return found


def agreement(found: pd.DataFrame) -> dict[str, float]:
    """How a stability map compares with the boundary.

    Returns:
        `cells`: the share of the grid's points at which p >= 1/2 just where it is stable. `surely
        wrong`: the share at which the 95 % interval lies on the wrong side of 1/2. `median distance`
        and `largest distance` of the 50 % contour from the boundary, in decades. `coverage`: the share
        of the boundary, by its length, on which the interval holds 1/2.
    """
    from contourpy import contour_generator  # noqa: PLC0415
    from scipy.interpolate import RegularGridInterpolator  # noqa: PLC0415
    from scipy.spatial import KDTree  # noqa: PLC0415

    stable = found["y"] < boundary(found["x"])
    wrong = (found["high"] < 0.5) & stable | (found["low"] > 0.5) & ~stable
    xs, ys = np.log10(np.unique(found["x"])), np.log10(np.unique(found["y"]))
    shape = len(xs), len(ys)
    lines = contour_generator(xs, ys, found["p"].to_numpy().reshape(shape).T).lines(0.5)
    curve = _curve(xs[0], ys[0], ys[-1])
    distances, _ = KDTree(curve).query(np.vstack([*lines]))
    low, high = (
        RegularGridInterpolator((xs, ys), found[side].to_numpy().reshape(shape))(curve)
        for side in ("low", "high")
    )
    return {
        "cells": float(((found["p"] >= 0.5) == stable).mean()),
        "surely wrong": float(wrong.mean()),
        "median distance": float(np.median(distances)),
        "largest distance": float(distances.max()),
        "coverage": float(((low <= 0.5) & (high >= 0.5)).mean()),
    }


def _curve(left: float, bottom: float, top: float) -> np.ndarray:
    """The boundary within the map as points (log10 rate, log10 weight), equally far from each other."""
    fine = np.linspace(left, np.log10(4) - 1e-9, 200_000)
    points = np.column_stack([fine, np.log10(boundary(10**fine))])
    points = points[(points[:, 1] >= bottom) & (points[:, 1] <= top)]
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    even = np.linspace(0, along[-1], 2000)
    return np.column_stack([np.interp(even, along, column) for column in points.T])


def main() -> None:
    from gansearch.analysis.maps import stability_map  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--steps", type=int, default=500, help="of each trial")
    parser.add_argument("--seed", type=int, default=0, help="of the search")
    parser.add_argument("--concurrency", type=int, default=2, help="trials at once")
    parser.add_argument("--map", type=Path, help="a CSV file for the map")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        found = search(args.trials, args.steps, args.seed, args.concurrency, Path(folder))
        seconds = time.perf_counter() - begun
    right = foretold(found.search)
    table = stability_map(found, x="optimizer.generator.lr", y="loss.penalty.weight")
    if args.map:
        table.to_csv(args.map, index=False)
    print(f"{args.trials} trials of {args.steps} steps, {seconds:.0f} s")
    print("| figure | value |")
    print("|---|---|")
    print(f"| trials that end as the eigenvalues say | {sum(right)} of {len(right)} |")
    for name, value in agreement(table).items():
        print(f"| map: {name} | {value:.4f} |")


if __name__ == "__main__":
    main()
