"""Configuration files as a study of their own: nothing is searched, each is trained on many seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gansearch.data import DataSet
from gansearch.errors import UserError
from gansearch.search.selection import check_comparable, shared_sections
from gansearch.study.config import AXES_ALLOWED, TrialConfig
from gansearch.study.document import configuration_file, parse_document, write_document
from gansearch.study.plan import Stability
from gansearch.study.spec import RESERVED, StudySpec
from gansearch.training.prepare import LocalPaths
from gansearch.training.validation import load_config, read_study


def read_configs(
    files: Sequence[Path], places: LocalPaths, overrides: Mapping[str, Any] | None = None
) -> dict[str, TrialConfig]:
    """Configurations by label: the file's name, or its folder's where that is all that tells.

    Args:
        files: of configurations, or folders of exports.
        places: of data on this machine.
        overrides: values in place of the files', by dotted key.

    Raises:
        InvalidInput: a file with mistakes.
        UserError: two files of one label, or of one that is taken.
    """
    configs: dict[str, TrialConfig] = {}
    for file in map(configuration_file, files):
        label = file.resolve().parent.name if file.stem == "config" else file.stem
        if RESERVED.fullmatch(label):
            raise UserError(f"{file}: the label '{label}' is taken: give the file another name")
        if label in configs:
            raise UserError(f"two configurations are called '{label}': rename one of the files")
        configs[label] = load_config(file, places.data, overrides)[0]
    return configs


def study_of(
    configs: Mapping[str, TrialConfig], wanted: Stability, seed: int, places: LocalPaths
) -> tuple[StudySpec, DataSet]:
    """The study that trains each configuration on the seeds that are wanted, and its data.

    Args:
        configs: by label.
        wanted: how many seeds.
        seed: of the study, from which theirs follow.
        places: of data on this machine.

    Raises:
        InvalidInput: the configurations differ in what must be the same for all.
    """
    first, *_ = configs
    check_comparable(configs, configs[first], first)
    given = {
        label: {key: value for key, value in config.plain().items() if key in AXES_ALLOWED}
        for label, config in configs.items()
    }
    tree = {
        "question": f"Which keeps working: {', '.join(configs)}?",
        **shared_sections(configs[first]),
        **given[first],  # what the study itself says is of no moment where nothing is searched
        "search": {"trials": 0, "seed": seed},
        "stability": {
            "top": 0,
            "seeds": wanted.seeds,
            "default": False,
            "configurations": given,
        },
    }
    document = parse_document(write_document(tree), "the configurations")
    return read_study(document, places.data)
