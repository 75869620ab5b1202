"""cluster.yaml and deploy/kuberay.yaml are what Ray's cluster launcher and KubeRay take."""

import json
import os
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

import gansearch

ROOT = Path(__file__).parents[1]
SCHEMAS = Path(__file__).parent / "deploy"
CLOUDS = ("AWS", "GCP", "Azure")
TEXT = (ROOT / "cluster.yaml").read_text()
KUBERNETES = (ROOT / "deploy" / "kuberay.yaml").read_text()


def launcher(cloud="AWS"):
    """cluster.yaml as it stands, or with the block of another cloud in place of what it repeats."""
    config = yaml.safe_load(TEXT)
    if cloud != "AWS":
        block = (
            TEXT.partition(f"# --- {cloud}:")[2]
            .partition("\n")[2]
            .partition(f"# --- end of {cloud}")[0]
        )
        config |= yaml.safe_load(uncommented(block))
    return config


def uncommented(block):
    return "\n".join(re.sub("^# ?", "", line) for line in block.splitlines())


def commands(config):
    return [line for key, lines in config.items() if key.endswith("_commands") for line in lines]


@pytest.fixture(params=CLOUDS)
def cloud(request):
    return request.param


@pytest.fixture
def config(cloud):
    return launcher(cloud)


class TestLauncher:
    def test_every_cloud_passes_ray_s_own_validation(self, config, cloud):
        from ray.autoscaler._private import util

        prepared = util.prepare_config(config)
        util.validate_config(prepared)
        assert prepared["provider"]["type"] == cloud.lower()
        assert set(prepared["available_node_types"]) == {"head", "gpu_worker"}

    def test_validation_would_notice_a_mistake(self):
        from ray.autoscaler._private import util

        config = launcher()
        config["head_node_typ"] = config.pop("head_node_type")
        with pytest.raises(Exception, match="head_node_typ"):
            util.validate_config(util.prepare_config(config))

    def test_a_cloud_s_block_replaces_keys_and_adds_none(self, config):
        assert config.keys() == launcher().keys()

    def test_every_node_gets_the_version_and_the_dependencies_that_were_tested(self, config):
        wheel = f"gansearch/gansearch-{gansearch.__version__}-py3-none-any.whl"
        assert config["file_mounts"][f"~/{wheel}"] == f"dist/{Path(wheel).name}"
        assert config["file_mounts"]["~/gansearch/constraints.txt"] == "constraints.txt"
        install = next(line for line in config["setup_commands"] if wheel in line)
        assert "--constraint ~/gansearch/constraints.txt" in install
        assert "ray[default,tune]" in install  # without `default` there is no job server
        assert (ROOT / "constraints.txt").exists()

    def test_nothing_listens_beyond_loopback_that_can_be_told_not_to(self, config):
        start = "\n".join(config["head_start_ray_commands"])
        assert "--dashboard-host=127.0.0.1" in start
        assert "mlflow server --host 127.0.0.1" in start
        assert "--allowed-hosts localhost:5000,127.0.0.1:5000" in start
        assert "0.0.0.0" not in start

    def test_the_token_reaches_every_node_and_stands_in_no_command(self, config):
        assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
        assert "RAY_AUTH_TOKEN=" not in TEXT

    def test_a_head_trains_nothing_and_workers_come_and_go(self, config):
        types = config["available_node_types"]
        assert types["head"]["resources"] == {"CPU": 0, "GPU": 0}
        assert types["gpu_worker"]["max_workers"] > types["gpu_worker"]["min_workers"]
        spot = {
            "InstanceMarketOptions": {"MarketType": "spot"},
            "preemptible": True,
            "priority": "Spot",
        }
        assert any(f"'{key}': {value!r}" in str(types["gpu_worker"]) for key, value in spot.items())

    def test_the_head_gets_what_starts_nodes_of_its_cloud(self, config, cloud):
        library = {"AWS": "boto3", "GCP": "google-api-python-client", "Azure": "azure-mgmt-compute"}
        assert library[cloud] in config["head_setup_commands"][0]

    def test_its_commands_are_shell(self, config):
        for line in commands(config):
            subprocess.run(["bash", "-n", "-c", line], check=True)

    def test_the_environment_that_it_writes_is_the_one_that_is_meant(self, tmp_path):
        (tmp_path / "gansearch").mkdir()
        lines = [line for line in launcher()["setup_commands"] if "gansearch/environment" in line]
        assert len(lines) == 2
        shell = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
        for line in [*lines, *lines]:  # `ray up` runs them again
            subprocess.run(["bash", "-c", line], env=shell, check=True)
        assert (tmp_path / ".bashrc").read_text().count("\n") == 1
        shown = subprocess.run(
            ["bash", "-c", ". ~/.bashrc; env"], env=shell, check=True, capture_output=True, text=True
        )
        found = dict(line.split("=", 1) for line in shown.stdout.splitlines())
        assert found["RAY_AUTH_MODE"] == "token"
        assert found["GANSEARCH_RUNS"] == "/shared/runs"
        assert found["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5000"
        assert found["PATH"].startswith(f"{tmp_path}/venv/bin:")

    def test_every_option_of_ray_and_mlflow_exists(self):
        config = launcher()
        head, mlflow = config["head_start_ray_commands"][1:]
        worker = config["worker_start_ray_commands"][1]
        serve = mlflow.partition("mlflow server")[2]
        assert options_in(head) | options_in(worker) <= options_of_ray_start()
        assert options_in(serve) <= options_of_mlflow_server()


def options_in(line):
    return set(re.findall(r"(?<=\s)--[a-z-]+", line))


def options_of(command):
    return {name for parameter in command.params for name in parameter.opts}


def options_of_ray_start():
    from ray.scripts.scripts import start

    return options_of(start)


def options_of_mlflow_server():
    from mlflow.cli import server

    return options_of(server)


def options_of_gansearch(command):
    import typer

    from gansearch.cli import app

    return options_of(typer.main.get_command(app).commands[command])


def schema(kind):
    """JSON Schema of a kind of object: Kubernetes' own, or KubeRay's (see the head of its file)."""
    definitions = json.loads((SCHEMAS / "kubernetes-1.37.json").read_text())["$defs"]
    definitions |= yaml.safe_load((SCHEMAS / "kuberay-1.7.yaml").read_text())["$defs"]
    name = next(name for name in definitions if name.split(".")[-1] == kind)
    return {"$ref": f"#/$defs/{name}", "$defs": definitions}


def manifests(text=KUBERNETES):
    return [document for document in yaml.safe_load_all(text) if document]


def one(kind, name="gansearch"):
    return next(m for m in manifests() if m["kind"] == kind and m["metadata"]["name"].startswith(name))


def complaints(manifest):
    return [
        e.message
        for e in jsonschema.Draft202012Validator(schema(manifest["kind"])).iter_errors(manifest)
    ]


def pods():
    """The pod templates by what they are."""
    cluster = one("RayCluster")["spec"]
    return {
        "head": cluster["headGroupSpec"]["template"],
        "worker": cluster["workerGroupSpecs"][0]["template"],
        "mlflow": one("Deployment")["spec"]["template"],
    }


class TestKubernetes:
    @pytest.mark.parametrize(
        "manifest", manifests(), ids=lambda m: f"{m['kind']}-{m['metadata']['name']}"
    )
    def test_every_object_keeps_to_its_schema(self, manifest):
        assert complaints(manifest) == []

    def test_what_is_commented_out_does_too(self):
        text = KUBERNETES.partition("---\n")[2]
        text = re.sub(
            r"^( *)# (gcsFaultToleranceOptions|  redis\w+|    valueFrom|nodeSelector)",
            r"\1\2",
            text,
            flags=re.M,
        )
        cluster = next(m for m in manifests(text) if m["kind"] == "RayCluster")
        assert cluster["spec"]["gcsFaultToleranceOptions"]["redisPassword"]["valueFrom"]
        assert cluster["spec"]["workerGroupSpecs"][0]["template"]["spec"]["nodeSelector"]
        assert complaints(cluster) == []

    @pytest.mark.parametrize(
        ("kind", "path", "value"),
        [
            ("RayCluster", "spec.rayVersion", "2.51.0"),  # knows no token
            ("RayCluster", "spec.authOptions.secret", "gansearch-token"),
            ("RayCluster", "spec.headGroupSpec.rayStartParams.num-cpus", 0),  # text, there
            ("RayCluster", "spec.headGroupSpec.template.spec.container", []),
            ("RayJob", "spec.entryPoint", "gansearch"),
            ("RayJob", "spec.shutdownAfterJobFinishes", True),  # of a cluster that is not its own
            ("RayJob", "spec.submissionMode", "HttpMode"),
            ("RayJob", "spec.entrypointMemory", 1),  # of Ray's jobs, not of KubeRay's
            ("RayJob", "spec.preRunningDeadlineSeconds", 0),
            ("RayJob", "spec.deletionStrategy", {"onSuccess": {"policy": "DeleteSelf"}}),
            ("RayCluster", "spec.networkPolicy", {"mode": "DenyNothing"}),
            ("RayCluster", "spec.workerGroupSpecs", [{"groupName": "gpu", "priority": "high"}]),
            ("Deployment", "spec.replica", 1),
            ("NetworkPolicy", "spec.ingress", {}),
        ],
    )
    def test_the_schemas_would_notice_a_mistake(self, kind, path, value):
        manifest = one(kind)
        *above, last = path.split(".")
        node = manifest
        for key in above:
            node = node[key]
        node[last] = value
        assert complaints(manifest)

    def test_every_pod_shares_one_volume_and_one_image_of_this_version(self):
        for pod in pods().values():
            (container,) = pod["spec"]["containers"]
            assert container["image"] == f"gansearch:{gansearch.__version__}"
            assert {"name": "shared", "mountPath": "/shared"} in container["volumeMounts"]
            claims = [
                v["persistentVolumeClaim"]["claimName"]
                for v in pod["spec"]["volumes"]
                if "persistentVolumeClaim" in v
            ]
            assert "gansearch-shared" in claims
        assert one("PersistentVolumeClaim", "gansearch-shared")["spec"]["accessModes"] == [
            "ReadWriteMany"
        ]
        dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
        assert f"gansearch-{gansearch.__version__}-py3-none-any.whl" in dockerfile
        ray = re.search(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.M)[1]
        assert f"rayproject/ray:{ray}-" in dockerfile
        assert one("RayCluster")["spec"]["rayVersion"] == ray

    def test_claims_and_secrets_are_named_as_they_are_made(self):
        made = {m["metadata"]["name"] for m in manifests() if m["kind"] == "PersistentVolumeClaim"}
        assert set(re.findall(r"claimName: ([\w-]+)", KUBERNETES)) == made
        assert f"secret generic {one('RayCluster')['spec']['authOptions']['secretName']}" in KUBERNETES

    def test_workers_have_gpus_and_the_head_trains_nothing(self):
        assert pods()["worker"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert one("RayCluster")["spec"]["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}

    def test_nothing_has_an_address_outside(self):
        for manifest in manifests():
            assert manifest["kind"] not in ("Ingress", "Gateway")
            assert "NodePort" not in str(manifest)
            assert "LoadBalancer" not in str(manifest)
        assert one("RayCluster")["spec"]["authOptions"]["mode"] == "token"

    def test_network_policies_cover_every_pod(self):
        covered = one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
        for pod in pods().values():
            assert covered.items() <= pod["metadata"]["labels"].items()

    def test_the_job_runs_on_this_cluster_what_the_command_line_knows(self):
        spec = one("RayJob")["spec"]
        assert spec["clusterSelector"] == {"ray.io/cluster": one("RayCluster")["metadata"]["name"]}
        command, file, *options = spec["entrypoint"].removeprefix("gansearch ").split()
        assert command == "run"
        assert (ROOT / "studies" / Path(file).name).exists()
        environment = {
            e["name"]: e.get("value") for e in pods()["head"]["spec"]["containers"][0]["env"]
        }
        assert environment["GANSEARCH_RUNS"].startswith("/shared/")
        assert {word for word in options if word.startswith("--")} <= options_of_gansearch("run")

    def test_mlflow_answers_to_the_name_by_which_the_head_calls_it(self):
        arguments = dict(a[2:].split("=", 1) for a in pods()["mlflow"]["spec"]["containers"][0]["args"])
        environment = {
            e["name"]: e.get("value") for e in pods()["head"]["spec"]["containers"][0]["env"]
        }
        service = one("Service")
        host = f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
        assert environment["MLFLOW_TRACKING_URI"] == f"http://{host}"
        assert host in arguments["allowed-hosts"].split(",")
        assert "*" not in arguments["allowed-hosts"] + arguments["cors-allowed-origins"]
        assert {f"--{name}" for name in arguments} <= options_of_mlflow_server()
