"""What was read, counted."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadCounts:
    """What reading cost; sums with ``+``."""

    files: int = 0
    """Files opened."""
    requests: int = 0
    """Requests to servers; of files on a disk, reads: one to open each, one for each run of blocks."""
    blocks: int = 0
    """Internal blocks decoded."""
    bytes: int = 0
    """Bytes from servers; of files on a disk, compressed bytes of these blocks."""
    kept_blocks: int = 0
    """Blocks that were there decoded, for a neighbouring tile."""
    needed_bytes: int = 0
    """Compressed bytes of the blocks that were used, decoded here or kept; 0 where the format tells none."""
    own_bytes: float = 0
    """The same, of each block by the share of its pixels in the map that no other tile has."""
    header_bytes: int = 0
    """Of the bytes from servers, headers that are kept: other tiles need not read them."""
    thread_s: float = 0
    """Seconds of all threads together in which files were read."""
    decoding_s: float = 0
    """Of these, seconds in which blocks that were not kept were fetched and decoded, or another worker was
    waited for that did so."""
    resampled: int = 0
    """Of the files, those on a grid that does not nest in the output, as of another UTM zone."""
    scenes: int = 0
    """Overpasses whose quality layer was read."""
    cloudy_scenes: int = 0
    """Of these, overpasses with nothing clear, whose bands were not read."""

    def __add__(self, other: ReadCounts) -> ReadCounts:
        """Add two counts."""
        mine, theirs = asdict(self), asdict(other)
        return ReadCounts(**{name: mine[name] + theirs[name] for name in mine})

    def line(self) -> str:
        """One line for a terminal."""
        return (
            f"{self.blocks} blocks of {self.files} files in {self.requests} reads, "
            f"{self.bytes / 1e6:.1f} MB; "
            f"{self.cloudy_scenes} of {self.scenes} scene tiles had nothing clear"
        )


class ReadLog:
    """Adds up counts of several threads."""

    def __init__(self) -> None:
        """Start at zero."""
        self._lock = threading.Lock()
        self.counts = ReadCounts()

    def add(self, counts: ReadCounts) -> None:
        """Add counts."""
        with self._lock:
            self.counts += counts
