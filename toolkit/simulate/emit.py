"""A season of simulated EMIT granules on disk, over a landscape with known crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

from toolkit.errors import InputError
from toolkit.simulate.clouds import cloud_amounts
from toolkit.simulate.emit_granule import write_granule
from toolkit.simulate.emit_scene import granule_name, render_granule
from toolkit.simulate.growth import grow
from toolkit.simulate.landscape import Landscape, make_landscape
from toolkit.simulate.once import make_once
from toolkit.simulate.outlines import write_outlines
from toolkit.simulate.phenology import SOUTHERN_DAYS
from toolkit.simulate.streams import stream

SIMULATOR = 1
"""Version of the simulation: raised when the same seed gives other pixels."""

CLOUD_COVER = 0.25
"""Mean cloud amount: granules that are mostly cloud are seldom ordered."""

HEADING_DEG = 40.0
"""Turn of the swath: an orbit inclined by 51.6 degrees crosses meridians at 38 degrees at the equator and
46 degrees at 31 degrees of latitude; ascending and descending passes lean opposite ways."""

SEASON = (6, 8, 6)
"""Month and day around which a season's first granule is taken, in the north, and their number."""
FULL_YEAR = (1, 8, 20)
"""The same for granules of the whole year."""
REVISIT_DAYS, IRREGULAR_DAYS = 18, 6
"""Days between granules, and by how many each is earlier or later: the station has no repeating orbit."""


def granule_dates(
    year: int, *, hemisphere: str = "north", seed: int = 0, full_year: bool = False
) -> tuple[date, ...]:
    """Return the days of acquisition of a season: June to September, half a year later in the south.

    Args:
        year: year in which the season's (hemisphere's) year starts.
        hemisphere: ``north`` or ``south``.
        seed: seed of the landscape; days are irregular.
        full_year: days of the whole year instead of the season.
    """
    month, day, number = FULL_YEAR if full_year else SEASON
    first = date(year, month, day) + timedelta(days=SOUTHERN_DAYS if hemisphere == "south" else 0)
    moves = stream(seed, "overpasses", year).integers(-IRREGULAR_DAYS, IRREGULAR_DAYS + 1, size=number)
    return tuple(first + timedelta(days=REVISIT_DAYS * k + int(move)) for k, move in enumerate(moves))


def simulate_granules(
    out: str | Path,
    *,
    landscape: Landscape | int,
    year: int,
    dates: Sequence[date] | None = None,
    version: Literal[1, 2] = 1,
    heading_deg: float = HEADING_DEG,
    cloud_cover: float = CLOUD_COVER,
    aoi_share: float | None = None,
) -> Path:
    """Write a season of simulated EMIT granules with their masks, the fields and the area of interest.

    ``out`` holds in the end reflectance and mask files, ``fields.geojson`` (property ``crop``),
    ``aoi.geojson`` and ``simulation.json``. It appears under its name only when complete. The same
    request in the same folder does no work.

    Args:
        out: folder, new or empty or made by the same request.
        landscape: landscape or the seed of one in the region of reference.
        year: year of the season; decides the dates and cover of the fields.
        dates: days of acquisition; by default those of :func:`granule_dates`.
        version: version of the product; masks have version 1 with 1, 3 with 2.
        heading_deg: degrees by which swaths are turned, clockwise on the first date, then by turns.
        cloud_cover: mean cloud amount over the dates, 0 to 1.
        aoi_share: part of the landscape that ``aoi.geojson`` covers; None: nearly all of it.

    Returns:
        Path of the folder.

    Raises:
        InputError: ``out`` holds something else, or an argument is out of range.
    """
    folder = Path(out)
    place = landscape if isinstance(landscape, Landscape) else make_landscape(landscape)
    if dates is None:
        dates = granule_dates(year, hemisphere=place.region.hemisphere, seed=place.seed)
    if not dates or len(set(dates)) != len(dates) or not 0 <= cloud_cover <= 1 or version not in (1, 2):
        msg = (
            f"Simulation of {len(dates)} EMIT dates with cloud cover {cloud_cover!r} and version "
            f"{version!r}; allowed: one date or more, each once, a cloud cover of 0 to 1, version 1 or 2."
        )
        raise InputError(msg)
    request = {
        "simulator": SIMULATOR,
        "simulated": True,
        "sensor": "emit",
        "seed": place.seed,
        "region": asdict(place.region),
        "shape": list(place.geobox.shape.yx),
        "n_fields_asked": place.n_fields_asked,
        "year": year,
        "dates": [day.isoformat() for day in sorted(dates)],
        "version": version,
        "heading_deg": float(heading_deg),
        "cloud_cover": float(cloud_cover),
        "aoi_share": aoi_share,
    }
    make_once(folder, request, lambda part: _write_all(part, place, request))
    return folder


def _write_all(folder: Path, landscape: Landscape, request: dict[str, Any]) -> None:
    """Write granules and outlines."""
    write_outlines(folder, landscape, aoi_share=request["aoi_share"])
    growth = grow(landscape, year=request["year"])
    rng = stream(landscape.seed, "emit cloud amounts", request["year"])
    amounts = cloud_amounts(len(request["dates"]), request["cloud_cover"], rng)
    for k, (text, amount) in enumerate(zip(request["dates"], amounts, strict=True)):
        day = date.fromisoformat(text)
        turn = request["heading_deg"] * (-1 if k % 2 else 1)
        swath = render_granule(landscape, growth, day, cloud_amount=float(amount), heading_deg=turn)
        write_granule(folder, granule_name(landscape, day, version=request["version"]), swath)
