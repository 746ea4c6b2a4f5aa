"""Crop calendars: when each crop grows, flowers, dries and is cut.

Planting dates, stage lengths and cover are those of the literature and were never moved to suit a
classifier. Two things were set by looking at one: the spread between fields (10 to 14 days) and the two
kinds with two seasons (double soybeans, forage), so that no single date tells the crops apart.
The calendar holds for Louisiana, where all six crops of the legend are grown. Sources:

- FAO-56: Allen et al. 1998, FAO Irrigation and Drainage Paper 56, table 11 (lengths of the initial,
  development, mid-season and late stages, in days).
- AH-628: USDA NASS 2010, Agricultural Handbook 628, Usual Planting and Harvesting Dates.
- LSU: Louisiana State University AgCenter, planting windows of the crop's production guide.

Days are days of the year in the north; south of the equator the year starts half a year later.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from toolkit.area.season import Hemisphere
from toolkit.legend import CROPGLOBE

MARGIN = "margin"
"""Name of the calendar of roads and field margins, where no crop grows."""

SOUTHERN_DAYS = 180
"""Half a year: 36 steps of five days, as CropGlobe moves southern seasons (Tong & Wang 2025)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondCrop:
    """A second crop of the year, on the stubble of the first."""

    share: float
    """Share of fields that carry it."""
    peak: float
    """Green cover, 0 to 1."""
    days: tuple[float, float, float, float]
    """Days from the first harvest to 10 and 90 % of the cover, to 90 and 10 % still green."""
    green: str
    """Endmember of the green canopy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """One year of one kind of land; the four stages are those of FAO-56."""

    name: str
    """Name of the kind, unique in :data:`CALENDARS`."""
    crop: str | None
    """Class of the legend, None where no crop grows."""
    share: float = 1.0
    """Share of the kind within its class."""
    planting: float
    """Day of the year of planting or of the first growth."""
    spread_days: float
    """Standard deviation of the planting date between fields, days; usual windows (5 to 95 %) are 3.3 times
    9 to 18 days."""
    stages: tuple[float, float, float, float]
    """Lengths in days: to 10 % of the peak cover, to 90 %, to 90 % still green, to 10 % still green."""
    harvest_delay: float | None
    """Days from maturity to harvest; negative: cut while green; None: not harvested."""
    harvest_spread_days: float = 6.0
    """Standard deviation of the harvest delay between fields, days."""
    peak: float
    """Green cover at mid-season, 0 to 1."""
    evergreen: float = 0.0
    """Green cover that stays all year."""
    standing: float
    """Share of the dead canopy that remains visible until harvest."""
    residue: float = 0.0
    """Cover of dead matter left on the ground right after harvest."""
    residue_days: float = 60.0
    """Days in which tillage and decay reduce residue to 37 %."""
    weeds: float = 0.0
    """Usual green cover of weeds between harvest and the next seedbed."""
    flooded: bool = False
    """True where the crop stands in a permanent flood."""
    second: SecondCrop | None = None
    """Second crop after the harvest."""
    cuts: tuple[float, float] | None = None
    """Cuts, grazings or tillage in the green season: days between them, share of cover removed."""
    irrigated: float = 0.0
    """Share of fields with irrigation: no loss of cover to drought, moister soil."""
    senescent: str
    """Endmember of dead matter, a name in :data:`toolkit.simulate.spectra.SENESCENT`."""
    green: str
    """Endmember of the green canopy, a name in :data:`toolkit.simulate.spectra.GREEN`."""


# fmt: off
CALENDARS: tuple[Calendar, ...] = (
    # FAO-56: 20/35/40/30 (125 d, humid). Planting mid March to mid April, harvest end of July to early
    # September (AH-628, Louisiana).
    Calendar(
        name="corn", crop="corn", planting=85, spread_days=14, stages=(20, 35, 40, 30), harvest_delay=10,
        peak=0.90, standing=0.80, residue=0.65, weeds=0.30, irrigated=0.4,
        senescent="stover", green="corn",
    ),
    # FAO-56: 20/32/60/25 (central USA, about 140 d). Planting mid April to mid June, harvest mid August
    # to end of October (AH-628). Leaves drop before harvest.
    Calendar(
        name="soybeans", crop="soybeans", share=0.75, planting=121, spread_days=14, stages=(20, 32, 60, 25),
        harvest_delay=10, peak=0.92, standing=0.40, residue=0.45, weeds=0.25, irrigated=0.4,
        senescent="stalks", green="soybeans",
    ),
    # Soybeans planted in June after winter wheat, a quarter of the crop (USDA: 15 to 30 % in the lower
    # Mississippi valley): wheat as below, soybeans 20/30/50/25 from ten days after its harvest (FAO-56,
    # late planting shortens the season).
    Calendar(
        name="double soybeans", crop="soybeans", share=0.25, planting=319, spread_days=11,
        stages=(20, 60, 70, 30), harvest_delay=8, peak=0.90, standing=0.90, residue=0.55,
        second=SecondCrop(share=1.0, peak=0.85, days=(30, 60, 105, 130), green="soybeans"),
        senescent="straw", green="wheat",
    ),
    # FAO-56: 30/30/60/30 (150 d) less a nursery of about 25 d, as rice is drilled or water-seeded here.
    # Planting 10 March to 15 April (LSU, south-west Louisiana), permanent flood from the 4-5 leaf stage
    # to about two weeks before the harvest of late July and August (LSU, AH-628). A second crop from the
    # stubble is cut until November on about 40 % of the area (LSU).
    Calendar(
        name="rice", crop="rice", planting=84, spread_days=14, stages=(20, 30, 50, 25), harvest_delay=7,
        peak=0.92, standing=0.85, residue=0.60, weeds=0.20, flooded=True, irrigated=1.0,
        second=SecondCrop(share=0.4, peak=0.5, days=(10, 45, 80, 105), green="rice"),
        senescent="straw", green="rice",
    ),
    # FAO-56: 20/60/70/30 (180 d). Winter wheat is planted in November (LSU, central and southern
    # Louisiana), harvested mid May to mid June (AH-628); then stubble and weeds.
    Calendar(
        name="wheat", crop="wheat", planting=319, spread_days=11, stages=(20, 60, 70, 30),
        harvest_delay=10, peak=0.90, standing=0.90, residue=0.65, weeds=0.35,
        senescent="straw", green="wheat",
    ),
    # FAO-56: ratoon cane 25/70/135/50 (280 d, low latitudes), from the last frosts in mid March. Cut from
    # the end of September to the end of December, before it dries (AH-628).
    Calendar(
        name="sugarcane", crop="sugarcane", planting=74, spread_days=14, stages=(25, 70, 135, 50),
        harvest_delay=-35, harvest_spread_days=22, peak=0.94, standing=0.80, residue=0.75,
        residue_days=45, weeds=0.15, senescent="straw", green="sugarcane",
    ),
    # FAO-56: 30/50/55/45 (180 d, Texas, April); the late stage ends early, as defoliants remove the leaves
    # two to three weeks before picking. Planting mid April to mid May (LSU), harvest mid September to
    # early November (AH-628).
    Calendar(
        name="cotton", crop="cotton", planting=120, spread_days=12, stages=(30, 50, 55, 18),
        harvest_delay=14, peak=0.88, standing=0.45, residue=0.35, weeds=0.15, irrigated=0.4,
        senescent="stalks", green="cotton",
    ),
    # Bermudagrass and bahiagrass grow from mid March to the first frosts in November (LSU); FAO-56 grazing
    # pasture has 10/20 d at the start, for a sward in leaf; here 20/40 d after winter.
    Calendar(
        name="pasture", crop="other", share=0.25, planting=70, spread_days=12, stages=(20, 40, 165, 40),
        harvest_delay=None, peak=0.72, evergreen=0.10, standing=0.85, cuts=(45, 0.25),
        senescent="straw", green="grass",
    ),
    # FAO-56: alfalfa hay, cycles of about 30 d (5/10/10/5), here cut every five weeks.
    Calendar(
        name="hay", crop="other", share=0.15, planting=65, spread_days=12, stages=(15, 35, 180, 40),
        harvest_delay=None, peak=0.85, evergreen=0.10, standing=0.80, cuts=(34, 0.65),
        senescent="straw", green="grass",
    ),
    # Annual ryegrass, sown in September and October, grazed to mid May, then pearl millet or sudangrass
    # from June to August (LSU forage guides): two seasons a year.
    Calendar(
        name="forage", crop="other", share=0.20, planting=278, spread_days=10, stages=(20, 45, 125, 30),
        harvest_delay=5, peak=0.85, standing=0.60, residue=0.35, residue_days=25,
        second=SecondCrop(share=1.0, peak=0.75, days=(15, 45, 85, 110), green="grass"),
        senescent="straw", green="grass",
    ),
    # Summer fallow of cane land (LSU): weeds, disked or sprayed every one to two months.
    Calendar(
        name="fallow", crop="other", share=0.20, planting=60, spread_days=14, stages=(20, 45, 180, 50),
        harvest_delay=None, peak=0.45, evergreen=0.05, standing=0.60, cuts=(50, 0.85),
        senescent="stalks", green="weeds",
    ),
    # Bottomland hardwood with pine: leaf-out in March and April, leaf fall from the end of October (USA
    # National Phenology Network, northern Gulf coast).
    Calendar(
        name="woodland", crop="other", share=0.20, planting=65, spread_days=8, stages=(15, 25, 195, 40),
        harvest_delay=None, peak=0.93, evergreen=0.30, standing=0.70,
        senescent="stalks", green="woodland",
    ),
    # Roads, ditches and turn rows: mown grass and bare soil, in the rhythm of pasture.
    Calendar(
        name=MARGIN, crop=None, planting=70, spread_days=8, stages=(20, 40, 165, 40),
        harvest_delay=None, peak=0.50, evergreen=0.10, standing=0.80, cuts=(40, 0.30),
        senescent="straw", green="grass",
    ),
)
# fmt: on
"""Calendars of all kinds of land; a kind's index is its position here."""


def kinds_of(crop: str | None) -> tuple[int, ...]:
    """Return the indices of the calendars of a class of the legend, or of land without crop."""
    return tuple(k for k, calendar in enumerate(CALENDARS) if calendar.crop == crop)


CROP_VALUE: tuple[int, ...] = tuple(
    0 if calendar.crop is None else CROPGLOBE.index(calendar.crop) + 1 for calendar in CALENDARS
)
"""Raster value of the legend for each kind of land; 0 where no crop grows."""


def crop_day(day: date, hemisphere: Hemisphere) -> int:
    """Return the day of the crop year, 1 to 365, in the calendar of the north.

    Args:
        day: date.
        hemisphere: ``south`` moves days by half a year, 36 steps of five days; day 366 counts as 365.
    """
    day_of_year = min(day.timetuple().tm_yday, 365)
    shift = SOUTHERN_DAYS if hemisphere == "south" else 0
    return (day_of_year - shift - 1) % 365 + 1
