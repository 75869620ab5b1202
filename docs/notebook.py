"""Run examples/quickstart.ipynb and save it with its outputs: `python -m docs.notebook`.

Needs `pip install nbclient nbformat ipykernel ipywidgets`, which gansearch itself does not. It runs in
a folder of its own, so that no path of this machine stands in the outputs.
"""

import os
import shutil
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"

if __name__ == "__main__":
    work = Path(tempfile.gettempdir()) / "gansearch"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(ROOT / "studies", work / "studies")
    (work / "examples").mkdir()
    os.environ["PYTHONWARNINGS"] = "ignore"
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, resources={"metadata": {"path": str(work / "examples")}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day
    nbformat.write(notebook, NOTEBOOK)
