"""Recorded responses of the live catalogs, in the order of their folders."""

import json

from toolkit.catalog.guard import Guard
from toolkit.catalog.items import band_keys, item_of, normalise
from toolkit.catalog.profiles import resolve_profile

FOLDERS = {
    "earth-search-v1": "earth-search",
    "planetary-computer": "planetary-computer",
    "cdse": "cdse",
}
"""Folder of the shared data -> name of the profile."""


def features(shared_data, folder):
    """Item files of one catalog: collection, plain feature."""
    for path in sorted((shared_data / "stac" / folder).glob("sentinel-2*/*.json")):
        yield path.parent.name, json.loads(path.read_text())


def responses(shared_data):
    """Recorded answers: name, request, status, body."""
    for path in sorted((shared_data / "stac" / "search_responses").glob("*.json")):
        recorded = json.loads(path.read_text())
        yield path.stem, recorded["request"], recorded["status"], recorded["response_json"]


def as_found(feature, catalog):
    """The item that a search in this catalog makes of a feature."""
    profile = resolve_profile(catalog)
    guard = Guard(profile.url, profile.hosts, buckets=frozenset({"eodata"}))
    raw = item_of(feature)
    return normalise(raw, band_keys(raw, profile.asset_keys), profile, guard)
