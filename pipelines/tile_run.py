"""The tiles of a map: what is done is kept, the rest made, each committed as it comes."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

import xarray as xr
from distributed import Client

from pipelines.content_keys import TileKeys
from pipelines.interruption import Interruption
from pipelines.map_tile import TileJob, TileTask, failed_tile, make_tile
from pipelines.progress import Progress
from pipelines.run_folder import RunFolder
from toolkit.area.aoi import AOI
from toolkit.area.grid import Tile, outline_near
from toolkit.errors import StorageError, TileDamagedWarning, TileQuarantinedWarning, WorkerError
from toolkit.maps.dispatch import run_tiles
from toolkit.maps.layers import Layer
from toolkit.maps.ledger import Ledger, Row, open_ledger
from toolkit.maps.tile_files import remove_unused, store_tile
from toolkit.maps.tiles import Kept, TileReport
from toolkit.scenes.failures import Failures

NAMED = 5
"""Tiles named in a message."""
NEAR = 9
"""Tiles about the middle, shown by some scene, of which the fullest is tried: one at an edge tells little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileRun:
    """The tiles of a map, made."""

    made: tuple[tuple[Tile, Path | xr.Dataset], ...]
    """Each tile and its file; of one that could not be made, its layers."""
    reports: tuple[TileReport, ...]
    """Of all tiles; those kept from an earlier run read nothing."""
    n_kept: int
    """Tiles kept from an earlier run."""
    quarantined: tuple[str, ...]
    """Tiles on which workers died."""

    def lines(self) -> list[str]:
        """Lines for a terminal."""
        lines = [f"tiles: {len(self.made)}, of these kept from an earlier run: {self.n_kept}"]
        if self.quarantined:
            lines += [f"not made, as workers died on them: {_names(self.quarantined)}"]
        return lines


def joined_runs(runs: Sequence[TileRun]) -> TileRun:
    """Return the tiles of several maps as one."""
    return TileRun(
        made=tuple(one for run in runs for one in run.made),
        reports=tuple(report for run in runs for report in run.reports),
        n_kept=sum(run.n_kept for run in runs),
        quarantined=tuple(name for run in runs for name in run.quarantined),
    )


def _each_alone(tile: Tile) -> Hashable:
    """Say that a tile shares blocks with no other."""
    return tile.name


def _at_once(report: TileReport) -> bool:
    """Say that no other tile than this need be told of."""
    del report
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """Where and with what tiles are made."""

    aoi: AOI
    """Area of interest."""
    folder: RunFolder
    """Folder of the run."""
    client: Callable[[], Client]
    """Connects when it is called: a map that is done needs no cluster."""
    tell: Progress
    """Tells how far the run is."""
    interruption: Interruption
    """Keeps signals back while a tile is committed."""
    near: Callable[[Tile], Hashable] = _each_alone
    """Gives the same for tiles that share blocks of the files."""
    enough: Callable[[TileReport], bool] = _at_once
    """Is told of tiles as they are made until it has seen enough, and may stop the run."""


def run_all_tiles(order: Sequence[Tile], job: TileJob, keys: TileKeys, context: RunContext) -> TileRun:
    """Make the tiles that are not done yet, and commit each as it comes.

    A tile is done when its bytes are on the disk under their final name and its row is in the ledger. Tiles
    with scenes that could not be read, and tiles on which workers died, are tried again.

    Args:
        order: tiles of the map.
        job: what workers need.
        keys: gives the content key of each tile.
        context: where and with what.

    Raises:
        CropglobeError: see :mod:`toolkit.errors`; tiles that are done stay.
    """
    folder = context.folder
    with open_ledger(folder.ledger) as ledger:
        wanted = {tile.name: keys.key(tile) for tile in order}
        kept = _kept(wanted, ledger, folder.tiles)
        remove_unused(folder.tiles, {report.made.path(folder.tiles).name for report in kept.values()})
        todo = [tile for tile in order if tile.name not in kept or kept[tile.name].kept.failed]
        dangerous = ledger.quarantined()
        todo.sort(key=lambda tile: tile.name in dangerous)  # last, when nothing else can be lost
        made = _make(todo, wanted, job, ledger, context) if todo else _Made()
    reports = {**kept, **made.reports}
    lost = [name for name in made.quarantined if name not in kept]  # others keep what an earlier run made
    if lost:
        msg = (
            f"Workers died twice on {len(lost)} of {len(order)} tiles ({_names(lost)}), most often for lack "
            "of memory: they have no class and the status 'failed'. Run again with fewer --workers, or with "
            "a smaller --tile-size and another --out."
        )
        warnings.warn(msg, TileQuarantinedWarning, stacklevel=3)
    return TileRun(
        made=tuple((tile, _file_or_layers(tile, reports, job.layers, context)) for tile in order),
        reports=tuple(reports.values()),
        n_kept=len(set(kept) - set(made.reports)),
        quarantined=tuple(lost),
    )


def make_one(
    order: Sequence[Tile],
    job: TileJob,
    keys: TileKeys,
    context: RunContext,
    *,
    scene_pixels: Callable[[Tile], float],
) -> TileReport | None:
    """Make one tile of a map that is not done yet, from its middle, and commit it; None if all are done.

    Args:
        order: tiles of the map.
        job: what workers need.
        keys: gives the content key of each tile.
        context: where and with what.
        scene_pixels: gives the pixels of a tile in the area, counted once for each scene that shows them.

    Raises:
        WorkerError: workers died on it twice.
        CropglobeError: see :mod:`toolkit.errors`.
    """
    with open_ledger(context.folder.ledger) as ledger:
        wanted = {tile.name: keys.key(tile) for tile in order}
        kept = _kept(wanted, ledger, context.folder.tiles)
        todo = [tile for tile in order if tile.name not in kept]
        if not todo:
            return None
        middle = len(todo) // 2
        outwards = sorted(range(len(todo)), key=lambda k: abs(k - middle))
        shown = (todo[k] for k in outwards if scene_pixels(todo[k]) > 0)
        fullest = max(islice(shown, NEAR), key=scene_pixels, default=todo[middle])
        made = _make([fullest], wanted, job, ledger, context)
    if made.quarantined:
        msg = (
            f"Workers died twice on tile {fullest.name}, most often for lack of memory. Give fewer "
            "--workers, or a smaller --tile-size and another --out."
        )
        raise WorkerError(msg)
    return made.reports[fullest.name]


@dataclass(slots=True)
class _Made:
    """What this run made."""

    reports: dict[str, TileReport] = field(default_factory=dict)
    quarantined: list[str] = field(default_factory=list)


def _kept(wanted: Mapping[str, str], ledger: Ledger, folder: Path) -> dict[str, TileReport]:
    """Return the tiles that are done, their bytes unchanged, and made from what this run would make them.

    Args:
        wanted: content key of each tile, by its name.
        ledger: tiles of earlier runs.
        folder: where they are.
    """
    kept, damaged = {}, []
    for row in ledger.rows():
        if wanted.get(row.name) != row.content_key:
            continue
        if row.file.intact(folder):
            kept[row.name] = TileReport(
                name=row.name, seconds={}, kept=Kept.from_json(row.report), made=row.file
            )
        else:
            damaged.append(row.name)
    if damaged:
        msg = (
            f"The files of {len(damaged)} finished tiles ({_names(damaged)}) in {str(folder)!r} are gone or "
            "changed. They are made again."
        )
        warnings.warn(msg, TileDamagedWarning, stacklevel=4)
        for name in damaged:
            ledger.forget(name)
    return kept


def _make(
    todo: Sequence[Tile], keys: Mapping[str, str], job: TileJob, ledger: Ledger, context: RunContext
) -> _Made:
    made = _Made()
    # One by one as they are handed out: the outlines of all tiles together may be large.
    tasks = (TileTask(tile, keys[tile.name], outline_near(context.aoi, tile.geobox)) for tile in todo)
    failures = Failures(
        sum(one.items.most_failed for one in job.sensors), sum(one.n_items for one in job.sensors)
    )
    start, enough = time.perf_counter(), False
    work = partial(make_tile, job=job)

    def block(task: TileTask) -> Hashable:
        return context.near(task.tile)

    for report in run_tiles(tasks, work, client=context.client(), instead=_nothing, near=block):
        if report is None:
            continue
        failures.add(report.kept.failed)
        with context.interruption.commit():
            made.reports[report.name] = _commit(report, ledger, context.folder.tiles)
        enough = enough or context.enough(report)
        context.tell.count("tiles", len(made.reports), len(todo), since=start)
    made.quarantined = [tile.name for tile in todo if tile.name not in made.reports]
    for name in made.quarantined:
        ledger.quarantine(name, keys[name])
    return made


def _nothing(task: TileTask) -> None:
    """Stand for the report of a tile on which workers died."""


def _commit(report: TileReport, ledger: Ledger, folder: Path) -> TileReport:
    """Write that a tile is done; where the worker gave it back, store it before."""
    if report.content is not None:
        store_tile(report.content, report.made, folder)
    elif not report.made.path(folder).is_file():
        msg = (
            f"A worker stored tile {report.name} in {str(folder)!r}, but it is not there: the worker has "
            "another folder of this name. Give an --out that all machines share."
        )
        raise StorageError(msg)
    ledger.commit(
        Row(
            name=report.name,
            content_key=report.made.content_key,
            sha256=report.made.sha256,
            report=report.kept.to_json(),
        )
    )
    return replace(report, content=None)


def _file_or_layers(
    tile: Tile, reports: dict[str, TileReport], layers: Sequence[Layer], context: RunContext
) -> Path | xr.Dataset:
    if tile.name in reports:
        return reports[tile.name].made.path(context.folder.tiles)
    return failed_tile(tile, context.aoi, layers)


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
