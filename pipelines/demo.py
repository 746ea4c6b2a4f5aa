"""Demo workflow: simulated scenes or granules of the sample area, made once, then its map."""

from __future__ import annotations

from pathlib import Path

from pipelines import crop_map, simulate
from pipelines.config import SENSORS_OF, MapRequest, MapSensor, SimulateRequest
from pipelines.progress import Progress
from pipelines.result import CropMap
from toolkit.errors import InputError

SAMPLE = Path(__file__).resolve().parents[1] / "sample_aoi"
"""The sample area lies beside the packages in a clone."""


SCENES = {"sentinel-2": "scenes.yaml", "emit": "granules.yaml"}
"""Sensor -> request of its simulated scenes in the sample's folder."""


def run(
    *,
    out: Path | None = None,
    sample: Path | None = None,
    sensor: MapSensor = "sentinel-2",
    progress: bool = True,
) -> CropMap:
    """Make the scenes of the sample area if they are not there, then map it.

    Args:
        out: folder for the results; default ``result`` in the sample's folder, ``result_emit`` and
            ``result_both`` with the other sensors.
        sample: folder with ``scenes.yaml``, ``granules.yaml`` and ``run.yaml``.
        sensor: ``sentinel-2``, ``emit`` or ``both``.
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
    for one in SENSORS_OF[sensor]:
        simulate.run(SimulateRequest.read(folder / SCENES[one], {}))
    result = folder / ("result" if sensor == "sentinel-2" else f"result_{sensor}")
    request = MapRequest.read(folder / "run.yaml", {"out": out or result, "sensor": sensor})
    return crop_map.run(request, progress=tell)
