"""What is tried, and who goes on: proposer, samplers, pruners, selection.

A sampler is one function or class in one file and one line here, and so is a pruner; the contracts are
in `gansearch.search.contract` and `gansearch.search.pruners`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gansearch.study.registry import Registry

if TYPE_CHECKING:
    from gansearch.search.contract import Sampler
    from gansearch.search.pruners import Pruner

SAMPLERS: Registry[Sampler] = Registry(
    "sampler",
    {
        "tpe": "gansearch.search.samplers:tpe",
        "random": "gansearch.search.samplers:random",
        "gp": "gansearch.search.samplers:gp",
        "qmc": "gansearch.search.qmc:Qmc",
        "cmaes": "gansearch.search.cma:CatCma",
        "curves": "gansearch.search.curves:Curves",
    },
)

PRUNERS: Registry[Pruner] = Registry(
    "pruner",
    {
        "asha": "gansearch.search.halving:Asha",
        "hyperband": "gansearch.search.hyperband:Hyperband",
        "median": "gansearch.search.pruners:Median",
        "none": "gansearch.search.pruners:Never",
    },
)
