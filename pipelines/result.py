"""What a map run gives back: paths, areas, accuracy, timings."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

from pipelines.map_cropland import MapCropland
from pipelines.map_files import MapFiles
from pipelines.map_inputs import SensorInput
from pipelines.tile_run import TileRun
from toolkit.learn.accuracy import Accuracy
from toolkit.maps.units import counted
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.failures import FailedItem, failed_lines

SMALL_HECTARES = 10.0
"""Maps of less are told with more digits: a pixel of 10 m is 0.01 hectares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CropMap:
    """A finished map."""

    folder: Path
    """Output folder."""
    written: MapFiles
    """Its files, areas and accuracy."""
    inputs: tuple[SensorInput, ...]
    """What each sensor gave."""
    tiles: TileRun
    """Its tiles: made, kept from an earlier run, not made."""
    for_engines: ReadCounts
    """What was read to choose engines."""
    seconds: dict[str, float]
    """Wall seconds of each stage."""
    attribution: str
    """Notice that users of the map must keep."""
    cropland: MapCropland
    """What told cropland, and how much of the area is none."""
    zones: tuple[CropMap, ...] = ()
    """Maps of the single UTM zones that this one was joined from; empty for a map in one grid."""
    zones_missing: tuple[str, ...] = ()
    """Zones of the area without any scene."""

    @property
    def files(self) -> dict[str, Path]:
        """Layer -> file."""
        return self.written.files

    @property
    def products(self) -> tuple[Path, ...]:
        """Styles, tables of areas and the STAC item of the map."""
        return self.written.products

    @property
    def areas(self) -> dict[str, float]:
        """Crop -> hectares."""
        return self.written.hectares

    @property
    def accuracy(self) -> Accuracy | None:
        """Against the fields given, or None."""
        return self.written.accuracy

    @property
    def reads(self) -> ReadCounts:
        """What was read in this run, for tiles and to choose engines."""
        return sum((report.reads for report in self.tiles.reports), self.for_engines)

    @property
    def worker_seconds(self) -> dict[str, float]:
        """Seconds of each stage inside the tiles of this run, added over workers."""
        reports = self.tiles.reports
        stages = {stage: 0.0 for report in reports for stage in report.seconds}
        return {stage: sum(report.seconds.get(stage, 0.0) for report in reports) for stage in stages}

    @property
    def failed(self) -> tuple[FailedItem, ...]:
        """Scenes that could not be read in some tile."""
        return tuple({one.item: one for report in self.tiles.reports for one in report.kept.failed}.values())

    @property
    def complete(self) -> bool:
        """Whether every scene of the season could be used, and every tile made."""
        whole = all(one.found.complete for one in self.inputs)
        return whole and not (self.failed or self.tiles.quarantined or self.zones_missing)

    @property
    def n_scenes(self) -> int:
        """Scenes used, of all sensors; one that serves two zones counts once."""
        return len({(one.sensor, item.id) for one in self.inputs for item in one.found.items})

    @property
    def _steps(self) -> tuple[int, int] | None:
        """Number and days of the steps that gaps are counted in; None of a spectrum."""
        recipe = self.inputs[0].checkpoint.recipe
        return None if recipe.kind == "emit" else (recipe.n_steps, recipe.step_days)

    def lines(self) -> list[str]:
        """One screen for a terminal."""
        total = sum(self.areas.values())
        digits = 1 if total >= SMALL_HECTARES else 3
        lines = ["", f"{'crop':<12}{'hectares':>10}{'share':>8}"]
        for crop, area in self.areas.items():
            lines.append(f"{crop:<12}{area:>10,.{digits}f}{area / total if total else 0:>8.1%}")
        lines += ["", *self._coverage_lines(), *self._accuracy_lines()]
        lines += ["", *self._scene_lines(), *failed_lines(self.failed)]
        lines += [*self.cropland.lines(), *self.tiles.lines(), f"read: {self.reads.line()}"]
        lines += [f"seconds: {_seconds(self.seconds)}"]
        lines += [f"inside the tiles, all workers added: {_seconds(self.worker_seconds)}"]
        lines += [
            "",
            *(str(path) for path in self.files.values()),
            str(self.folder / "run.json"),
            f"beside them: {', '.join(path.name for path in self.products)}",
            self.attribution,
        ]
        return lines

    def _scene_lines(self) -> list[str]:
        if not self.zones:
            return [line for one in self.inputs for line in one.lines()]
        lines = [f"joined from the maps of {counted(len(self.zones), 'UTM zone')}:"]
        for zone in self.zones:
            lines += [str(zone.folder), *(f"  {line}" for one in zone.inputs for line in one.lines())]
        return lines

    def _coverage_lines(self) -> list[str]:
        return self.written.coverage.lines(self._steps)

    def _accuracy_lines(self) -> list[str]:
        if self.accuracy is None:
            return []
        accuracy = f"overall accuracy {self.accuracy.overall:.3f}, macro F1 {self.accuracy.macro_f1:.3f}"
        return [f"{accuracy} on {self.accuracy.n} pixels inside the given fields"]

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(crop)}</td><td style='text-align:right'>{area:,.1f}</td></tr>"
            for crop, area in self.areas.items()
        )
        table = f"<table><tr><th>crop</th><th>hectares</th></tr>{rows}</table>"
        told = "<br>".join(map(escape, (*self._coverage_lines(), *self._accuracy_lines())))
        source = f"{escape(str(self.files['crop']))}<br>{escape(self.attribution)}"
        return f"<div>{table}<p>{told}</p><p>{source}</p></div>"


def _seconds(stages: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in stages.items())
