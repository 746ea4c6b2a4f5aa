"""The table of catalogs."""

from urllib.parse import urlsplit

from toolkit.catalog.bands import ANY_KEYS, SENSOR_BANDS
from toolkit.catalog.profiles import PROFILES, resolve_profile


def test_each_profile_is_https_named_by_its_key_and_may_read_itself():
    for name, profile in PROFILES.items():
        assert profile.name == name
        assert urlsplit(profile.url).scheme == "https"
        assert urlsplit(profile.url).hostname in profile.hosts


def test_no_asset_key_stands_for_two_bands():
    for table in (ANY_KEYS, *(profile.asset_keys for profile in PROFILES.values())):
        keys = [key for names in table.values() for key in names]
        assert len(keys) == len(set(keys))


def test_each_profile_names_every_band_of_its_sensors():
    for profile in PROFILES.values():
        for sensor in set(profile.sensors) - {"emit"}:  # files of EMIT are told by their names
            assert set(profile.asset_keys) == set(SENSOR_BANDS[sensor])


def test_unknown_names_are_taken_as_address_and_may_read_their_own_host():
    profile = resolve_profile("https://stac.example.org/v1", allow_hosts=("Pixels.example.org",))
    assert profile.name == "custom"
    assert profile.hosts == {"stac.example.org", "pixels.example.org"}


def test_extra_hosts_are_added_to_known_catalogs():
    profile = resolve_profile("earth-search", allow_hosts=("mirror.example.org",))
    assert profile.hosts == PROFILES["earth-search"].hosts | {"mirror.example.org"}
