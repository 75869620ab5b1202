"""cluster.yaml is what Ray's cluster launcher takes."""

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


@pytest.fixture
def config():
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def test_it_passes_ray_s_own_validation(config):
    util = pytest.importorskip("ray.autoscaler._private.util")
    util.validate_config(util.prepare_config(config))


def test_validation_would_notice_a_mistake(config):
    util = pytest.importorskip("ray.autoscaler._private.util")
    config["head_node_typ"] = config.pop("head_node_type")
    with pytest.raises(Exception, match="head_node_typ"):
        util.validate_config(util.prepare_config(config))


def test_every_node_gets_the_versions_that_were_tested(config):
    install = " ".join(config["setup_commands"])
    assert "--constraint ~/gansearch/constraints.txt" in install
    assert (ROOT / "constraints.txt").exists()
