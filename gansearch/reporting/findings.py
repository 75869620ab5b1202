"""All the tables of a report, each made once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from gansearch.analysis import budget, configurations, importance, maps, tolerance
from gansearch.analysis.evidence import Evidence
from gansearch.analysis.rows import Row, plain, rows_of
from gansearch.analysis.tables import trials_table
from gansearch.analysis.trials import ALL, families
from gansearch.study.roster import Roster


@dataclass(frozen=True)
class Findings:
    """A study's evidence and what follows from it, computed when it is first asked for.

    Attributes:
        evidence: the study.
        by: the score by which configurations are ranked.
        threshold: a value of the objective that counts as reached; None: chosen from the data.
    """

    evidence: Evidence
    by: str = "iqm"
    threshold: float | None = None

    @cached_property
    def main(self) -> Evidence:
        """Without the neighbours of a tolerance study, which are no candidates but for that."""
        candidates = tuple(c for c in self.evidence.roster.candidates if c.kind != "around")
        labels = {candidate.label for candidate in candidates}
        entries = tuple(entry for entry in self.evidence.roster.entries if entry[0] in labels)
        runs = [run for run in self.evidence.stability if run.configuration in labels]
        return replace(self.evidence, roster=Roster(candidates, entries), stability=runs)

    @cached_property
    def configurations(self) -> pd.DataFrame:
        """One row a configuration, best first."""
        return configurations.configurations(self.main, by=self.by)

    @cached_property
    def ranked(self) -> pd.DataFrame:
        """The configurations that have a rank, with numbers as floats."""
        table = plain(self.configurations)
        return table[table["rank"].notna()]

    @cached_property
    def rows(self) -> list[Row]:
        """The rows of `ranked`, each as a mapping."""
        return rows_of(self.ranked)

    @cached_property
    def seeds(self) -> pd.DataFrame:
        """One row a seed, of the neighbours too."""
        return configurations.seeds(self.evidence)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """P(a beats b) for each two configurations."""
        return configurations.pairs(self.main)

    @cached_property
    def profiles(self) -> pd.DataFrame:
        """Performance profiles."""
        return configurations.profiles(self.main)

    @cached_property
    def thresholds(self) -> pd.DataFrame:
        """Steps and seconds to a threshold."""
        return configurations.thresholds(self.main, self.threshold)

    @cached_property
    def winners_curse(self) -> pd.DataFrame:
        """The search's values beside the confirmed ones."""
        return configurations.winners_curse(self.main)

    @cached_property
    def tolerance(self) -> pd.DataFrame:
        """What changes of a configuration cost."""
        return tolerance.tolerance(self.evidence)

    @cached_property
    def bears(self) -> pd.DataFrame:
        """How far each value of a configuration can be moved."""
        return tolerance.bears(self.evidence)

    @cached_property
    def families(self) -> list[str]:
        """The search's loss families, the most frequent first, without `all`."""
        return [name for name in families(self.evidence.search) if name != ALL]

    @cached_property
    def maps(self) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
        """Of each family, the probability of success over two axes, and its trials."""
        records = [*self.evidence.search, *self.evidence.stability]
        return {
            family: (
                maps.stability_map(self.evidence, family=family),
                maps.map_points(self.evidence, family=family),
            )
            for family in families(records)
            if family != ALL
        }

    @cached_property
    def safe_rates(self) -> pd.DataFrame:
        """The largest learning rates at which nine trainings in ten succeed."""
        return maps.safe_rates(self.evidence)

    @cached_property
    def budget_curves(self) -> pd.DataFrame:
        """Expected best value against the number of trials."""
        return budget.budget_curves(self.evidence)

    @cached_property
    def seconds_curves(self) -> pd.DataFrame:
        """Expected best value against device-seconds."""
        return budget.seconds_curves(self.evidence)

    @cached_property
    def importance(self) -> pd.DataFrame:
        """How much each axis mattered for the value, and for failure."""
        return importance.importance(self.evidence)

    @cached_property
    def slices(self) -> pd.DataFrame:
        """Each trial along each axis that it has."""
        return importance.slices(self.evidence)

    @cached_property
    def parallel(self) -> pd.DataFrame:
        """Trials over all the axes."""
        return importance.parallel(self.evidence)

    def p_beats(self, a: str, b: str) -> tuple[float, float, float] | None:
        """P(a run of `a` beats one of `b`) with its interval; None where it cannot be said."""
        for row in self._pairs:
            if (row["a"], row["b"]) == (a, b):
                return row["p"], row["low"], row["high"]
            if (row["a"], row["b"]) == (b, a):
                return 1 - row["p"], 1 - row["high"], 1 - row["low"]
        return None

    @cached_property
    def _pairs(self) -> list[Row]:
        return rows_of(self.pairs)

    def tables(self) -> Mapping[str, pd.DataFrame]:
        """Every table by the name of its CSV file, full precision."""
        e = self.evidence
        grids = [grid.assign(family=family) for family, (grid, _) in self.maps.items() if len(grid)]
        points = [points for _, points in self.maps.values() if len(points)]
        return {
            "configurations": self.configurations.reset_index(),
            "seeds": self.seeds,
            "pairs": self.pairs,
            "profiles": self.profiles,
            "thresholds": self.thresholds,
            "winners_curse": self.winners_curse,
            "tolerance": self.tolerance,
            "bears": self.bears,
            "stability_map": pd.concat(grids, ignore_index=True) if grids else _empty("x", "y", "p"),
            "map_points": pd.concat(points, ignore_index=True) if points else _empty("x", "y"),
            "safe_rates": self.safe_rates,
            "budget_curves": self.budget_curves,
            "seconds_curves": self.seconds_curves,
            "importance": self.importance,
            "trials": trials_table(e.search, e.metric, e.goal).reset_index(),
        }


def _empty(*columns: str) -> pd.DataFrame:
    return pd.DataFrame(columns=list(columns))
