"""Studies on a cluster elsewhere, as Ray jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from gansearch.arguments import checked
from gansearch.files import PathLike
from gansearch.tuning.where import JobOptions, StoredOptions, Where, combined

if TYPE_CHECKING:
    from gansearch.tuning.jobs import Job, RemoteAnswer


@checked
def submit(
    study_file: PathLike,
    address: str,
    *,
    name: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    where: Where | None = None,
    **options: Unpack[JobOptions],
) -> Job:
    """Run a study on a cluster elsewhere as a Ray job; returns as soon as the cluster has it.

    Args:
        study_file: the YAML file.
        address: the cluster's dashboard, `http://HEAD:8265`.
        name: the study's name; None: the file's, with a number if an earlier job has it.
        overrides: values in place of the file's, by dotted key: {"search.trials": 8}.
        where, options: as the cluster sees it: its paths are absolute ones there, and what they do not
            say, the head's environment does. `modules` lie here, and go along.

    Raises:
        InvalidInput: with every mistake in the file that can be told without its data.
        ClusterError: the cluster does not answer, or does not take it.
        UserError: for anything else that the user can mend; nothing was submitted then.
    """
    from gansearch.tuning import jobs  # noqa: PLC0415

    there = combined(where, options)
    return jobs.submit(study_file, address, name=name, overrides=overrides, where=there)


@checked
def submit_resume(
    name: str,
    address: str,
    *,
    trials: int | None = None,
    device_hours: float | None = None,
    resources: Mapping[str, Any] | None = None,
    where: Where | None = None,
    **options: Unpack[JobOptions],
) -> Job:
    """Go on with such a study.

    Args:
        name: the study's.
        address, where, options: as for `submit`.
        trials, device_hours, resources: as for `resume`.

    Raises:
        ClusterError: the cluster does not answer, or does not take it.
    """
    from gansearch.tuning import jobs  # noqa: PLC0415
    from gansearch.tuning.extension import More  # noqa: PLC0415

    more = More(trials, device_hours, resources or {})
    there = combined(where, options)
    return jobs.submit_resume(name, address, there, trials, device_hours, more.overrides)


@checked
def job_logs(address: str, name: str, *, follow: bool = False) -> Iterator[str]:
    """What a study's job has printed, in pieces; see `gansearch.tuning.jobs.job_logs`."""
    from gansearch.tuning import jobs  # noqa: PLC0415

    return jobs.job_logs(address, name, follow=follow)


@checked
def remote(
    address: str,
    arguments: Sequence[str],
    *,
    where: Where | None = None,
    **options: Unpack[StoredOptions],
) -> RemoteAnswer:
    """Have a command answered by a cluster's head; see `gansearch.tuning.jobs.remote`."""
    from gansearch.tuning import jobs  # noqa: PLC0415

    return jobs.remote(address, arguments, combined(where, options))
