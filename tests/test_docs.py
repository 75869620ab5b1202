"""What the documents show is so: links, commands, studies, code, the house, and one whole notebook."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from typer.main import get_command

import gansearch
from gansearch import cli
from gansearch.errors import InvalidInput
from gansearch.study.document import Document, parse_document
from gansearch.study.records import Outcome
from gansearch.training.measuring import MEASURED, SPLIT
from gansearch.training.validation import read_study

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")]
)
GROUP = get_command(cli.app)


class Block(NamedTuple):
    """A block of code in a document."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(language: str) -> list[Block]:
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text()
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.S | re.M):
            found.append(Block(page, text.count("\n", 0, match.start()) + 2, match[1]))
    return found


# Links


def slugs(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    kept = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.strip().replace(" ", "-") for title in kept}


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_are_there(page):
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.S | re.M)
    text = re.sub(r"`[^`\n]*`", lambda code: "" if "](" in code[0] else code[0], text)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), f"{page}: {target}"
        assert not anchor or anchor in slugs(file), f"{page}: no heading for {target}"


def test_every_page_can_be_reached_from_the_readme():
    reached, ahead = set(), ["README.md"]
    while ahead:
        page = ahead.pop()
        if page in reached or not page.endswith(".md"):
            continue
        reached.add(page)
        for target in re.findall(r"\]\(([^)\s#]+\.md)[^)]*\)", (ROOT / page).read_text()):
            if not target.startswith("http"):
                file = ((ROOT / page).parent / target).resolve()
                ahead.append(file.relative_to(ROOT).as_posix())
    assert set(PAGES) - reached <= {"CHANGELOG.md"}


def test_every_picture_is_shown():
    texts = "".join((ROOT / page).read_text() for page in PAGES)
    for picture in ROOT.glob("docs/**/*.png"):
        assert picture.name in texts, f"no document shows {picture.name}"


# Commands


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each command after a prompt, one list for each command in a chain."""
    for line in re.findall(r"^\$ (.*)$", block.text, re.M):
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
        lexer.whitespace_split = True
        command: list[str] = []
        for word in [*lexer, "&&"]:
            if set(word) <= set("&|;"):
                yield command
                command = []
            else:
                command.append(word)


@pytest.mark.parametrize("block", blocks("console"), ids=str)
def test_commands_parse(block):
    told = list(commands(block))
    assert told, "a console block has commands after `$ `"
    for words in told:
        name = Path(words[0]).name
        if name == "gansearch":
            GROUP.commands[words[1]].make_context(words[1], words[2:])
        elif name == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.M), words
        elif name == "python" and words[1:2] == ["-m"]:
            assert is_program(words[2]), words


def is_program(name: str) -> bool:
    """Whether `python -m` takes it: a module of the repository, or a package with a `__main__`."""
    place = ROOT / name.replace(".", "/")
    return place.with_suffix(".py").exists() or (place / "__main__.py").exists()


def test_a_wrong_option_would_be_seen():
    with pytest.raises(Exception, match=r"[Nn]o such option"):
        GROUP.commands["run"].make_context("run", ["study.yaml", "--trails", "4"])


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_the_text_exist(page):
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.S | re.M)
    for told in re.findall(r"`(gansearch [^`]+)`", text):
        words = shlex.split(told, comments=True)
        if words[1] in ("COMMAND", "--help"):
            continue
        assert words[1] in GROUP.commands, f"{page}: {told}"
        options = {o for p in GROUP.commands[words[1]].params for o in (*p.opts, *p.secondary_opts)}
        for word in words[2:]:
            assert not word.startswith("--") or word in {*options, "--help"}, f"{page}: {told}"
    for module in re.findall(r"`(?:python -m )?benchmarks\.(\w+)", text):
        assert is_program(f"benchmarks.{module}"), f"{page}: benchmarks.{module}"


# Python


def file_of(block: Block) -> str:
    """The file that a block of Python is, as its first line says; "" where it is none."""
    named = re.match(r"# (\w+\.py)\n", block.text)
    return named[1] if named else ""


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Iterator[Path]:
    """A folder with every module that the documents write, from which they can be imported."""
    folder = tmp_path_factory.mktemp("own")
    for block in blocks("python"):
        if name := file_of(block):
            assert not (folder / name).exists(), f"{block}: two documents write {name}"
            (folder / name).write_text(block.text)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    yield folder
    sys.path.remove(str(folder))


@pytest.mark.parametrize("block", [b for b in blocks("python") if file_of(b)], ids=str)
def test_modules_run_and_pass_their_own_tests(block, own):
    module = importlib.import_module(file_of(block).removesuffix(".py"))
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    assert bool(tests) == module.__name__.startswith("test_")
    for test in tests:
        test()


@pytest.mark.parametrize("block", [b for b in blocks("python") if not file_of(b)], ids=str)
def test_other_code_compiles_and_calls_what_there_is(block):
    for node in ast.walk(ast.parse(block.text)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if isinstance(node.func.value, ast.Name) and node.func.value.id == "gansearch":
            function = getattr(gansearch, node.func.attr)
            keywords = {keyword.arg: None for keyword in node.keywords}
            inspect.signature(function).bind(*node.args, **keywords)


def test_the_loss_of_the_documents_is_sharper_when_cold(own):
    import torch

    tempered = importlib.import_module("my_losses").Tempered(temperature=0.1)
    assert tempered.d(torch.ones(4), -torch.ones(4)) < 0.01


def test_every_function_is_on_the_page_of_python():
    page = (ROOT / "docs/reference/python.md").read_text()
    classes = {name for name in gansearch.__all__ if isinstance(getattr(gansearch, name), type)}
    for name in gansearch.__all__:
        assert (name if name in classes else f"| `{name}(") in page, name
    for name in re.findall(r"^\| `(\w+)\(", page, re.M):
        assert name in gansearch.__all__, name


# Studies

BASE = yaml.safe_load("{data: digits, generator: {name: mlp}, discriminator: {name: mlp, norm: none}}")
MISSING = ("is not in", "there is no folder", "there is no file")
"""Data that this machine may not have."""


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_studies_and_parts_of_them_are_valid(block, own, tmp_path):
    document = parse_document(block.text, str(block))
    whole = Document(document.source, {**BASE, **document.tree}, document.lines)
    try:
        read_study(whole, tmp_path, find=lambda _: [])  # a reader's files and studies are not here
    except InvalidInput as error:
        wrong = [str(p) for p in error.problems if not any(why in p.message for why in MISSING)]
        assert not wrong, "\n".join(wrong)


def test_the_readmes_study_is_the_file_that_it_names():
    (block,) = [b for b in blocks("yaml") if b.page == "README.md"]
    assert yaml.safe_load(block.text) == yaml.safe_load(
        (ROOT / "studies/fashion_mnist.yaml").read_text()
    )
    text = (ROOT / "README.md").read_text()
    trials = yaml.safe_load(block.text)["search"]["trials"]
    for page in ("README.md", "docs/explanation/why-fresh-seeds.md"):
        for told in re.findall(r"search of (\d+) trials", (ROOT / page).read_text()):
            assert int(told) == trials, page
    quickstart = yaml.safe_load((ROOT / "studies/quickstart.yaml").read_text())
    completed, pruned = map(int, re.search(r"(\d+) completed, (\d+) pruned", text).groups())
    assert completed + pruned == quickstart["search"]["trials"]
    again, count = quickstart["stability"], quickstart["stability"]["top"] + 1  # and the default
    assert f"{count} configurations, {count * again['seeds']} seeds" in text


# The house, the environment, the outcomes


def test_the_house_is_as_it_is_drawn():
    page = (ROOT / "docs/explanation/the-house.md").read_text()
    tree = page.partition("## Rooms")[2].partition("## Floors")[0]
    drawn = set(re.findall(r"^  ([\w.]+)/? +\S", tree, re.M))
    package = ROOT / "gansearch"
    rooms = {path.name for path in package.iterdir() if (path / "__init__.py").exists()}
    files = {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    assert drawn == rooms | files
    for room in rooms:
        assert f"  {room}/ " in page
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    floors = [layer.replace("gansearch.", "") for layer in contracts[0]["layers"]]
    assert "```text\n" + "\n".join(floors) + "\n```" in page
    assert re.findall(r"^- (.*)$", page.partition("Further contracts")[2], re.M) == [
        contract["name"] for contract in contracts[1:]
    ]


def test_the_map_for_contributors_has_every_folder():
    page = (ROOT / "CONTRIBUTING.md").read_text().partition("## Where what lies")[2]
    told = re.findall(r"^(\w+)/ +\S", page, re.M)
    assert all((ROOT / name).is_dir() for name in told)
    if (ROOT / ".git").exists():  # where it is a checkout, and no archive
        listed = subprocess.check_output(["git", "-C", ROOT, "ls-files"], text=True)
        folders = {path.partition("/")[0] for path in listed.splitlines() if "/" in path}
        assert {name for name in folders if not name.startswith(".")} == set(told)


def test_every_variable_is_on_the_page_of_the_environment():
    page = (ROOT / "docs/reference/environment.md").read_text()
    sources = "".join(path.read_text() for path in ROOT.glob("gansearch/**/*.py"))
    used = set(re.findall(r"GANSEARCH_[A-Z_]+[A-Z]", sources))
    assert used == set(re.findall(r"GANSEARCH_[A-Z_]+[A-Z]", page))


def test_every_outcome_and_every_number_of_a_report_is_explained():
    page = (ROOT / "docs/reference/outcomes.md").read_text()
    for outcome in Outcome:
        assert f"| `{outcome.value}` |" in page
    for name in (*MEASURED, *SPLIT):
        assert re.search(rf"^\|.*`{name}`.* \|", page, re.M), name


def rows_below(page: str, heading: str) -> dict[str, list[str]]:
    """The first table below a heading: its cells by that of the first column."""
    below = (ROOT / page).read_text().partition(f"\n## {heading}\n")[2]
    table = re.search(r"(^\|.*\n)+", below, re.M)
    assert table, f"{page}: no table below {heading}"
    cells = [
        [cell.strip(" *") for cell in row.strip("|").split(" | ")] for row in table[0].splitlines()
    ]
    return {first: rest for first, *rest in cells}


def test_what_policies_bring_is_the_same_on_both_pages():
    measured = rows_below("benchmarks/search.md", "Which policy finds the best configurations soonest")
    told = rows_below("docs/explanation/when-to-prune.md", "What it brings")
    same = {
        "random, nothing pruned": "random, nothing pruned",
        "TPE, `asha` that stops": "0.1.0: TPE, stopping ASHA",
        "the default first, `asha` that stops": "default first, TPE, stopping ASHA",
        "the default first, `asha` with second chances": "default first, TPE, second chances",
        "the same with the sampler [`curves`](which-sampler.md)": "ours",
    }
    assert [*told][2:] == [*same]
    for ours, theirs in same.items():
        ring, fashion, digits = (cell.partition(" ")[0].strip("*") for cell in measured[theirs][:3])
        rounded = [
            cell if cell == "never" else f"{float(cell):.0f}" for cell in (ring, digits, fashion)
        ]
        assert told[ours] == rounded, ours


def test_words_are_explained_once():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    words = re.findall(r"^\| ([\w ]+) \| ", page, re.M)[1:]
    assert len(words) >= 15
    assert len(set(words)) == len(words)


def test_the_citation_names_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == gansearch.__version__
    assert cited["license"] == "Apache-2.0"
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()


# The notebook

NOTEBOOK = ROOT / "examples/quickstart.ipynb"


@pytest.mark.slow  # what it does is tested elsewhere, piece by piece
def test_the_notebook_runs_from_top_to_bottom(tmp_path):
    """Its code cells, one after another in one namespace, in a process of their own."""
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(sources) >= 6
    (tmp_path / "studies").symlink_to(ROOT / "studies")
    (tmp_path / "examples").mkdir()
    runner = tmp_path / "cells.py"
    runner.write_text("\n\n".join(sources))
    done = subprocess.run(
        [sys.executable, str(runner)],
        cwd=tmp_path / "examples",
        env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    made = tmp_path / "examples" / "runs" / "notebook"
    assert (made / "report" / "report.html").is_file()
    assert (tmp_path / "examples" / "best" / "generator.safetensors").is_file()


def test_the_notebook_was_run_with_the_code_that_it_shows():
    """Outputs are there, none of them an error: `python -m docs.notebook` runs and saves it."""
    cells = [c for c in json.loads(NOTEBOOK.read_text())["cells"] if c["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
    assert kinds
    assert "error" not in kinds
    for cell in cells:
        for output in cell["outputs"]:
            assert "site-packages" not in json.dumps(output), "a path of the author's machine"
