"""The command ``cropglobe``: options in, one workflow each, exit codes out."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import get_args

import click

from pipelines.config import (
    FeaturesRequest,
    FindRequest,
    MapRequest,
    MapSensor,
    PlanRequest,
    SimulateRequest,
)
from pipelines.learn_config import (
    DistillRequest,
    FetchRequest,
    ImportWeightsRequest,
    TrainRequest,
    TransferRequest,
)
from pipelines.options import RequestCommand, request_options
from pipelines.samples_config import SamplesRequest
from toolkit.catalog.redaction import redact, redact_logs
from toolkit.errors import CropglobeError, CropglobeWarning

INCOMPLETE = 3
INTERNAL_ERROR = 10
INTERRUPTED = 130
BAD_USAGE = 4

# Workflows are imported by their commands: torch and odc-stac take seconds, and --help needs neither.


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="cropglobe", prog_name="cropglobe")
@click.option("-v", "--verbose", is_flag=True, help="Log what libraries do, and show tracebacks.")
def cropglobe(*, verbose: bool) -> None:
    """Crop-type maps from public satellite data.

    Options may also stand in a YAML file: cropglobe map RUN.yaml --out DIR. Options win over the file.
    """
    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR)
    redact_logs()


cropglobe.command_class = RequestCommand


@cropglobe.command()
@request_options(FindRequest)
def search(request: FindRequest) -> None:
    """Find the scenes of a season over an area."""
    from pipelines import search as workflow

    _tell(workflow.run(request).lines())


@cropglobe.command()
def catalogs() -> None:
    """List the catalogs known by name, and what they need."""
    from pipelines import catalogs as table

    _tell(table.lines())


@cropglobe.command()
@request_options(FeaturesRequest)
def features(request: FeaturesRequest) -> None:
    """Write the features of an area as a cube: Zarr or GeoTIFFs."""
    from pipelines import features as workflow

    result = workflow.run(request)
    _tell(result.lines())
    _leave(complete=result.complete)


@cropglobe.command()
@request_options(SamplesRequest)
def samples(request: SamplesRequest) -> None:
    """Turn labels and scenes into training samples."""
    from pipelines import samples as workflow

    result = workflow.run(request)
    _tell(result.lines())
    _leave(complete=result.complete)


@cropglobe.command()
@request_options(FetchRequest)
def fetch(request: FetchRequest) -> None:
    """Fetch published samples: DATA_SET is cropglobe."""
    from pipelines import fetch as workflow

    _tell(workflow.run(request).lines())


@cropglobe.command()
@request_options(TrainRequest)
def train(request: TrainRequest) -> None:
    """Train a model on samples."""
    from pipelines import train as workflow

    _tell(workflow.run(request).lines())


@cropglobe.command()
@request_options(DistillRequest)
def distill(request: DistillRequest) -> None:
    """Teach a compact student what a trained model says: a faster map, nearly the same."""
    from pipelines import distill as workflow

    _tell(workflow.run(request).lines())


@cropglobe.command()
@request_options(TransferRequest)
def transfer(request: TransferRequest) -> None:
    """Train on each region, test on the others: which source suits which target.

    For example: cropglobe transfer --data DIR --source FRA --targets BEL NLD --out OUT. Finished trials are
    kept in OUT/trials: run the same command again after an interruption.
    """
    from pipelines import transfer as workflow

    _tell(workflow.run(request).lines())


@cropglobe.command("import-weights")
@request_options(ImportWeightsRequest)
def import_weights(request: ImportWeightsRequest) -> None:
    """Make a model of published weights: WEIGHTS is a state dict of CropNet."""
    from pipelines import import_weights as workflow

    _tell(workflow.run(request).lines())


@cropglobe.command("map")
@request_options(MapRequest)
def make_map(request: MapRequest) -> None:
    """Make a crop map of an area."""
    from pipelines import crop_map

    result = crop_map.run(request)
    _tell(result.lines())
    _leave(complete=result.complete)


@cropglobe.command()
@request_options(PlanRequest)
def plan(request: PlanRequest) -> None:
    """Tell what a map will take: scenes, tiles, bytes, disk, memory and time.

    Options as for 'cropglobe map'. One tile is made and kept in --out, where 'cropglobe map' goes on.
    """
    from pipelines import plan as workflow

    _tell(workflow.run(request).lines())


@cropglobe.command()
@request_options(SimulateRequest)
def simulate(request: SimulateRequest) -> None:
    """Make simulated scenes with known crops."""
    from pipelines import simulate as workflow

    _tell(workflow.run(request).lines())


@cropglobe.command()
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Folder for the results.")
@click.option("--sample", type=click.Path(path_type=Path), default=None, help="Folder of the sample area.")
@click.option(
    "--sensor",
    type=click.Choice(get_args(MapSensor)),
    default="sentinel-2",
    show_default=True,
    help="Map with Sentinel-2, with EMIT, or with what both say.",
)
def demo(out: Path | None, sample: Path | None, sensor: MapSensor) -> None:
    """Map the sample area (simulated), no network."""
    from pipelines import demo as workflow

    _tell(workflow.run(out=out, sample=sample, sensor=sensor).lines())


@cropglobe.command()
def doctor() -> None:
    """Check that this machine is fit to make maps."""
    from pipelines import doctor as workflow

    findings = workflow.run()
    _tell(
        [f"{'ok' if finding.fine else 'PROBLEM':<8}{finding.name}: {finding.detail}" for finding in findings]
    )
    if not all(finding.fine for finding in findings):
        sys.exit(INTERNAL_ERROR)


def _leave(*, complete: bool) -> None:
    """Exit with a code of its own if scenes of the season could not be used."""
    if not complete:
        sys.exit(INCOMPLETE)


def _tell(lines: list[str]) -> None:
    for line in lines:
        click.echo(line)


def _show_warning(message: Warning | str, category: type[Warning], *_: object) -> None:
    """Show our own warnings as one line; those of libraries are for their developers."""
    if issubclass(category, CropglobeWarning):
        click.echo(f"Warning: {message}", err=True)


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit with a code of ``docs/exit-codes.md``."""
    warnings.showwarning = _show_warning  # type: ignore[assignment]  # fewer parameters are used
    verbose = "-v" in (arguments or sys.argv[1:]) or "--verbose" in (arguments or sys.argv[1:])
    try:
        cropglobe.main(args=arguments, prog_name="cropglobe", standalone_mode=False)
    except CropglobeError as error:
        _fail(str(error), error.exit_code, verbose=verbose, error=error)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
    except click.ClickException as error:
        _fail(error.format_message(), BAD_USAGE, verbose=verbose, error=error)
    except (KeyboardInterrupt, click.Abort) as error:
        stopped = error.__cause__ or error  # click hands on its own exception
        code = getattr(stopped, "exit_code", None)  # of a run that can go on
        more = " Run the same command again to go on: what is done is kept." if code else ""
        click.echo(f"Interrupted.{more}", err=True)
        sys.exit(code or INTERRUPTED)
    except Exception as error:  # the last line of defence: a sentence, no traceback
        text = (
            f"{type(error).__name__}: {error}. This is a fault of cropglobe; run again with -v and report it."
        )
        _fail(text, INTERNAL_ERROR, verbose=verbose, error=error)


def _fail(message: str, code: int, *, verbose: bool, error: Exception) -> None:
    if verbose:
        logging.getLogger(__name__).error("failed", exc_info=error)
    click.echo(f"Error: {redact(message)}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
