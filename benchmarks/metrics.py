"""What do the metrics cost, beside the libraries that people use, and how exact are they?

    python -m benchmarks.metrics [--samples 10000] [--width 2048] [--rounds 1] [--only fid kid prdc]

From statistics or features to the score, on one core, the real side known beforehand where ours knows
it (a study measures it once): FID against `scipy.linalg.sqrtm` and torch-fidelity, the neighbourhood
metrics together against prdc (`pip install prdc`; left out where it is not installed), KID against
torch-fidelity in float32 and in float64. Each measurement is a process of its own, which tells its
processor time and by how much its memory grew, and the libraries take turns. Values are compared, too.
Features are those of two rectified Gaussians whose variances span four decades.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import importlib.util
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

KID = {
    "kid_kernel": "poly",
    "kid_kernel_poly_degree": 3,
    "kid_kernel_poly_gamma": None,
    "kid_kernel_poly_coef0": 1,
    "kid_subsets": 100,
    "kid_subset_size": 1000,
    "rng_seed": 2020,
    "verbose": False,
}

PAIRS = [
    ("fid", "ours", "scipy"),
    ("fid", "ours", "torch-fidelity"),
    ("fid-256", "ours", "scipy"),
    ("prdc", "ours", "prdc"),
    ("kid", "ours", "torch-fidelity"),
    ("kid", "ours", "torch-fidelity in float64"),
]
"""What is measured: a metric, ours, and whose it is compared with."""


def features(samples: int, width: int) -> Any:
    """Generated and real features, float32."""
    import torch  # noqa: PLC0415

    random = torch.Generator().manual_seed(0)
    mixing = torch.randn(width, width, generator=random) / math.sqrt(width)
    mixing *= torch.logspace(0, -2, width)
    sides = [torch.randn(samples, width, generator=random) @ mixing * scale for scale in (0.95, 1.0)]
    return [side.relu_() + 0.3 for side in sides]


def moments(side: Any) -> tuple[Any, Any]:
    import numpy as np  # noqa: PLC0415

    array = side.double().numpy()
    return array.mean(0), np.cov(array, rowvar=False)


def fid(fake: Any, real: Any, whose: str) -> Callable[[], list[float]]:
    """From the statistics of both sides to the distance."""
    import numpy as np  # noqa: PLC0415
    import scipy.linalg  # noqa: PLC0415
    import torch  # noqa: PLC0415

    from gansearch.metrics.frechet import distance_of_moments, fit, frechet_distance  # noqa: PLC0415

    if whose == "ours":
        known = fit(real)
        if len(fake) <= fake.shape[1]:  # the samples are the statistics
            return lambda: [frechet_distance(fake, known)]
        mean, covariance = (torch.from_numpy(part) for part in moments(fake))
        return lambda: [distance_of_moments(mean, covariance, known)]
    (m1, s1), (m2, s2) = moments(fake), moments(real)
    if whose == "torch-fidelity":
        from torch_fidelity.metric_fid import fid_statistics_to_metric  # noqa: PLC0415

        one, two = {"mu": m1, "sigma": s1}, {"mu": m2, "sigma": s2}
        return lambda: [*map(float, fid_statistics_to_metric(one, two, verbose=False).values())]

    def by_sqrtm() -> list[float]:
        root = scipy.linalg.sqrtm(s1 @ s2).real
        return [float((m1 - m2) @ (m1 - m2) + np.trace(s1) + np.trace(s2) - 2 * np.trace(root))]

    return by_sqrtm


def neighbourhoods(fake: Any, real: Any, whose: str) -> Callable[[], list[float]]:
    """Precision, recall, density and coverage at k = 5, with open balls as prdc has them."""
    if whose == "prdc":
        from prdc import compute_prdc  # noqa: PLC0415

        found, fakes = real.numpy(), fake.numpy()
        return lambda: [*map(float, compute_prdc(found, fakes, nearest_k=5).values())]
    from gansearch.metrics.contract import Activations  # noqa: PLC0415
    from gansearch.metrics.neighbours import Coverage, Density, Precision, Recall  # noqa: PLC0415

    metrics = [kind(neighbours=5) for kind in (Precision, Recall, Density, Coverage)]
    for metric in metrics:
        metric.closed = False
    family = Precision.family
    known = family.of_real(metrics, Activations(real, None))
    return lambda: family.values(metrics, Activations(fake, None), known)


def kid(fake: Any, real: Any, whose: str) -> Callable[[], list[float]]:
    """Of 100 subsets of 1,000 (or of all samples, where they are fewer)."""
    size = min(1000, len(fake))
    if whose == "ours":
        from gansearch.metrics.contract import Activations  # noqa: PLC0415
        from gansearch.metrics.kernel import KernelInceptionDistance  # noqa: PLC0415

        metric = KernelInceptionDistance(subset_size=size)
        known, shown = metric.of_real(Activations(real, None)), Activations(fake, None)
        metric(shown, known)  # so that the real side is known
        return lambda: [metric(shown, known)]
    from torch_fidelity.metric_kid import kid_features_to_metric  # noqa: PLC0415

    if whose.endswith("float64"):
        fake, real = fake.double(), real.double()
    options = KID | {"kid_subset_size": size}
    name = "kernel_inception_distance_mean"
    return lambda: [float(kid_features_to_metric(fake, real, **options)[name])]


MEASURES = {"fid": fid, "fid-256": fid, "prdc": neighbourhoods, "kid": kid}


def measure(metric: str, whose: str, samples: int, width: int) -> None:
    """Prints the processor time, the growth of memory and the values, as JSON."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    fake, real = features(samples, width)
    run = MEASURES[metric](fake[:256] if metric == "fid-256" else fake, real, whose)
    give_back()
    before, begun = peak(), time.process_time()
    values = run()
    print(json.dumps([time.process_time() - begun, peak() - before, values]))


def give_back() -> None:
    """Let go of memory that nothing needs any more, so that what comes is seen to grow."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # of another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def peak() -> int:
    """The largest resident set so far, bytes; of a process that has forgotten what came before."""
    try:
        with open("/proc/self/clear_refs", "w") as file:  # noqa: PTH123
            file.write("5")
        with open("/proc/self/status") as file:  # noqa: PTH123
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def ask(metric: str, whose: str, args: argparse.Namespace) -> tuple[float, int, list[float]]:
    command = [sys.executable, "-m", "benchmarks.metrics", "--measure", metric, whose]
    command += ["--samples", str(args.samples), "--width", str(args.width)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(command, env=os.environ | threads, capture_output=True, text=True, check=True)
    seconds, memory, values = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory, values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=10_000, help="of either side")
    parser.add_argument("--width", type=int, default=2048, help="features")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=[*MEASURES], default=[*MEASURES])
    parser.add_argument("--measure", nargs=2, metavar=("METRIC", "WHOSE"), help="one, as JSON")
    args = parser.parse_args()
    if args.measure:
        metric, whose = args.measure
        measure(metric, whose, args.samples, args.width)
        return
    print(
        "| metric | theirs | ours, s | theirs, s | times faster | memory, ours / theirs | differ by |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    for metric, ours, theirs in PAIRS:
        if metric not in args.only or (theirs == "prdc" and not importlib.util.find_spec("prdc")):
            continue
        rounds = [(ask(metric, ours, args), ask(metric, theirs, args)) for _ in range(args.rounds)]
        mine, other = (statistics.median(pair[side][0] for pair in rounds) for side in (0, 1))
        ratio = statistics.median(b[0] / a[0] for a, b in rounds)
        a, b = rounds[0]
        differ = max(abs(x / y - 1) for x, y in zip(a[2], b[2], strict=True))
        memory = f"{a[1] / 1e6:,.0f} / {b[1] / 1e6:,.0f} MB"
        cells = (metric, theirs, f"{mine:.2f}", f"{other:.2f}", f"{ratio:.1f}", memory, f"{differ:.1e}")
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
