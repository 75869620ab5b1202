"""Write the pages of docs/reference that are made from the code: `make docs`."""

from collections.abc import Callable
from pathlib import Path

import typer

from gansearch import cli
from gansearch.catalogue.commands import commands_page
from gansearch.catalogue.pages import markdown

REFERENCE = Path(__file__).parent / "reference"
PAGES: dict[str, Callable[[], str]] = {
    "parts.md": markdown,
    "study-file.md": lambda: markdown("study"),
    "commands.md": lambda: commands_page(typer.main.get_command(cli.app)),
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page())
        print(REFERENCE / name)
