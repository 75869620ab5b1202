"""Every private name of Ray, Optuna and MLflow that gansearch uses, with the version last seen.

Private names may go with any release: pyproject.toml bounds these libraries above, and when a bound is
raised, this test tells in seconds what has gone. A private import that is not listed here fails, too.
"""

import ast
import importlib
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]

LAST_SEEN = {"ray": "2.60.0", "optuna": "5.0.0", "mlflow": "3.17.2"}

PRIVATE = {
    "ray._private.authentication.authentication_token_setup": "tuning/connection.py",
    "ray._private.node:Node.start_api_server": "tuning/connection.py",
    "ray._private.node:Node.start_log_monitor": "tuning/connection.py",
    "ray._private.node:Node.start_monitor": "tuning/connection.py",
    "ray._private.ray_constants:DEBUG_AUTOSCALING_STATUS": "tuning/nodes.py",
    "ray._private.services:canonicalize_bootstrap_address": "tuning/connection.py",
    "ray._private.utils:get_dashboard_dependency_error": "tuning/connection.py",
    "ray._private.worker:get_dashboard_url": "tuning/connection.py",
    "ray._raylet:GcsClient": "tuning/connection.py",
    "ray.experimental.internal_kv:_internal_kv_get": "tuning/nodes.py",
    "ray.air.execution._internal.actor_manager:RayActorManager._actor_task_failed": "tuning/deaths.py",
    "ray.air._internal.usage:tag_callbacks": "tuning/engine.py",
    "ray.actor:ActorHandle._actor_id": "tuning/dispatcher.py",
    "optuna.samplers._tpe.parzen_estimator:_ParzenEstimator": "search/samplers.py",
    "optuna.samplers:TPESampler._build_parzen_estimator": "search/samplers.py",
    "optuna.search_space.group_decomposed:_GroupDecomposedSearchSpace": "search/samplers.py",
    "optuna.search_space.group_decomposed:_SearchSpaceGroup": "search/samplers.py",
    "optuna.study:Study._get_trials": "search/samplers.py",
    "optuna.storages:InMemoryStorage._get_trial": "search/history.py",
    "optuna.storages:InMemoryStorage._set_trial": "search/history.py",
    "optuna.storages.journal._storage:JournalOperation": "journal/file.py",
    "optuna.storages.journal._storage:JournalStorageReplayResult": "journal/reading.py",
    "optuna.storages._rdb:models": "journal/database.py",
    "mlflow.store.tracking.sqlalchemy_store:SqlAlchemyStore": "tracking/bulk.py",
    "mlflow.store.tracking.dbmodels:models": "tracking/bulk.py",
    "mlflow.utils.uri:append_to_uri_path": "tracking/bulk.py",
    "mlflow.utils.uri:is_local_uri": "tracking/bulk.py",
    "mlflow.utils.file_utils:local_file_uri_to_path": "tracking/bulk.py",
    "mlflow.utils.validation:_validate_metric_name": "tracking/bulk.py",
    "mlflow.utils.validation:_validate_param_name": "tracking/bulk.py",
    "mlflow.utils.validation:_validate_tag_name": "tracking/bulk.py",
}
"""`module:name` or a module -> the file that uses it."""

INSTANCES_ONLY = {"ray.actor:ActorHandle._actor_id"}
"""Attributes that only an instance has."""


def resolve(name: str) -> object:
    module, _, path = name.partition(":")
    found: object = importlib.import_module(module)
    for attribute in filter(None, path.split(".")):
        if not hasattr(found, attribute):  # a submodule, unless it is gone
            importlib.import_module(f"{module}.{attribute}")
        found = getattr(found, attribute)
    return found


@pytest.mark.parametrize("name", sorted(set(PRIVATE) - INSTANCES_ONLY))
def test_it_is_still_there(name):
    library = name.partition(".")[0]
    try:
        resolve(name)
    except (ImportError, AttributeError) as error:
        seen, now = LAST_SEEN[library], metadata.version(library)
        pytest.fail(f"{name} was last seen in {library} {seen}, and {library} is {now} here: {error}")


@pytest.mark.parametrize("library", LAST_SEEN)
def test_no_release_beyond_the_one_last_seen_is_allowed(library):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = {r.name: r.specifier for r in map(Requirement, project["dependencies"])}[library]
    seen = Version(LAST_SEEN[library])
    assert bounds.contains(seen)
    assert not bounds.contains(Version(f"{seen.major}.{seen.minor + 1}"))
    assert not bounds.contains(Version(f"{seen.major + 1}.0"))


def private_imports(path: Path) -> set[str]:
    """`module:name` for each import, in a file, of what Ray, Optuna or MLflow marks as private."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in LAST_SEEN:
            imported |= {f"{node.module}:{alias.name}" for alias in node.names}
    return {
        name for name in imported if any(p.startswith("_") for p in name.replace(":", ".").split("."))
    }


def test_no_private_import_is_missing_from_the_list():
    listed = {name.replace(":", ".") for name in PRIVATE}
    for path in sorted((ROOT / "gansearch").rglob("*.py")):
        for name in private_imports(path):
            known = any(each.startswith(name.replace(":", ".")) for each in listed)
            assert known, f"{path.relative_to(ROOT)} imports {name}: add it to PRIVATE"


@pytest.mark.parametrize("name", sorted(PRIVATE))
def test_the_file_that_is_said_to_use_it_does(name):
    text = (ROOT / "gansearch" / PRIVATE[name]).read_text()
    assert name.replace(":", ".").rpartition(".")[2] in text, f"{PRIVATE[name]} no longer uses {name}"
