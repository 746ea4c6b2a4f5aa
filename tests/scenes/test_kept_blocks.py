"""Decoded blocks are shared by workers, kept within a limit, and waited for no longer than it pays."""

import multiprocessing
import shutil
import time
from types import SimpleNamespace

import numpy as np
import pytest

from tests.scenes.test_blocks import BLOCK, HEIGHT, WIDTH, expected_window, files, grid
from toolkit.area.grid import tiles
from toolkit.scenes import kept_blocks
from toolkit.scenes.blocks import BlockCache, read_on_grid
from toolkit.scenes.kept_blocks import KeptBlocks
from toolkit.scenes.opening import opened

__all__ = ["files"]
BLOCKS = [np.full((4, 4), k, np.uint16) for k in range(10)]
LIKE = (4, 4), "uint16"


def test_what_is_kept_stays_within_the_limit_and_the_oldest_goes_first(tmp_path):
    kept = KeptBlocks(tmp_path, limit_bytes=3 * BLOCKS[0].nbytes)
    for k, block in enumerate(BLOCKS):
        kept.keep("a", 0, k, block)
    found = [kept.take("a", 0, k, LIKE) for k in range(len(BLOCKS))]
    assert [None if one is None else int(one[0, 0]) for one in found] == [None] * 7 + [7, 8, 9]
    assert len(list(tmp_path.iterdir())) == 3


def test_workers_together_leave_half_of_the_disk_free(tmp_path, monkeypatch):
    block = BLOCKS[0].nbytes

    def usage(folder):
        return SimpleNamespace(free=7 * block - sum(path.stat().st_size for path in folder.iterdir()))

    monkeypatch.setattr(shutil, "disk_usage", usage)
    workers = KeptBlocks(tmp_path), KeptBlocks(tmp_path)
    for k, pixels in enumerate(BLOCKS):
        for name, kept in zip("ab", workers, strict=True):
            kept.keep(name, 0, k, pixels)
        assert usage(tmp_path).free >= 3.5 * block
    assert len(list(tmp_path.iterdir())) == 3
    assert workers[0].take("a", 0, len(BLOCKS) - 1, LIKE) is not None


def test_on_a_disk_that_cannot_be_written_nothing_is_kept_and_nothing_fails(tmp_path):
    kept = KeptBlocks(tmp_path)
    shutil.rmtree(tmp_path)
    kept.keep("a", 0, 0, BLOCKS[0])
    with kept.alone_with("a"):
        assert kept.take("a", 0, 0, LIKE) is None


def read_all(path, folder, grids):
    """Read tiles of a file one after the other, as a worker does; return the blocks it decoded."""
    cache, decoded = BlockCache(KeptBlocks(folder), grid=grids[0]), 0
    for geobox in grids[1:]:
        decoded += read_on_grid(path, geobox, cache=cache)[1].blocks
    return decoded


def test_two_processes_decode_each_block_once_between_them(files, tmp_path):
    path, _ = files[20]
    whole = grid(0, 0, HEIGHT, WIDTH)
    grids = [whole, *(tile.geobox for tile in tiles(whole, size=16))]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        decoded = pool.starmap(read_all, [(path, tmp_path, grids)] * 2)
    assert sum(decoded) == read_on_grid(path, whole)[1].blocks


def hold(folder, file, holding, enough):
    """Hold a file as a worker does that hangs while it decodes."""
    with KeptBlocks(folder).alone_with(file):
        holding.set()
        enough.wait()


def test_a_worker_that_hangs_with_a_file_holds_no_other_up(files, tmp_path, monkeypatch):
    path, pixels = files[10]
    monkeypatch.setattr(kept_blocks, "LONGEST_WAIT_S", 0.2)
    with opened(path) as file:
        version = file.version
    start_fresh = multiprocessing.get_context("spawn")
    holding, enough = start_fresh.Event(), start_fresh.Event()
    other = start_fresh.Process(target=hold, args=(tmp_path, version, holding, enough))
    other.start()
    assert holding.wait(60)
    start = time.monotonic()
    found, counts = read_on_grid(path, grid(0, 0, 20, 20), cache=BlockCache(KeptBlocks(tmp_path)))
    waited = time.monotonic() - start
    enough.set()
    other.join()
    assert waited >= 0.2
    assert counts.blocks == 4
    np.testing.assert_array_equal(found, expected_window(pixels, 0, 0, 20, 20))


@pytest.mark.parametrize("resolution", [10, 20])
def test_of_a_file_that_was_replaced_no_older_block_is_taken(files, tmp_path, resolution):
    path, _ = files[resolution]
    mine = str(shutil.copy(path, tmp_path / "a.tif"))
    cache = BlockCache(KeptBlocks(tmp_path))
    read_on_grid(mine, grid(0, 0, 20, 20), cache=cache)
    shutil.copyfile(files[60][0], mine)
    found, counts = read_on_grid(mine, grid(0, 0, 20, 20), cache=cache)
    np.testing.assert_array_equal(found, expected_window(files[60][1], 0, 0, 20, 20))
    assert counts.kept_blocks == 0


def test_what_reaches_beyond_the_map_alone_is_not_kept(files, tmp_path):
    path, _ = files[10]
    whole = grid(0, 0, BLOCK + 3, BLOCK + 5)
    cache = BlockCache(KeptBlocks(tmp_path), grid=whole)
    _, counts = read_on_grid(path, whole, cache=cache)
    assert counts.blocks == 4
    assert not list(tmp_path.iterdir())


def test_what_parts_of_a_tile_left_the_whole_tile_takes(files, tmp_path):
    path, pixels = files[10]
    whole = grid(0, 0, 40, 40)
    cache = BlockCache(KeptBlocks(tmp_path), grid=whole)
    read_on_grid(path, grid(0, 0, 20, 20), cache=cache)
    found, counts = read_on_grid(path, whole, cache=cache)
    np.testing.assert_array_equal(found, expected_window(pixels, 0, 0, 40, 40))
    assert (counts.kept_blocks, counts.blocks) == (3, 6)  # one lay in the part alone


def test_shares_of_all_tiles_add_up_to_the_bytes_of_all_blocks(files, tmp_path):
    path, _ = files[20]
    whole = grid(3, 5, 64, 70)
    cache = BlockCache(KeptBlocks(tmp_path), grid=whole)
    reads = [read_on_grid(path, tile.geobox, cache=cache)[1] for tile in tiles(whole, size=23)]
    assert sum(one.own_bytes for one in reads) == pytest.approx(sum(one.bytes for one in reads))
    assert reads[0].own_bytes < reads[0].bytes
