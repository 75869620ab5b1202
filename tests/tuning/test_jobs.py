"""Studies as jobs of a cluster elsewhere: what is refused, what is given, and a real cluster."""

import json
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from gansearch import api, modules
from gansearch.errors import ClusterError, InvalidInput, StudyError, UserError
from gansearch.tuning import entrypoint, job_server, jobs
from gansearch.tuning.where import OPTIONS, Where

NOBODY = "http://127.0.0.1:9"

STUDY = """
data: {name: digits}
generator: {name: mlp, depth: 1, width: 16}
discriminator: {name: mlp, depth: 1, width: 16}
loss: {name: "my_losses:Tempered", temperature: {log: [0.1, 10]}}
batch_size: 32
budget: {steps: 20, report_every: 20}
evaluation: {samples: 50, metrics: [fd_classifier]}
search: {trials: 1, sampler: random}
pruner: {name: none}
"""

LOSS = """
import sys

from torch.nn.functional import softplus

class Tempered:
    g_uses_real = False
    decision = 0.0

    def __init__(self, *, temperature: float = 1.0) -> None:
        self.t = temperature
        print("tempered by", temperature, file=sys.stderr)

    def d(self, real, fake):
        return self.t * (softplus(-real / self.t).mean(-1) + softplus(fake / self.t).mean(-1))

    def g(self, real, fake):
        return self.t * softplus(-fake / self.t).mean(-1)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A laptop's folder with a study and the loss that it names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "study.yaml").write_text(STUDY)
    (tmp_path / "my_losses.py").write_text(LOSS)
    yield tmp_path
    sys.modules.pop("my_losses", None)


class TestRefusals:
    """All of these are told before the cluster is asked: nobody answers at its address."""

    def test_mistakes_in_the_study(self, folder):
        text = STUDY.replace("width: 16", "widht: 16").replace("sampler: random", "sampler: randm")
        (folder / "study.yaml").write_text(text)
        with pytest.raises(InvalidInput, match="3 mistakes") as told:
            jobs.submit("study.yaml", NOBODY)
        assert "widht" in str(told.value)
        assert "did you mean 'random'?" in str(told.value)

    def test_mistakes_in_what_overrides_it(self, folder):
        with pytest.raises(InvalidInput, match=r"--set search\.trials"):
            jobs.submit("study.yaml", NOBODY, overrides={"search.trials": 0})

    @pytest.mark.parametrize("address", ["auto", "head:6379", "ray://head:10001", "", "http://"])
    def test_addresses_of_something_else(self, folder, address):
        with pytest.raises(UserError, match="http://HEAD:8265"):
            jobs.submit("study.yaml", address)

    @pytest.mark.parametrize(
        "given",
        [
            {"storage": "postgresql://me:hunter2@db/optuna"},
            {"storage": "postgresql://db/optuna?user=me&password=hunter2"},
            {"tracking": "https://me:hunter2@mlflow"},
            {"runs_dir": "s3://key:hunter2@bucket/runs"},
            {"overrides": {"question": "http://me:hunter2@host?"}},
        ],
    )
    def test_passwords(self, folder, given, monkeypatch):
        monkeypatch.setattr(job_server, "open_client", Recorder)
        with pytest.raises(UserError, match=r"(would show|looks like) a password") as told:
            api.submit("study.yaml", NOBODY, **given)
        assert "hunter2" not in str(told.value)

    def test_a_password_in_the_study_itself(self, folder):
        (folder / "study.yaml").write_text("question: see http://me:hunter2@host" + STUDY)
        with pytest.raises(InvalidInput, match="line 1, question: looks like a password"):
            jobs.submit("study.yaml", NOBODY)
        (folder / "study.yaml").write_text("# see http://me:hunter2@host" + STUDY)
        with pytest.raises(UserError, match="the study file would show a password"):
            jobs.submit("study.yaml", NOBODY)

    @pytest.mark.parametrize("what", ["data", "inception", "runs_dir"])
    def test_places_that_are_none_on_the_cluster(self, folder, what, monkeypatch):
        monkeypatch.setattr(job_server, "open_client", Recorder)
        with pytest.raises(UserError, match="from the root"):
            api.submit("study.yaml", NOBODY, **{what: "here"})

    @pytest.mark.parametrize("name", ["../escape", "/tmp/x", ".hidden", "a b"])
    def test_names_that_leave_the_runs_directory(self, folder, name, monkeypatch):
        monkeypatch.setattr(job_server, "open_client", Recorder)
        with pytest.raises(StudyError, match="cannot be a study's name"):
            jobs.submit("study.yaml", NOBODY, name=name)

    @pytest.mark.parametrize(
        "name", ["../study", "/shared/runs/study", "runs/study", "s3://b/study", ".."]
    )
    def test_a_study_elsewhere_on_the_head(self, name):
        for ask in (
            lambda: jobs.remote(NOBODY, ["status", name]),
            lambda: jobs.submit_resume(name, NOBODY),
        ):
            with pytest.raises(StudyError, match="cannot be a study's name"):
                ask()

    def test_modules_that_are_not_there(self, folder):
        with pytest.raises(UserError, match="neither the folder of a package"):
            api.submit("study.yaml", NOBODY, modules=["missing.py"])

    def test_a_cluster_that_does_not_answer(self, folder):
        with pytest.raises(ClusterError, match=f"no Ray cluster answers at {NOBODY}") as told:
            list(jobs.job_logs("http://me:hunter2@127.0.0.1:9", "study"))
        assert "hunter2" not in str(told.value)


class Recorder:
    """A job server's client that remembers what it was given."""

    given: dict | None = None

    def __init__(self, address):
        Recorder.given, Recorder.jobs = None, []

    def list_jobs(self):
        return Recorder.jobs

    def submit_job(self, **given):
        folder = Path(given["runtime_env"]["working_dir"])
        files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
        Recorder.given = given | {"files": files}
        Recorder.jobs = [Record(given["submission_id"], given["metadata"])]
        return given["submission_id"]


class Record:
    """Ray's record of a job, as far as it is read."""

    message = start_time = driver_exit_code = None

    status = SimpleNamespace(value="PENDING")

    def __init__(self, submission_id, metadata):
        self.submission_id, self.metadata = submission_id, metadata


class TestWhatIsGiven:
    @pytest.fixture(autouse=True)
    def recorder(self, monkeypatch):
        monkeypatch.setattr(job_server, "open_client", Recorder)

    def test_the_study_and_the_modules_that_it_names(self, folder):
        (folder / "helpers" / "deep").mkdir(parents=True)
        (folder / "helpers" / "deep" / "more.py").touch()
        (folder / "unrelated.py").touch()
        api.submit("study.yaml", NOBODY, modules=["helpers"])
        assert Recorder.given["files"] == {"study.yaml", "my_losses.py", "helpers/deep/more.py"}
        assert " --module helpers " in Recorder.given["entrypoint"], "to be kept with the study"

    def test_a_package_that_is_installed_stays_here(self, folder):
        tree = {"loss": "scipy.stats:norm", "path": "no_such_module:at_all", "time": "12:30"}
        assert modules.own_modules(tree) == []

    def test_a_package_of_one_s_own_goes_whole(self, folder):
        (folder / "mine").mkdir()
        (folder / "mine" / "__init__.py").touch()
        assert modules.own_modules([{"name": "mine.losses:Tempered"}]) == [folder / "mine"]

    def test_a_resumed_study_s_modules(self, folder):
        job = api.submit_resume("study", NOBODY, modules=["my_losses.py"])
        assert Recorder.given["files"] == {"my_losses.py"}
        assert Recorder.given["entrypoint"].startswith(
            "gansearch resume study --address auto --module my_losses.py"
        )
        assert (job.study, job.command, job.state) == ("study", "resume", "pending")

    def test_what_a_resumed_search_is_to_have_in_all(self, folder):
        jobs.submit_resume("study", NOBODY, trials=40, device_hours=1234.5678)
        words = shlex.split(Recorder.given["entrypoint"])
        assert words[words.index("--trials") + 1] == "40"
        assert words[words.index("--set") + 1] == "search.budget.device_hours=1234.5678"
        jobs.submit_resume("study", NOBODY)
        assert not {"--trials", "--set"} & set(shlex.split(Recorder.given["entrypoint"]))

    def test_every_option(self, folder):
        said = {
            "runs_dir": "/shared/runs",
            "concurrency": 3,
            "data": "/shared/data",
            "inception": "/shared/weights.pth",
            "storage": "postgresql://db/optuna",
            "tracking": "http://mlflow:5000",
            "modules": ["my_losses.py"],
        }
        assert said.keys() == OPTIONS.keys() - {"address", "nice"}, "the head joins its own cluster"
        for submit in (
            lambda: jobs.submit("study.yaml", NOBODY, where=Where().but(**said)),
            lambda: jobs.submit_resume("study", NOBODY, Where().but(**said)),
        ):
            submit()
            words = shlex.split(Recorder.given["entrypoint"])
            for name, value in said.items():
                text = value[0] if isinstance(value, list) else str(value)
                assert words[words.index(f"--{OPTIONS[name].flag}") + 1] == text
            assert words[words.index("--address") + 1] == "auto"

    def test_nothing_of_this_machine_s_environment(self, folder, monkeypatch):
        monkeypatch.setenv("GANSEARCH_STORAGE", "postgresql://me:hunter2@db")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
        jobs.submit("study.yaml", NOBODY)
        assert "hunter2" not in str(Recorder.given)
        assert Recorder.given["runtime_env"].keys() == {"working_dir"}

    def test_a_name_that_no_earlier_job_has(self, folder, monkeypatch):
        studies = {"a": {"study": "study"}, "b": {"study": "study-2"}, "c": None}
        earlier = [Record(*one) for one in studies.items()]
        monkeypatch.setattr(Recorder, "list_jobs", lambda self: Recorder.jobs or earlier)
        assert jobs.submit("study.yaml", NOBODY).study == "study-3"

    def test_its_address_wins_over_the_environment_s(self, monkeypatch):
        seen = {}

        class Client:
            def __init__(self, address):
                seen["variable"] = os.environ["RAY_API_SERVER_ADDRESS"]

        monkeypatch.undo()
        monkeypatch.setattr("ray.job_submission.JobSubmissionClient", Client)
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://another:8265")
        job_server.open_client(NOBODY)
        assert seen == {"variable": NOBODY}
        assert os.environ["RAY_API_SERVER_ADDRESS"] == "http://another:8265"


class TestShell:
    """The lines that the head's shell is given, run by a shell."""

    @pytest.fixture
    def shell(self, tmp_path):
        """Runs a line where `gansearch` says what it was given, one argument a line, and fails."""
        tool = tmp_path / "bin" / "gansearch"
        tool.parent.mkdir()
        tool.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\necho trouble >&2\nexit 3\n")
        tool.chmod(0o755)

        def run(line, **environment):
            path = f"{tool.parent}:{os.environ['PATH']}"
            return subprocess.run(
                ["/bin/sh", "-c", line],
                env={"PATH": path} | environment,
                capture_output=True,
                text=True,
                check=False,
            )

        return run

    def test_arguments_arrive_as_they_are(self, shell):
        words = ["run", "my study.yaml", "--set", "question=What's $HOME; `id`?"]
        assert shell(
            entrypoint.command(words, Where(runs_dir="/shared/my runs"))
        ).stdout.splitlines() == [
            *words,
            "--runs-dir",
            "/shared/my runs",
        ]

    def test_the_head_says_where_studies_are(self, shell):
        line = entrypoint.command(["status", "x"], Where())
        said = shell(line, GANSEARCH_RUNS="/shared/my runs").stdout.splitlines()
        assert said == ["status", "x", "--runs-dir", "/shared/my runs"]
        unsaid = shell(line)
        assert unsaid.returncode != 0
        assert "GANSEARCH_RUNS: it is not set in the environment of the head" in unsaid.stderr

    def test_output_and_errors_are_told_apart(self, shell):
        done = shell(
            entrypoint.captured(entrypoint.command(["status", "x"], Where(runs_dir="/r")), "MARK")
        )
        _, stdout, stderr = done.stdout.split("MARK\n")
        assert (stdout, stderr) == ("status\nx\n--runs-dir\n/r\n", "trouble\n")
        assert done.returncode == 3


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    found = [str(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head on loopback that wants a token: its job server's address, its own, what a laptop knows."""
    pytest.importorskip("aiohttp_cors", reason="the job server needs ray[default]")
    folder = tmp_path_factory.mktemp("cluster")
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    knows = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    is_head = {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # loopback alone, as in gansearch.tuning.connection
        "RAY_USAGE_STATS_ENABLED": "0",
        "GANSEARCH_RUNS": str(folder / "runs"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    session = tempfile.mkdtemp(prefix="ray-")  # a socket's path must be short
    gcs, client, dashboard, agent = free_ports(4)
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        *("--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", f"--port={gcs}"),
        *(f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}"),
        *("--include-dashboard=true", f"--dashboard-port={dashboard}", "--num-cpus=2"),
        *("--object-store-memory=80000000", f"--temp-dir={session}"),
    ]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env={**os.environ, **knows, **is_head}, **quiet) as head:
        try:
            address = f"http://127.0.0.1:{dashboard}"
            _wait_for(address, token.read_text(), head)
            yield SimpleNamespace(address=address, knows=knows, gcs=f"127.0.0.1:{gcs}")
        finally:
            _end(head)
            shutil.rmtree(session, ignore_errors=True)


def _wait_for(address, token, head):
    deadline = time.monotonic() + 90
    request = urllib.request.Request(
        f"{address}/api/version", headers={"Authorization": f"Bearer {token}"}
    )
    while time.monotonic() < deadline and head.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError("the head did not start")


def _end(head):
    """End a head and whatever it started, and nothing else."""
    import psutil

    family = psutil.Process(head.pid).children(recursive=True)
    head.terminate()
    _, left = psutil.wait_procs([psutil.Process(head.pid), *family], timeout=10)
    for process in left:
        process.kill()


def laptop(code, folder, **environment):
    """What some lines of Python print as JSON, in a process that ends with them."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import json\nfrom gansearch import api\nfrom gansearch.tuning import job_server, jobs\n"
            + code,
        ],
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_a_study_goes_on_when_the_laptop_is_closed(cluster, folder):
    address, knows = cluster.address, cluster.knows
    given, noise = laptop(
        f"job = api.submit('study.yaml', {address!r}, tracking='off')\nprint(json.dumps(vars(job)))",
        folder,
        RAY_ADDRESS="127.0.0.1:9",  # of another cluster: what is said in the call must win
        **knows,
    )
    assert (given["study"], given["command"], given["state"]) == ("study", "run", "pending")
    assert "Uploading" not in noise

    found, _ = laptop(
        f"""
address = {address!r}
log = "".join(jobs.job_logs(address, "study", follow=True))
job = job_server.open_client(address).get_job_info({given["id"]!r})
status = jobs.remote(address, ["status", "study", "--json"])
missing = jobs.remote(address, ["status", "nope"])
trial = jobs.remote(address, ["logs", "study", "--trial", "0"])
listed = [[job.submission_id, job.job_id] for job in job_server.open_client(address).list_jobs()]
ended = [job.status.value, job.driver_exit_code, job.message]
print(json.dumps([log, ended, vars(status), vars(missing), vars(trial), listed]))
""",
        folder,
        **knows,
    )
    log, ended, status, missing, trial, listed = found
    assert ended[:2] == ["SUCCEEDED", 0], log
    assert "trial 0 (default) completed" in log
    assert status["exit_code"] == 0
    seen = json.loads(status["stdout"])
    assert seen["state"] == "finished"
    assert seen["counts"] == {"completed": 1}
    assert missing["exit_code"] == 2
    assert "there is no study 'nope'" in missing["stderr"]
    assert "tempered by" in trial["stdout"]
    # What was only asked left nothing behind.
    assert [submission for submission, _ in listed] == [given["id"]]
    assert f"Ray's dashboard: {address}/#/jobs/{listed[0][1]}\n" in log

    refused, _ = laptop(
        f"""
from gansearch.errors import ClusterError
try:
    list(jobs.job_logs({address!r}, "study"))
except ClusterError as error:
    print(json.dumps(str(error)))
""",
        folder,
        RAY_AUTH_MODE="disabled",
    )
    assert "wants its token: set RAY_AUTH_MODE=token" in refused
    run = subprocess.run(
        [sys.executable, "-c", JOINS, cluster.gcs],
        env={**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert f"the Ray cluster at '{cluster.gcs}' wants its token: set RAY_AUTH_MODE" in run.stdout
    assert run.stderr.count("InvalidAuthToken") <= 1, "it was asked once, not for half a minute"


@pytest.mark.parametrize("at", [0, 1, 2, 5])
def test_an_answer_has_no_line_of_ray_s_whenever_that_comes(at):
    ours = ["--- 5eed ---", "done finished", "--- 5eed ---", "error: none of ours", ""]
    ray = "Running entrypoint for job gansearch-status-1: gansearch status x --- 5eed ---"
    log = "\n".join([*ours[:at], ray, *ours[at:]])
    assert jobs._without_ray(log, "gansearch-status-1").rstrip("\n") == "\n".join(ours).rstrip("\n")


JOINS = """
import sys
from gansearch.errors import ClusterError
from gansearch.tuning.connection import connected
try:
    with connected(sys.argv[1]):
        print("joined")
except ClusterError as error:
    print(error)
"""
