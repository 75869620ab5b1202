"""What these tests share: a study, what they run it with, and the command line."""

import pytest

from gansearch import cli
from studies import make_ledger, report, spec, where  # noqa: F401


@pytest.fixture
def command(monkeypatch, capsys):
    """The command line in this process: exit code, standard output, standard error."""

    def run(*args):
        monkeypatch.setattr("sys.argv", ["gansearch", *args])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (int(ended.value.code or 0), *capsys.readouterr())

    return run
