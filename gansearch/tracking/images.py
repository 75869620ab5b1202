"""Sample grids as images of MLflow's runs."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from gansearch import files
from gansearch.files import Place

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

log = logging.getLogger("gansearch.tracking")


def send_image(client: MlflowClient, run_id: str, path: Place, step: int, time_ms: int) -> None:
    """Send a run the grid of a step; one that cannot be read is left out, with a warning."""
    from PIL import Image  # noqa: PLC0415

    try:
        with files.reading(path) as file, Image.open(file) as opened:
            image = opened.convert("RGB")
    except (OSError, SyntaxError) as error:
        log.warning("The sample grid %s is left out: %s.", path, error)
        return
    client.log_image(run_id, image, key="samples", step=step, timestamp=time_ms, synchronous=True)


def listed_images(client: MlflowClient, run_id: str) -> set[int]:
    """The steps whose image is there in full: MLflow writes the compressed copy last."""
    names = (file.path for file in client.list_artifacts(run_id, "images"))
    found = (re.search(r"samples[+%]step[+%](\d+)[+%].*compressed", name) for name in names)
    return {int(match[1]) for match in found if match}
