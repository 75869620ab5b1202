"""Tables as plain numbers and as rows: what drawing and printing need of them."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd

Row = dict[str, Any]
"""One row of a table by column; a named index is a column too."""


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """A copy whose nullable numbers are floats, with NaN for what cannot be said."""
    made = {
        str(name): column.astype("Float64").to_numpy(dtype=float, na_value=np.nan)
        for name, column in table.items()
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    }
    return table.assign(**made)


def rows_of(table: pd.DataFrame) -> list[Row]:
    """The rows of a table, its numbers as `plain` has them."""
    made = plain(table)
    if made.index.name is not None:
        made = made.reset_index()
    return cast("list[Row]", made.to_dict("records"))
