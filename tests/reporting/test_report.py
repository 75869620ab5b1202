"""The report, on made-up evidence: what it says, of every kind of study, and how it is written."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from known import study as known_study
from known import trial
from PIL import Image
from synthetic import evidence

from gansearch import files
from gansearch.analysis import configurations
from gansearch.analysis.importance import parallel, slices
from gansearch.analysis.rows import plain
from gansearch.errors import UserError
from gansearch.journal.facts import SENT
from gansearch.reporting import figures, search_figures, style, writing
from gansearch.reporting.answer import answer, told_apart, values_of
from gansearch.reporting.contents import sections
from gansearch.reporting.findings import Findings
from gansearch.reporting.page import Section, page
from gansearch.reporting.search import maps
from gansearch.reporting.stability import REAL, between, curse, training
from gansearch.reporting.stability import drawn as drawn_samples
from gansearch.reporting.style import OUTCOME_COLOURS, Palette, styled
from gansearch.reporting.writing import write_report
from gansearch.study.axes import Choice, Float, Int
from gansearch.study.learnt import LEARNT, Learnt
from gansearch.study.records import Chance, Outcome, ranked
from gansearch.study.roster import Roster

SMALL = {"trials": 40, "top": 2, "seeds": 4, "reports": 6}
NOT_NUMBERS = re.compile(r"(?<![\w.-])(nan|inf|infinity|none|<na>|nat)(?![\w-])", re.IGNORECASE)


class Page(HTMLParser):
    """What the tests ask of an HTML document."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.ids, self.links, self.images, self.headers, self.text = [], [], [], [], [], []
        self._path = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self._path.append(tag)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs[key] for key in ("href", "xlink:href", "src") if key in attrs]
        self.links += re.findall(r"url\(([^)]*)\)", " ".join(filter(None, attrs.values())))
        self.images += [attrs.get("aria-label")] if attrs.get("role") == "img" else []
        self.headers += [attrs.get("scope")] if tag == "th" else []
        if tag in ("meta", "img", "path", "use", "image", "rect"):
            self._path.pop()

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in ("meta", "img", "path", "use", "image", "rect"):
            self._path.pop()

    def handle_endtag(self, tag):
        if tag in self._path:
            while self._path.pop() != tag:
                pass

    def handle_data(self, data):
        if not {"style", "svg", "pre"} & set(self._path):
            self.text.append(data)


@pytest.fixture(scope="module")
def study():
    return evidence(trials=60, top=3, seeds=6, reports=6, around=0.5, published=True, missing=2)


@pytest.fixture(scope="module")
def found(study):
    """What follows from it, computed once."""
    return Findings(study)


@pytest.fixture(scope="module")
def written(study, tmp_path_factory):
    """The report's folder."""
    folder = tmp_path_factory.mktemp("written")
    Image.new("RGB", (1200, 1200), "red").save(folder / "grid.png")
    best = configurations.configurations(study).index[0]
    write_report(study, folder / "report", samples={best: folder / "grid.png"})
    return folder / "report"


@pytest.fixture(scope="module")
def html(written):
    return (written / "report.html").read_text(encoding="utf-8")


def text_of(study, **how):
    """The words of a study's report, without drawing it."""
    content = sections(Findings(study, **how), {})
    drawings = {picture.name: "<svg></svg>" for section in content for picture in section.pictures}
    return " ".join(" ".join(Page(page(study.name, study.question, content, drawings)).text).split())


# --- the file -------------------------------------------------------------------------------------


def test_the_page_loads_nothing_and_its_links_lead_somewhere(html, written):
    seen = Page(html)
    assert "script" not in seen.tags
    assert "link" not in seen.tags
    assert len(seen.ids) == len(set(seen.ids)) > 100
    assert "trials.html" in seen.links
    for link in seen.links:
        if link == "trials.html":
            assert (written / link).is_file()
            continue
        assert link.startswith("data:") or (link[0] == "#" and link[1:] in seen.ids), link
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_pictures_and_tables_can_be_read_aloud(html):
    seen = Page(html)
    assert len(seen.images) > 20
    assert all(seen.images)
    assert len(seen.headers) > 50
    assert set(seen.headers) == {"row", "col"}


def test_every_table_lies_beside_it_in_full_precision(study, written):
    names = {path.stem for path in written.glob("*.csv")}
    assert {"configurations", "seeds", "pairs", "stability_map", "budget_curves", "trials"} <= names
    read = pd.read_csv(written / "configurations.csv", index_col="configuration")
    main = Findings(study).main
    expected = plain(configurations.configurations(main))
    pd.testing.assert_series_equal(read["iqm"], expected["iqm"], check_index_type=False, rtol=1e-15)
    assert len(pd.read_csv(written / "seeds.csv")) == len(study.stability)


def test_every_drawing_is_there_for_papers(written, html):
    drawn = set(re.findall(r'id="figure-([^"]+)"', html))
    drawn = {name for name in drawn if not name.startswith("samples")}
    assert drawn == {path.stem for path in (written / "figures").glob("*.svg")}
    assert drawn == {path.stem for path in (written / "figures").glob("*.pdf")}
    for path in (written / "figures").glob("*.svg"):
        assert ET.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        assert "<dc:date>" not in path.read_text()
    assert all(path.read_bytes()[:5] == b"%PDF-" for path in (written / "figures").glob("*.pdf"))


def test_samples_are_embedded_smaller_with_their_seed(study, html):
    label = configurations.configurations(Findings(study).main).index[0]
    assert len(re.findall(r'<img src="data:image/jpeg;base64,', html)) == 1
    seeds = plain(configurations.seeds(study))
    best = seeds[seeds["configuration"] == label].sort_values("best").iloc[0]
    assert f"{label}, seed {best['seed']:.0f}, fd_classifier" in " ".join(Page(html).text)


def test_the_same_figure_gives_the_same_bytes(study):
    def draw():
        with styled():
            found = Findings(study)
            palette = Palette.of(found.families)
            figure = figures.success_rates(found.ranked, palette)
        return style.as_svg(figure), style.as_pdf(figure)

    assert draw() == draw()


def test_an_older_report_is_replaced_and_nothing_else(tmp_path, monkeypatch):
    empty = replace(evidence(**SMALL), search=[], stability=[], roster=Roster())
    out = tmp_path / "deep" / "report"
    write_report(empty, out)
    (out / "older.csv").touch()
    write_report(replace(empty, question="Another?"), out)
    assert "Another?" in (out / "report.html").read_text()
    assert not (out / "older.csv").exists()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(writing, "page", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(empty, out)
    assert "Another?" in (out / "report.html").read_text()
    assert [path.name for path in out.parent.iterdir()] == ["report"]


@pytest.mark.parametrize("names", [["measured.csv"], ["figures/one.svg", "measured.csv"]])
def test_a_folder_of_somebody_s_tables_is_no_older_report(names, tmp_path):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("precious")
    with pytest.raises(UserError, match="which is not a report's: take another folder"):
        write_report(replace(evidence(**SMALL), search=[], stability=[], roster=Roster()), tmp_path)
    assert [(tmp_path / name).read_text() for name in names] == ["precious"] * len(names)


def test_an_older_report_stays_if_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    empty = replace(evidence(**SMALL), search=[], stability=[], roster=Roster())
    write_report(empty, tmp_path / "report")
    rename = Path.rename

    def refuse(self, target):
        if self.name.startswith(".report.part-") and not self.name.endswith("-old"):
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="no"):
        write_report(replace(empty, question="Another?"), tmp_path / "report")
    assert empty.question in (tmp_path / "report" / "report.html").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_of_reports_into_one_folder_at_once_the_last_stays_whole(tmp_path):
    """Each takes the place of the one before, at whatever moment it comes."""
    out = tmp_path / "report"

    def replace_it(who):
        for turn in range(40):
            with files.unfinished(out) as part:
                for name in ("report.html", "trials.html"):
                    (part / name).write_text(f"{who} {turn}")
                writing._swap(part, out)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(replace_it, who) for who in range(4)]:
            done.result()
    one, other = ((out / name).read_text() for name in ("report.html", "trials.html"))
    assert one == other
    assert one.endswith(" 39")
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_in_an_object_store_a_report_replaces_an_older_one_and_nothing_else(bucket, monkeypatch):
    empty = replace(evidence(**SMALL), search=[], stability=[], roster=Roster())
    out = files.place(f"{bucket}/runs/x/report")
    assert str(write_report(empty, out)) == f"{out}/report.html"
    for older in ("older.csv", "figures/older.svg"):
        files.write(out / older, "")
    write_report(replace(empty, question="Another?"), out)
    assert b"Another?" in files.read(out / "report.html")
    names = {str(path).removeprefix(f"{out}/") for path in out.rglob("*") if path.is_file()}
    assert {"report.html", "trials.csv"} <= names
    assert not names & {"older.csv", "figures/older.svg"}

    monkeypatch.setattr(writing, "page", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(empty, out)
    assert b"Another?" in files.read(out / "report.html")
    files.write(out / "thesis.tex", "")
    with pytest.raises(UserError, match=r"thesis\.tex"):
        write_report(empty, out)


def test_a_picture_in_an_object_store_is_embedded_as_one_on_a_disk(bucket, tmp_path):
    Image.new("RGB", (600, 600), "red").save(tmp_path / "grid.png")
    there = files.place(f"{bucket}/grid.png")
    files.write(there, (tmp_path / "grid.png").read_bytes())
    assert figures.thumbnail(there) == figures.thumbnail(tmp_path / "grid.png")


def test_other_peoples_files_are_left_alone(tmp_path):
    empty = replace(evidence(**SMALL), search=[], stability=[], roster=Roster())
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"thesis\.tex"):
        write_report(empty, tmp_path)
    with pytest.raises(UserError, match="not a folder"):
        write_report(empty, tmp_path / "thesis.tex")
    with pytest.raises(UserError, match="no score"):
        write_report(evidence(**SMALL), tmp_path / "new", by="luck")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


# --- what it says ---------------------------------------------------------------------------------


def test_the_answer_names_the_first_of_the_ranking_with_its_numbers(study, found):
    best = found.rows[0]
    first = answer(found).sentences[0]
    assert first.startswith(f"Take {best['configuration']} ({best['family']}).")
    assert f"{best['successes']:.0f} of {best['seeds']:.0f} seed" in first
    p = found.p_beats(best["configuration"], "default")
    assert any(
        f"default configuration with probability {p[0]:.2f} [" in s for s in answer(found).sentences
    )
    reverse = found.p_beats("default", best["configuration"])
    assert reverse == pytest.approx((1 - p[0], 1 - p[2], 1 - p[1]))


def test_the_answer_is_of_candidates_not_of_their_neighbours(study, found):
    assert "around" in {candidate.kind for candidate in study.roster.candidates}
    assert set(found.ranked["kind"]) == {"search", "default"}
    assert sorted(found.ranked["rank"].astype(int)) == list(range(1, len(found.ranked) + 1))


@pytest.mark.parametrize(
    ("p", "said"),
    [
        ((0.9, 0.6, 0.98), "better"),
        ((0.1, 0.02, 0.4), "worse"),
        ((0.7, 0.4, 0.9), ""),
        ((0.9, 0.501, 1.0), ""),  # shown as 0.50: no reader would believe it
        ((0.9, math.nan, math.nan), ""),
        (None, ""),
    ],
)
def test_two_configurations_are_told_apart_where_the_interval_says_so(p, said):
    assert told_apart(p) == said


def test_of_more_than_one_pair_it_is_said_that_each_interval_is_of_its_own(found):
    """Of a dozen configurations that are all the same, the first seems better than some other every
    second time (`python -m benchmarks.coverage`)."""
    alone = "Each interval is of its pair alone"
    section = between(found)
    assert len(section.tables[0].rows) > 1
    assert alone in section.tables[0].note
    assert alone in section.pictures[0].caption
    section = between(Findings(evidence(trials=3, top=1, seeds=5, reports=2)))
    assert len(section.tables[0].rows) == 1
    assert alone not in section.tables[0].note + section.pictures[0].caption


def all_diverged(study):
    for run in study.stability:
        run.outcome, run.reason = Outcome.DIVERGED, "the discriminator's loss: nan, at step 3"
        for report in run.reports:
            report.metrics["fd_classifier"] = math.nan
    return study


def one_value(study):
    for run in [*study.stability, *study.search]:
        for report in run.reports:
            if math.isfinite(report.metrics["fd_classifier"]):
                report.metrics["fd_classifier"] = 3.0
    return study


def still_running(study):
    study.search[-1].outcome = Outcome.RUNNING
    return replace(study, planned=80)


def a_dead_machine(study):
    study.stability[0].outcome, study.stability[0].blameless = Outcome.FAILED, True
    return study


def second_chances(study):
    best, other, *_ = ranked(study.search, study.metric, study.goal)
    best.chances = [Chance(300, "4th of 9 <at> step 300", "3rd of 12 at step 300")]
    other.outcome, other.reason = Outcome.PAUSED, "5th of 7 at step 600"
    other.chances = [Chance(600, other.reason)]
    best.origin, other.origin = "old/config.yaml", "last-week trial 17"
    return study


def learnt(study):
    words = "the sampler knows 12 trials of 'last-week'; 2 others cannot be used: lr (2)"
    return replace(study, facts={**study.facts, LEARNT: [Learnt("last-week", (), words=words).plain()]})


def shorter(study):
    run = next(run for run in study.stability if run.outcome is Outcome.COMPLETED)
    run.reports.pop()
    return study


def no_search(study):
    return replace(study, search=[], planned=0, axes={})


def no_stability(study):
    return replace(study, stability=[], roster=Roster())


def nothing(study):
    return replace(no_stability(no_search(study)), facts={}, question="")


CASES = {
    "empty": (SMALL, lambda s: replace(no_stability(s), search=[]), ["No trial has run yet"]),
    "nothing": (SMALL, nothing, ["No trial has run yet", "gansearch stability fashion_mnist"]),
    "search only": (SMALL, no_stability, ["No configuration is confirmed yet",
                                          "gansearch stability fashion_mnist"]),
    "no seed yet": (SMALL, lambda s: replace(s, stability=[]), ["No seed of the stability study has"]),
    "stability only": (SMALL, no_search, ["Take trial", "Ranking"]),
    "two seeds": (SMALL | {"seeds": 2}, lambda s: s, ["Only 2 seeds of some configuration: nothing"]),
    "one seed": (SMALL | {"seeds": 1}, lambda s: s, ["Only 1 seed of some configuration"]),
    "few seeds": (SMALL, lambda s: s, ["Only 4 seeds", "intervals are wide"]),
    "all diverged": (SMALL, all_diverged, ["No configuration works", "not a number"]),
    "one value": (SMALL, one_value, ["All runs have the same fd_classifier, 3"]),
    "larger is better": (SMALL | {"goal": "max", "around": 0.5}, lambda s: s, ["higher is better"]),
    "running": (SMALL | {"missing": 3}, still_running, ["3 of 12 seeds still missing",
                                                        "The search still runs: 41 of 80 trials"]),
    "second chances": (SMALL, second_chances, [
        "2 of 40 trials were paused, 1 of them now; 1 went on, 1 of the 5 best among them: trial",
        "4th of 9 <at> step 300", "3rd of 12 at step 300", "5th of 7 at step 600",
        "Paused now", " old/config.yaml ", " last-week trial 17 "]),
    "learnt": (SMALL, learnt, ["Known before it the sampler knows 12 trials of 'last-week'; 2 others"]),
    "a dead machine": (SMALL, a_dead_machine, ["1 seed ended because the machine did"]),
    "unequal budget": (SMALL, shorter, ["The budget was not equal", "NOT equal"]),
    "one configuration": (SMALL | {"top": 1, "default": False}, lambda s: s, ["Take trial"]),
    "one trial": (SMALL, lambda s: replace(s, search=s.search[:1]), ["Search 1 of 40 trials ended"]),
    "no healthy trial": (
        SMALL,
        lambda s: no_stability(replace(s, search=[r for r in s.search if r.outcome.unhealthy])),
        ["No configuration is confirmed"],
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("case", CASES)
def test_every_study_gets_a_report_in_words(case):
    how, change, expected = CASES[case]
    text = text_of(change(evidence(**how)))
    for words in expected:
        assert words in text
    assert not NOT_NUMBERS.findall(text.replace("none of", "").replace("none are", ""))
    assert "Appendix" in text


def test_published_values_stand_beside_ours_with_a_warning():
    study = evidence(**SMALL, published=True)
    text = text_of(study)
    assert "NOT COMPARABLE: the published numbers are fid, ours are fd_classifier" in text
    assert "29.6 ± 1.6" in text
    other = study.published | {"metric": "fd_classifier"}
    text = text_of(replace(study, published=other))
    assert "NOT COMPARABLE: the published numbers are of 10,000 samples" in text
    alike = other | {"note": "of 2,000 samples"}
    text = text_of(replace(study, published=alike))
    assert "not confirmed here. Published: of 2,000 samples" in text
    assert "Comparable only if made alike" in text
    assert "NOT COMPARABLE" not in text


def test_text_from_outside_is_escaped():
    attack = "<script>alert(1)</script>"
    study = no_stability(evidence(**SMALL))
    study = replace(study, search=[], question=attack, facts={"launched": attack, "gansearch": attack})
    content = sections(Findings(study), {})
    shown = page(attack, attack, content, version=attack)
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;alert(1)") >= 5


def test_how_it_was_made_is_told():
    study = evidence(**SMALL)
    text = text_of(study)
    for fact in ("cbb575da860cf30a", "2,000", "60,000, split train", "averaged weights (EMA)", "0.1.0"):
        assert fact in text
    assert "checked: every success made them" in text
    assert re.search(r"Cost [\d.]+ \S+ of device time went to trials that .*diverged \(\d+ %\)", text)
    running = replace(study, facts={**study.facts, "dashboard": "http://127.0.0.1:8265/#/jobs/1"})
    assert "8265" not in text_of(running), "its driver has ended when the report is read"
    assert "Sent" not in text_of(replace(study, facts={**study.facts, SENT: 60}))
    assert "gansearch report fashion_mnist --by median --threshold 30.1234567" in page(
        "", "", sections(Findings(study, by="median", threshold=30.1234567), {})[-1:]
    )


def test_what_the_data_themselves_get_stands_beside_every_metric():
    """Of the objective among the facts; of all in a table, where others are measured."""
    study = evidence(**SMALL)
    floors = {
        study.metric: {"value": 1.25, "samples": 500, "real_samples": 900},
        "inception_score": {"value": 9.5, "samples": 500, "real_samples": 0},
        "recall": {"value": None, "samples": 500, "real_samples": 900},
        "final_coverage": {"value": 0.9688, "samples": 1000, "real_samples": 59000},
    }

    def told(names):
        for run in [*study.search, *study.stability]:
            known = {name: {**run.provenance[study.metric], "floor": floors[name]} for name in names}
            run.provenance = {study.metric: run.provenance[study.metric] | {"floor": None}} | known
        return text_of(study)

    beyond = "A value beyond that of the data themselves is no merit"
    assert beyond not in text_of(study)
    alone = told([study.metric])
    assert f"Of real samples the metric is 1.25 (500 of them against 900 others). {beyond}" in alone
    assert "What the data themselves get" not in alone
    text = told(floors)
    table = text[text.index("What the data themselves get") :]
    for row in (
        f"{study.metric} 1.25 500 900",
        "inception_score 9.5 500 \N{EN DASH}",
        "final_coverage 0.9688 1,000 59,000",
        "final_: of the best weights, at the end",
    ):
        assert row in table
    assert "recall" not in table[:600]
    assert "final_" not in told([study.metric, "inception_score"])


def test_only_what_was_done_is_told():
    study = evidence(**SMALL)
    searched, confirmed = "proposes configurations and trains each once", "on none of the search's"
    text = text_of(study)
    assert f"{searched}, but stops early" in text
    assert confirmed in text
    unpruned = [record for record in study.search if record.outcome is not Outcome.PRUNED]
    assert f"{searched}. " in text_of(replace(study, search=unpruned))
    assert searched not in text_of(no_search(study))
    assert "trains given configurations on fresh seeds" in text_of(no_search(study))
    assert "stability study trains" not in text_of(no_stability(study))


# --- the figures ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(found):
    """Every picture by its name."""
    content = sections(found, {})
    return {picture.name: picture for section in content for picture in section.pictures}


def test_every_axis_has_a_name_and_every_picture_words(drawn):
    for name, picture in drawn.items():
        axes = picture.figure.axes[0]
        assert len(picture.alt) > 10, name
        assert picture.caption.endswith("."), name
        if name not in ("superiority", "parallel"):
            assert axes.get_xlabel(), name


def test_the_ranking_shows_every_success_as_a_dot_and_counts_the_failures(found, drawn):
    axes = drawn["ranking"].figure.axes[0]
    table = plain(found.configurations)
    dots = sum(len(layer.get_offsets()) for layer in axes.collections)
    assert dots == table["successes"].sum()
    failing = table[table["successes"] < table["seeds"]]
    assert len(failing)
    notes = [text.get_text() for text in axes.texts]
    assert notes == [f"✕ {r.seeds - r.successes:.0f}/{r.seeds:.0f}" for r in failing.itertuples()]


def test_a_family_has_one_colour_in_every_figure(study, found, drawn):
    families = {*found.families, *(candidate.family for candidate in study.roster.candidates)}
    palette = Palette.of(families)
    assert len({palette.colour(family) for family in families}) == len(families)
    ranking, budget = (drawn[name].figure.axes[0] for name in ("ranking", "budget_trials"))
    colours = {line.get_label(): line.get_color() for line in budget.lines}
    for tick, family in zip(ranking.get_yticklabels(), found.ranked["family"], strict=True):
        assert tick.get_color() == colours[family] == palette.colour(family)
    assert len(set(OUTCOME_COLOURS.values())) == len(Outcome)


def test_the_map_draws_its_boundary_where_the_table_has_it(study):
    x = np.geomspace(1e-5, 1e-2, 21)
    grid = pd.DataFrame(
        [(a, b, 0.99 if a < 3.2e-4 else 0.5) for a in x for b in x], columns=["x", "y", "p"]
    )
    grid = grid.assign(low=grid["p"] - 0.01, high=grid["p"] + 0.01)
    grid.attrs = {"x": "lr", "y": "other", "x_log": True, "y_log": True}
    points = pd.DataFrame({"x": [1e-4], "y": [1e-4], "outcome": ["completed"]})
    with styled():
        axes = search_figures.stability_map(grid, points, "hinge").axes[0]
    paths = [p.vertices for c in axes.collections if hasattr(c, "levels") for p in c.get_paths()]
    boundary = np.concatenate([vertices for vertices in paths if len(vertices)])
    assert np.all((boundary[:, 0] > 2e-4) & (boundary[:, 0] < 4.1e-4))


@pytest.mark.parametrize("options", [(None, 0.99), (32, 64), (True, None), Int(3, 4)])
def test_options_that_are_numbers_are_drawn_where_their_labels_stand(options):
    """Beside an axis of numbers alone; one trial does not have the axis of options."""
    choice = not isinstance(options, Int)
    of, pair = (Choice({o: o for o in options}), options) if choice else (options, (3, 4))
    axes = {"lr": Float(1e-5, 1e-1, log=True), "of": of}
    params = [{"lr": 10**-i, "of": pair[i % 2]} for i in range(2, 5)] + [{"lr": 1e-3}]
    found = known_study([trial(i, p, value=float(i)) for i, p in enumerate(params)], axes)
    palette, points = Palette.of(["hinge"]), slices(found)
    with styled():
        drawn = search_figures.slices(points[points["axis"] == "of"], "of", of, palette, "fd", "min")
    dots = np.concatenate([c.get_offsets()[:, 0] for c in drawn.axes[0].collections])
    assert sorted(np.round(dots)) == [0, 0, 1]
    heights, ticks = search_figures.scaled(parallel(found)["of"], of)
    assert np.round(heights).tolist() == pytest.approx([0, 1, 0, math.nan], nan_ok=True)
    assert [label for _, label in ticks] == [str(option) for option in pair]


@pytest.mark.slow
def test_a_large_study_stays_under_10_mb(tmp_path):
    large = evidence(trials=5000, top=99, seeds=50, reports=10)
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "grid.png")
    grids = {candidate.label: tmp_path / "grid.png" for candidate in large.roster.candidates}
    path = write_report(large, tmp_path / "report", samples=grids)
    assert path.stat().st_size < 10e6
    assert sum(file.stat().st_size for file in (tmp_path / "report").rglob("*")) < 60e6


def test_a_section_without_anything_is_a_heading_alone():
    assert "Only a heading" in page("", "", [Section("x", "Only a heading")])


# --- sentences that follow the numbers ------------------------------------------------------------


def test_the_answer_names_the_winners_learning_rates_and_what_else_was_searched(study, found):
    best = found.rows[0]["configuration"]
    params = study.roster[best].params
    said = next(s for s in answer(found).sentences if "what was searched" in s)
    for side in ("generator", "discriminator"):
        path = f"optimizer.{side}.lr"
        told = re.search(rf"{re.escape(path)} = ([\d.e-]+)", said)
        assert float(told[1]) == pytest.approx(params[path], rel=0.005)
    assert said.index("optimizer") < said.index("loss = ")
    assert f"loss = {params['loss']}" in said
    assert f"generator.depth = {params['generator.depth']}" in said
    assert ("loss.penalty.weight" in said) == (params["loss"] == "wasserstein")


def test_a_default_s_values_are_read_from_its_configuration(study):
    default = next(c for c in study.roster.candidates if c.kind == "default")
    said = values_of(default.config, {}, study.axes)
    assert said.startswith("optimizer.discriminator.lr = 0.0002, optimizer.generator.lr = 0.0002, ")
    assert "loss = minimax" in said
    assert "penalty.weight" not in said


def test_an_unconfirmed_answer_says_how_the_best_run_ended_if_that_was_badly():
    """Where few reports were made, one that stalled may have the best of them."""
    found = replace(evidence(trials=3, top=1, seeds=1, reports=2), stability=[], roster=Roster())
    best = ranked(found.search, found.metric, found.goal)[0]
    for outcome, ended_badly in [
        (Outcome.STALLED, True),
        (Outcome.DIVERGED, True),
        (Outcome.FAILED, True),
        (Outcome.COMPLETED, False),
        (Outcome.PRUNED, False),
    ]:
        best.outcome = outcome
        said = f"That run did not train to its end: it ended as {outcome.value} at step {best.step}."
        assert (said in answer(Findings(found)).sentences) == ended_badly


def test_an_unconfirmed_answer_names_them_too():
    alone = evidence(**SMALL)
    alone = replace(alone, stability=[], roster=Roster())
    assert any("optimizer.generator.lr = " in s for s in answer(Findings(alone)).sentences)
    one = replace(alone, search=[next(r for r in alone.search if r.outcome is Outcome.COMPLETED)])
    assert "lucky" in " ".join(answer(Findings(alone)).sentences)
    assert "lucky" not in " ".join(answer(Findings(one)).sentences)


@pytest.mark.parametrize(("shift", "cursed"), [(50.0, True), (-50.0, False)])
def test_the_winners_curse_is_drawn_only_where_most_did_worse(shift, cursed):
    found = evidence(trials=30, top=3, seeds=4, reports=5)
    moved = [
        replace(
            run,
            reports=[
                replace(r, metrics=r.metrics | {"fd_classifier": r.metrics["fd_classifier"] + shift})
                for r in run.reports
            ],
        )
        for run in found.stability
    ]
    said = curse(Findings(replace(found, stability=moved)), Palette.of(["hinge"]))
    assert ("lucky one, and not what to report" in said.paragraphs[0]) is cursed
    assert ("was not lucky" in said.paragraphs[0]) is not cursed
    assert said.title == ("The winner's curse" if cursed else "Search and confirmation")


def test_training_curves_of_configurations_share_one_scale(study):
    with styled():
        found = Findings(study)
        shown = training(found, Palette.of(found.families))
        limits = [picture.figure.axes[0].get_ylim() for picture in shown.pictures]
        scales = {picture.figure.axes[0].get_yscale() for picture in shown.pictures}
    assert len(limits) > 1
    assert len(set(limits)) == len(scales) == 1
    labels = [row["configuration"] for row in found.rows]
    values = [
        report.metrics["fd_classifier"]
        for run in found.main.stability
        if run.configuration in labels
        for report in run.reports
        if math.isfinite(report.metrics["fd_classifier"])
    ]
    assert limits[0][0] <= min(values)
    assert limits[0][1] >= max(values)


def test_real_images_stand_before_samples(study, tmp_path):
    best = configurations.configurations(study).index[0]
    for name, colour in (("real", "green"), ("made", "red")):
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{name}.png")
    made = drawn_samples(Findings(study), {best: tmp_path / "made.png", REAL: tmp_path / "real.png"})
    assert [picture.name for picture in made.pictures] == ["samples-real", "samples-1"]
    assert "Real samples of fashion-mnist" in made.pictures[0].caption
    old = drawn_samples(Findings(study), {best: tmp_path / "made.png"})
    assert [picture.name for picture in old.pictures] == ["samples-1"]


def test_a_map_of_too_few_trials_is_a_sentence_not_a_picture():
    few = evidence(trials=3, top=1, seeds=1, reports=4, default=False)
    said = maps(Findings(few))
    assert not said.pictures
    assert re.search(r"No map of .*not enough trials \(\d\)", " ".join(said.paragraphs))
    table = said.tables[0]
    assert "not enough trials" in str(table)
    assert "nowhere" not in str(table)
