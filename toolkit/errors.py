"""What a caller may catch: named errors, their exit codes, warnings.

Every message has three parts: what was wrong, the value got and the values allowed, what to do.
The exit codes are those of the command line (see ``docs/exit-codes.md``).
"""

from __future__ import annotations

from typing import ClassVar


class CropglobeError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the command ends with."""

    exit_code: ClassVar[int] = 10


class InputError(CropglobeError, ValueError):
    """A file, option or argument cannot be used as given."""

    exit_code = 4


class AreaError(InputError):
    """The area of interest is missing, empty or not in longitude and latitude."""


class NoPixelError(AreaError):
    """No pixel's centre lies in the area."""


class BandError(InputError):
    """A band is unknown to the sensor or missing from the scenes."""


class GridError(InputError):
    """Two rasters that must share one grid do not."""


class LabelError(InputError):
    """Labels cannot be turned into samples of the legend."""


class RadiometryError(InputError):
    """The reflectance offset of an item cannot be told from its metadata."""


class UnsafeReferenceError(InputError):
    """A catalog points at something that must not be read."""


class NothingToDoError(CropglobeError):
    """The request is well formed but there is nothing to work on."""

    exit_code = 5


class NoItemsError(NothingToDoError):
    """The search found no usable scene."""


class RemoteError(CropglobeError):
    """A catalog or object store could not be read, also after retries."""

    exit_code = 6


class AssetError(RemoteError):
    """One file of one item could not be read, also after retries; a run may go on without the item."""

    def __init__(self, message: str, *, reason: str, item: str = "", band: str = "") -> None:
        """Say what failed.

        Args:
            message: what was wrong, and what to do.
            reason: short code, a key of ``items_failed`` in ``run.json``.
            item: id of the item, if known.
            band: band or layer, if known.
        """
        super().__init__(message)
        self.reason, self.item, self.band = reason, item, band

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes; plain pickling would lose the keywords."""
        return _asset_error, (str(self), self.reason, self.item, self.band)

    def of(self, item: str, band: str) -> AssetError:
        """Return the error with the item and band it belongs to."""
        message = str(self) if self.item else f"{item} {band}: {self}"
        return AssetError(message, reason=self.reason, item=item, band=band)


def _asset_error(message: str, reason: str, item: str, band: str) -> AssetError:
    return AssetError(message, reason=reason, item=item, band=band)


class CredentialsError(InputError):
    """A catalog needs an account, and none is given."""


class StorageError(CropglobeError):
    """The output cannot be written."""

    exit_code = 7


class FolderInUseError(StorageError):
    """Another run writes to the output folder."""

    exit_code = 9


class EngineError(InputError):
    """What should compute a model is unknown, or cannot do so on this machine."""


class ChangedRequestError(InputError):
    """The output folder holds a map of another request."""


class MemoryBudgetError(InputError):
    """The tiles of a map do not fit into the memory that workers may take."""


class WorkerError(CropglobeError):
    """Worker processes died, although the request was fine."""

    exit_code = 10


class ModelError(CropglobeError):
    """No model, or a model that cannot serve this request."""

    exit_code = 8


class CheckpointError(ModelError):
    """A checkpoint is missing, damaged or of an unknown layout."""


class RecipeMismatchError(ModelError):
    """The features asked for are not those the model was trained on."""


class SimulatedModelError(ModelError):
    """A model trained on simulated data was asked to map real scenes."""


class CropglobeWarning(UserWarning):
    """Base of all warnings: the run goes on, with less than was asked for."""


class NothingMappedWarning(CropglobeWarning):
    """A map was made, but no pixel of it has a class."""


class PartlyMappedWarning(CropglobeWarning):
    """A map was made, and much of its area has no class."""


class SeasonGapWarning(CropglobeWarning):
    """Weeks of a season have no scene: the series are filled across them."""


class RadiometryWarning(CropglobeWarning):
    """The pixels of scenes contradicted their metadata, and the reflectance offset was corrected."""


class MissingMaskWarning(CropglobeWarning):
    """Granules have no mask, and all of their pixels are taken as clear."""


class ProductVersionWarning(CropglobeWarning):
    """Granules are of another product version than those a model was trained on."""


class SensorMissingWarning(CropglobeWarning):
    """One of the sensors asked for has no scene, and the map is made without it."""


class LedgerDamagedWarning(CropglobeWarning):
    """The ledger of an output folder was damaged, and has been made anew from the tiles."""


class TileDamagedWarning(CropglobeWarning):
    """The file of a finished tile is gone or changed, and the tile is made again."""


class EngineTrialWarning(CropglobeWarning):
    """Workers died on trying engines, and the map is made with the plainest."""


class TileQuarantinedWarning(CropglobeWarning):
    """Workers died on a tile twice, and the map is made without it."""


class ZoneMissingWarning(CropglobeWarning):
    """A UTM zone of the area has no scene and stays unmapped."""


class SeasonOnlyWarning(CropglobeWarning):
    """Samples hold the season alone, and training cannot imitate other regions' dates."""


class BatchHalvedWarning(CropglobeWarning):
    """Memory did not suffice for a batch, and training goes on with smaller ones."""


class GeometryRepairedWarning(CropglobeWarning):
    """A polygon was invalid and has been repaired."""
