"""Demo workflow: simulated scenes of the sample area, made once, then its crop map."""

from __future__ import annotations

from pathlib import Path

from pipelines import crop_map, simulate
from pipelines.config import MapRequest, SimulateRequest
from pipelines.progress import Progress
from pipelines.result import CropMap
from toolkit.errors import InputError

SAMPLE = Path(__file__).resolve().parents[1] / "sample_aoi"
"""The sample area lies beside the packages in a clone."""


def run(*, out: Path | None = None, sample: Path | None = None, progress: bool = True) -> CropMap:
    """Make the scenes of the sample area if they are not there, then map it.

    Args:
        out: folder for the results; default ``result`` in the sample's folder.
        sample: folder with ``scenes.yaml`` and ``run.yaml``.
        progress: whether to tell how far the run is.

    Raises:
        InputError: there is no sample area.
    """
    folder = sample or SAMPLE
    if not (folder / "run.yaml").is_file():
        msg = (
            f"There is no sample area in {str(folder)!r} (no run.yaml). Clone the repository and run "
            "'make demo' there, or name the folder with --sample."
        )
        raise InputError(msg)
    tell = Progress(quiet=not progress)
    tell.stage("simulating scenes (kept for the next run)")
    simulate.run(SimulateRequest.read(folder / "scenes.yaml", {}))
    request = MapRequest.read(folder / "run.yaml", {"out": out or folder / "result"})
    return crop_map.run(request, progress=tell)
