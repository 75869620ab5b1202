"""Where does the Dirac-GAN end? Our losses and penalties beside its authors' own formulas.

    python -m benchmarks.dirac_distances [--seeds 100]

Mescheder et al. 2018 (arXiv 1801.04406), figure 3: the data are the point 0, the generator is the point
theta, the discriminator D(x) = psi x. 500 steps of 0.2 from (1, 1), of both at once or in turn, the
generator first; the number is the distance from the equilibrium (0, 0). Ours are the gradients of our
own losses and penalties, by autograd. Theirs are the fields that their published code steps along
(LMescheder/GAN_stability, notebooks/diracgan), written out here with its settings: clipping at 1, a
gradient penalty of 0.7 / 2 (|psi| - 1)^2, noise of 0.7 on 1,000 samples a step, R1 of 0.3. Their
discriminator is high for fakes, so that psi = 1 there is -1 for our losses. Noise makes the end a draw:
means and standard errors over seeds.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gansearch.losses import LOSSES, PENALTIES, Constraint

RATE, STEPS, DRAWN = 0.2, 500, 1000

Field = Callable[[Any, Any, np.random.Generator], tuple[Any, Any]]
"""Where theta and psi are moved."""


class Game(NamedTuple):
    """One row of the table.

    Attributes:
        loss: ours.
        penalty: ours, with its options.
        noise: on all that the discriminator sees.
        theirs: the authors' field.
        clip: theirs, of psi.
    """

    loss: str
    penalty: tuple[str, dict[str, float]] | None
    noise: float
    theirs: Field
    clip: float = math.inf


def falling(x: Any) -> Any:
    """1 / (1 + e^x), by which log(1 + e^-x) falls."""
    return 1 / (1 + np.exp(x))


def noisy(theta: Any, psi: Any, chance: np.random.Generator) -> tuple[Any, Any]:
    fake, real = theta + 0.7 * chance.normal(size=DRAWN), 0.7 * chance.normal(size=DRAWN)
    pulled = fake * falling(psi * fake) - real * falling(-psi * real)
    return (-psi * falling(psi * fake)).mean(), pulled.mean()


GAMES = {
    "minimax": Game("minimax", None, 0, lambda t, p, _: (-p * falling(p * t), t * falling(p * t))),
    "non-saturating": Game(
        "non-saturating", None, 0, lambda t, p, _: (-p * falling(-p * t), t * falling(p * t))
    ),
    "wasserstein, clipping at 1": Game(
        "wasserstein", ("clipping", {"bound": 1.0}), 0, lambda t, p, _: (-p, t), clip=1.0
    ),
    "wasserstein, gradient penalty": Game(
        "wasserstein",
        ("gradient-penalty", {"weight": 0.35, "target": 1.0}),
        0,
        lambda t, p, _: (-p, t - 0.7 * (abs(p) - 1) * np.sign(p)),
    ),
    "minimax, noise of 0.7": Game("minimax", None, 0.7, noisy),
    "minimax, R1 of 0.3": Game(
        "minimax",
        ("r1", {"weight": 0.3}),
        0,
        lambda t, p, _: (-p * falling(p * t), t * falling(p * t) - 0.3 * p),
    ),
}

PUBLISHED = {
    "minimax": (3.10, 1.42),
    "non-saturating": (0.64, 0.28),
    "wasserstein, clipping at 1": (1.00, 1.02),
    "wasserstein, gradient penalty": (1.80, 1.22),
    "minimax, R1 of 0.3": (2.6e-6, 2.3e-7),
}
"""The distances of theirs that are no draws, of both at once and in turn, rounded."""


def theirs(game: Game, *, alternating: bool, seed: int = 0) -> float:
    """The distance at the end of the authors' trajectory."""
    chance = np.random.default_rng(seed)
    theta, psi = np.float64(1), np.float64(1)
    for _ in range(STEPS):
        first, both = game.theirs(theta, psi, chance)
        theta = theta + RATE * first
        if alternating:
            both = game.theirs(theta, psi, chance)[1]
        psi = np.clip(psi + RATE * both, -game.clip, game.clip)
    return float(np.hypot(theta, psi))


def ours(
    loss: str,
    penalty: tuple[str, dict[str, float]] | None = None,
    noise: float = 0.0,
    *,
    alternating: bool,
    seed: int = 0,
) -> np.ndarray:
    """(theta, psi) after each step of our loss and penalty, [500, 2]; theirs is -psi."""
    game, held = LOSSES.build(loss, {}), PENALTIES.build(*penalty) if penalty else None
    part: object = held
    constraint = part if isinstance(part, Constraint) else None
    chance = torch.Generator().manual_seed(seed)
    theta = torch.ones((), dtype=torch.float64, requires_grad=True)
    psi = torch.full((), -1.0, dtype=torch.float64, requires_grad=True)

    def shown() -> tuple[Tensor, Tensor]:
        draws = noise * torch.randn(2, DRAWN if noise else 1, generator=chance, dtype=torch.float64)
        return draws[0], theta + draws[1]

    def generator() -> Tensor:
        real, fake = shown()
        value = game.g(psi * real if game.g_uses_real else None, psi * fake)
        return torch.autograd.grad(value, theta)[0]

    def discriminator() -> Tensor:
        real, fake = shown()
        value = game.d(psi * real, psi * fake)
        if held is not None and constraint is None:
            samples = real.reshape(-1, 1), fake.reshape(-1, 1)
            value = value + held(lambda x: psi * x[..., 0], *samples)
        return torch.autograd.grad(value, psi)[0]

    path = []
    for _ in range(STEPS):
        at_once = None if alternating else discriminator()
        of_theta = generator()
        with torch.no_grad():
            theta -= RATE * of_theta
        of_psi = discriminator() if at_once is None else at_once
        with torch.no_grad():
            psi -= RATE * of_psi
            if constraint is not None:
                constraint.constrain([psi])
        path.append((theta.item(), psi.item()))
    return np.array(path)


def our_distance(game: Game, *, alternating: bool, seed: int = 0) -> float:
    """The distance at the end of ours."""
    path = ours(game.loss, game.penalty, game.noise, alternating=alternating, seed=seed)
    return float(np.hypot(*path[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100, help="where noise is drawn")
    args = parser.parse_args()
    print("| game | both at once: ours | theirs | in turn: ours | theirs |\n|---|---|---|---|---|")
    for name, game in GAMES.items():
        seeds = range(args.seeds if game.noise else 1)
        cells = [
            _spread([play(game, alternating=turns, seed=seed) for seed in seeds])
            for turns in (False, True)
            for play in (our_distance, theirs)
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:#.3g}"
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.fmean(values):.4f} +- {error:.4f}"


if __name__ == "__main__":
    main()
