import pickle
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch

from gansearch.errors import UserError, WeightsError
from gansearch.training import checkpoint


def test_saved_state_comes_back(tmp_path):
    state = {"w": torch.arange(3), "step": 5, "nested": {"a": [1.5, None, "text"]}}
    checkpoint.save(tmp_path, 5, state)
    loaded = checkpoint.latest(tmp_path)
    assert torch.equal(loaded.pop("w"), state.pop("w"))
    assert loaded == state
    assert checkpoint.steps(tmp_path) == [5]


def test_what_the_disk_does_not_take_is_raised(tmp_path):
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(OSError, match="folder"):
        checkpoint.save(tmp_path / "folder", 5, {"step": 5})


class Rate(float):
    pass


class Mode(Enum):
    FAST = "fast"


def test_numbers_and_texts_of_other_classes_are_kept_as_plain_ones(tmp_path):
    state = {"rate": Rate(0.5), "mode": Mode.FAST, "count": np.int64(3), "seen": {np.float32(0.25)}}
    checkpoint.save(tmp_path, 5, state | {"w": np.arange(2)})
    loaded = checkpoint.latest(tmp_path)
    assert torch.equal(loaded.pop("w"), torch.arange(2))
    assert loaded == {"rate": 0.5, "mode": "fast", "count": 3, "seen": [0.25]}
    assert [type(loaded[key]) for key in state] == [float, str, int, list]
    with pytest.raises(UserError, match=r"holds a builtins.object at a\[1\]: a checkpoint keeps"):
        checkpoint.save(tmp_path, 6, {"a": [1, object()]})
    assert checkpoint.steps(tmp_path) == [5]


def test_none_where_there_is_none(tmp_path):
    assert checkpoint.latest(tmp_path / "absent") is None


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_one_cut_in_half_gives_way_to_the_one_before(tmp_path, share, caplog):
    checkpoint.save(tmp_path, 1, {"step": 1})
    path = checkpoint.save(tmp_path, 2, {"step": 2, "w": torch.zeros(1000)})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert checkpoint.latest(tmp_path)["step"] == 1
    assert "going back" in caplog.text


def test_keep_deletes_the_rest_and_what_interrupted_writes_left(tmp_path):
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, {"step": step})
    (tmp_path / "step-000004.part-123").write_bytes(b"half")
    checkpoint.keep(tmp_path, {3}, up_to=2)
    assert checkpoint.steps(tmp_path) == [3]
    checkpoint.save(tmp_path, 2, {"step": 2})
    checkpoint.keep(tmp_path, {2}, tidy=True)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000002.pt"]


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("write", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))])
def test_code_in_a_checkpoint_is_not_run(tmp_path, write):
    write({"w": Bomb(tmp_path / "exploded")}, tmp_path / "step-000001.pt")
    with pytest.raises(WeightsError):
        checkpoint.load(tmp_path / "step-000001.pt")
    assert not (tmp_path / "exploded").exists()
