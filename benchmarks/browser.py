"""How long a browser takes for a study in MLflow's pages, and in the page that a report has of them.

    apt-get install chromium; pip install playwright
    python -m benchmarks.browser [--trials 1000 5000] [--reports 20] [--shots DIR]

A made-up search of `--trials` trials (that of `benchmarks.analysis`) and a stability study of its ten
best are sent to MLflow's SQLite store as `gansearch sync` does, and MLflow's own server is started on
it. Headless Chromium, 1,400 x 900 pixels, then opens each view in a fresh context with an empty cache
and waits: for the first trial in the table; for the same in another order, after a click; for the first
curve of the chart page. In seconds of the clock from the request or the click on, the median of
`--rounds`. `page` is `trials.html`, opened from the disk: the same, and a curve that is asked for.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.analysis import AXES, FACTS, METRIC, STEPS, write_study
from gansearch import tracking
from gansearch.analysis.evidence import Evidence
from gansearch.journal.journal import Journal
from gansearch.reporting.publishing import summaries
from gansearch.reporting.trials import trials_page

PATIENCE = 120
"""Seconds after which a view is given up."""

ROW = "text=/^\\d{4} (completed|pruned|diverged|collapsed|stalled)$/"
"""A trial's name in MLflow's table."""


def build(folder: Path, trials: int, reports: int) -> tuple[str, Evidence]:
    """A study in MLflow's store, as an evening of `gansearch run` and `stability` leaves it."""
    write_study(folder, trials, reports)
    journals: dict[tracking.Phase, Journal] = {
        "search": Journal.open(folder, "large"),
        "stability": Journal.open(folder / "stability", "large"),
    }
    uri, artifacts = tracking.default_store(folder)
    for part, journal in journals.items():
        tracker = tracking.Tracker(
            uri, "large", metric=METRIC, goal="min", artifacts=artifacts, phase=part, interval=0.01
        )
        assert tracking.sync(tracker, journal.trials(), "FINISHED") == 0
    evidence = Evidence(
        name="large",
        question="Can it be looked at?",
        metric=METRIC,
        goal="min",
        steps=STEPS,
        planned=trials,
        axes=AXES,
        search=journals["search"].trials(),
        stability=journals["stability"].trials(),
        roster=journals["stability"].roster,
        facts=FACTS,
    )
    (folder / "trials.html").write_text(trials_page(evidence), encoding="utf-8")
    tracking.log_report(uri, "large", [folder / "trials.html"], summaries(evidence, "iqm"))
    return uri, evidence


class Clock:
    """Opens addresses in Chromium and times what comes."""

    def __init__(self, browser: Any, shots: Path | None) -> None:
        self._browser, self._shots = browser, shots

    @contextmanager
    def opened(self, url: str, shot: str) -> Iterator[tuple[Any, float]]:
        """A page in a context of its own, asked for but not there yet; and when that was."""
        context = self._browser.new_context(viewport={"width": 1400, "height": 900})
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1e3)
        begun = time.perf_counter()
        page.goto(url, wait_until="commit")
        try:
            yield page, begun
            if self._shots:
                page.wait_for_timeout(1500)
                page.screenshot(path=self._shots / f"{shot}.png")
        finally:
            context.close()


def first(page: Any, selector: str, begun: float) -> float:
    """Seconds until something is seen; infinity where it never is."""
    with suppress(Exception):
        page.wait_for_selector(selector, state="visible")
        return time.perf_counter() - begun
    return float("inf")


def changed(page: Any, read: Callable[[], str], click: Callable[[], None]) -> float:
    """Seconds from a click until what is read is another."""
    before, begun = read(), time.perf_counter()
    click()
    while time.perf_counter() - begun < PATIENCE:
        with suppress(Exception):
            if read() not in ("", before):
                return time.perf_counter() - begun
        page.wait_for_timeout(20)
    return float("inf")


def look(clock: Clock, url: Callable[..., str], page_file: Path, trials: int) -> dict[str, float]:
    """Each view once."""
    took: dict[str, float] = {}
    with clock.opened(url(), f"search-{trials}") as (page, begun):
        took["table"] = first(page, ROW, begun)
        page.wait_for_timeout(500)
        heading = page.get_by_role("columnheader").get_by_text(f"best.{METRIC}").first
        took["sort"] = changed(page, page.locator(ROW).first.inner_text, heading.click)
    with clock.opened(url(charts=True), f"charts-{trials}") as (page, begun):
        took["charts"] = first(page, ".js-plotly-plot .main-svg", begun)
    with clock.opened(url(phase="stability"), f"seeds-{trials}") as (page, begun):
        took["seeds"] = first(page, "text=/trial-\\d+/", begun)
    with clock.opened(page_file.as_uri(), f"page-{trials}") as (page, begun):
        took["page: table"] = first(page, "tbody tr", begun)
        row = page.locator("tbody tr td").first
        heading = page.locator("thead th", has_text="seconds").first
        took["page: sort"] = changed(page, row.inner_text, heading.click)
        page.locator("#clear").click()
        clicked = time.perf_counter()
        page.locator("tbody tr").first.click()
        took["page: curve"] = first(page, "svg polyline", clicked)
    return took


def main() -> None:
    """Print the table."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--reports", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--shots", type=Path, help="a folder for a screenshot of each view")
    parser.add_argument("--keep", type=Path, help="a folder for the studies, used again if there")
    args = parser.parse_args()
    results: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=args.chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        clock = Clock(browser, args.shots)
        for trials in args.trials:
            folder = (args.keep or Path(temporary)) / str(trials)
            if not (folder / "trials.html").exists():
                build(folder, trials, args.reports)
            uri, artifacts = tracking.default_store(folder)
            with tracking.ui(uri, artifacts, port=0) as server:

                def url(base: str = server.url, uri: str = uri, **view: Any) -> str:
                    return tracking.comparison_url(base, uri, "large", **view)

                rounds = [look(clock, url, folder / "trials.html", trials) for _ in range(args.rounds)]
            results[trials] = {
                view: statistics.median(each[view] for each in rounds) for view in rounds[0]
            }
            size = (folder / "trials.html").stat().st_size / 2**20
            print(f"# {trials} trials: {results[trials]}; trials.html {size:.1f} MB", flush=True)
        browser.close()
    views = list(next(iter(results.values())))
    print(f"\n| trials | {' | '.join(views)} |\n|---|{'---|' * len(views)}")
    for trials, took in results.items():
        print(f"| {trials:,} | {' | '.join(f'{took[view]:.1f}' for view in views)} |")


if __name__ == "__main__":
    main()
