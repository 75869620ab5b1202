"""What the README shows is so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gansearch.study.document import parse_document
from gansearch.testing import check_loss

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def test_its_loss_keeps_the_contract():
    (source,) = [block for block in blocks("python") if "class Tempered" in block]
    namespace = {}
    exec(source, namespace)
    check_loss(namespace["Tempered"])
    sharp = namespace["Tempered"](temperature=0.1)
    assert sharp.d(torch.ones(4), -torch.ones(4)) < 0.01


def test_its_study_is_a_study(tmp_path):
    from gansearch.errors import InvalidInput
    from gansearch.training.validation import read_study

    text, section = blocks("yaml")
    with pytest.raises(InvalidInput) as caught:
        read_study(parse_document(text + section, "README.md"), tmp_path)
    assert len(caught.value.problems) == 1, "nothing but the images is missing"
    assert "fashion-mnist" in str(caught.value)


def test_its_pictures_and_links_are_there():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_its_commands_exist():
    text = subprocess.run(
        [sys.executable, "-m", "gansearch", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for command in set(re.findall(r"`gansearch ([a-z]+)", README)):
        assert command in text, command
