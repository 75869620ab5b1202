"""The table of a study's trials, `trials.csv`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from gansearch import files
from gansearch.files import Place
from gansearch.study.records import columns_of


def write_table(path: Place, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `trials.csv`: one row a trial, the columns of all of them, whole or not at all."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns_of(rows) or ["number"])
    writer.writeheader()
    writer.writerows({k: _cell(v) for k, v in row.items()} for row in rows)
    files.write(path, text.getvalue())


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value
