"""Fetch workflow: published samples onto the disk, complete and checked."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.folder import prepare, write_json
from pipelines.learn_config import FetchRequest
from pipelines.progress import Progress
from toolkit.catalog.downloads import bytes_missing, fetch_file
from toolkit.catalog.hub import HubFile, HubListing, hub, list_files
from toolkit.catalog.transport import PATIENCE, Patience
from toolkit.errors import InputError, StorageError
from toolkit.learn.cropglobe_files import best_files

REPOSITORIES = {"cropglobe": "x-ytong/CropGlobe"}
"""Data set -> where it lies on the hub."""
RECORD = "fetched.json"
"""What is in the folder: repository, and commit, size and checksum of each file."""
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedData:
    """Result of the workflow."""

    folder: Path
    """Folder of the data set."""
    listing: HubListing
    """What the hub has."""
    files: tuple[HubFile, ...]
    """What was asked for of it; all of it is in the folder."""
    n_new: int
    """Files that were not there before."""

    def lines(self) -> list[str]:
        """A few lines for a terminal."""
        size = sum(file.size for file in self.files) / MEGABYTE
        return [
            f"{len(self.files)} files, {size:.1f} MB, {self.n_new} of them new; checksums as on the hub",
            f"{self.listing.repository} at {self.listing.commit[:12]}, in {self.folder}",
        ]


def run(config: FetchRequest, *, progress: bool = True, patience: Patience = PATIENCE) -> FetchedData:
    """Fetch the files of a data set that are not there yet.

    Args:
        config: the request; ``out`` becomes the data set's folder.
        progress: whether to tell how far the run is.
        patience: how often and how long the hub is asked again.

    Raises:
        CropglobeError: see :mod:`toolkit.errors`. Files that are complete stay; run again for the others.
    """
    tell = Progress(quiet=not progress)
    prepare(config.out)
    source = hub(config.endpoint, allow_hosts=config.allow_hosts, patience=patience)
    listing = list_files(source, REPOSITORIES[config.data_set], revision=config.revision)
    files = wanted_files(listing, config.countries, medians_only=config.files == "median")
    missing = sum(bytes_missing(file, config.out) for file in files)
    free = shutil.disk_usage(config.out).free
    if missing > free:
        msg = (
            f"{missing / MEGABYTE:.0f} MB are to come, and {str(config.out)!r} has {free / MEGABYTE:.0f} MB "
            "free. Free space, name fewer --countries, or give another --out."
        )
        raise StorageError(msg)
    total = sum(file.size for file in files)
    tell.stage(f"{len(files)} files, {missing / MEGABYTE:.1f} of {total / MEGABYTE:.1f} MB to come")
    known = _recorded(config.out)
    start, done, n_new = time.perf_counter(), 0, 0
    for file in files:

        def report(now: int, file: HubFile = file, before: int = done) -> None:
            at, of = (before + now) // MEGABYTE, -(-total // MEGABYTE)
            tell.count("MB", at, of, since=start, note=PurePosixPath(file.path).name)

        entry = known.get(file.path, {})
        earlier = entry.get("sha256") or entry.get("git_sha1")
        n_new += fetch_file(source, listing, file, config.out, replaces=earlier, progress=report)
        done += file.size
        _record(listing, [file], config.out)  # each at once: an interrupted run's files are known as its own
    config.write(config.out / "run.yaml")
    return FetchedData(folder=config.out, listing=listing, files=tuple(files), n_new=n_new)


def wanted_files(listing: HubListing, countries: Sequence[str], *, medians_only: bool) -> list[HubFile]:
    """Return the files of countries, and what the data set says of itself.

    Args:
        listing: the data set.
        countries: codes of three letters; none for all.
        medians_only: of each country the best median series alone.

    Raises:
        InputError: a country has no file; names those that have.
    """
    names = {file.path: PurePosixPath(file.path).name for file in listing.files}
    best = best_files(list(names.values()))
    codes = [country.strip().upper() for country in countries]
    missing = [code for code in codes if code not in best]
    if missing or not best:
        msg = (
            f"{listing.repository} has no median series of {', '.join(missing) or 'any country'}. Countries: "
            f"{', '.join(best) or 'none'}. Name some of them."
        )
        raise InputError(msg)
    chosen = set(codes or best)
    said = {path for path in names if path.upper().startswith(("README", "LICENSE"))}
    if medians_only:
        series = {best[code] for code in chosen}
        return [file for file in listing.files if names[file.path] in series or file.path in said]
    return [
        file
        for file in listing.files
        if not codes or chosen & set(names[file.path].partition(".")[0].split("_")) or file.path in said
    ]


def _recorded(folder: Path) -> dict[str, Any]:
    """Return what earlier runs brought, by path."""
    try:
        known = json.loads((folder / RECORD).read_text(encoding="utf-8"))["files"]
        return {path: dict(entry) for path, entry in known.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}  # written anew at the end; the files themselves are compared with the hub's checksums


def _record(listing: HubListing, files: Sequence[HubFile], folder: Path) -> None:
    """Write what is in the folder, with what earlier runs brought."""
    known = _recorded(folder)
    for file in files:
        checksum = {"sha256": file.sha256} if file.sha256 else {"git_sha1": file.git_sha1}
        known[file.path] = {"commit": listing.commit, "size": file.size, **checksum}
    values = {"repository": listing.repository, "files": dict(sorted(known.items()))}
    write_json(values, folder / RECORD)
