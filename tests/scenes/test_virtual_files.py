"""Remote files under names of one file system: each thread reads its own, and no process dies of it."""

import subprocess
import sys

import pytest

READING = """
import io, sys, tempfile, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np, rasterio
from affine import Affine
from rasterio.io import MemoryFile
from toolkit.scenes.opening import _dataset

def content(value):
    with MemoryFile() as memory:
        profile = {"driver": "GTiff", "width": 64, "height": 64, "count": 1, "dtype": "uint8"}
        with memory.open(**profile, transform=Affine(10, 0, 1, 0, -10, 1)) as file:
            file.write(np.full((1, 64, 64), value, "uint8"))
        return memory.read()

class InMemory:
    failure = None
    def __init__(self, content):
        self.content = content
    def size(self):
        return len(self.content)
    def read(self, start, stop):
        return self.content[start:stop]

end = time.monotonic() + float(sys.argv[1])
path = Path(tempfile.mkdtemp()) / "local.tif"
path.write_bytes(content(0))

def remote(number):
    expected, n = content(number), 0
    while not n or time.monotonic() < end:
        with _dataset("https://example.org/a.tif", InMemory(expected), ["GTiff"]) as pixels:
            assert (pixels.read(1) == number).all()
        n += 1
    return n

def local(number):
    while time.monotonic() < end:
        with rasterio.open(path, driver="GTiff", sharing=False) as file:
            file.files

with ThreadPoolExecutor(32) as pool:
    beside = [pool.submit(local, number) for number in range(16)]
    print(sum(pool.map(remote, range(1, 17))) > 0)
    [one.result() for one in beside]
"""


def read_for(seconds):
    command = [sys.executable, "-W", "ignore", "-c", READING, str(seconds)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_threads_read_each_their_own_file_and_the_process_ends_well():
    done = read_for(1)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


@pytest.mark.slow
def test_opening_files_in_many_threads_kills_no_process():
    """With a file system for each file GDAL died within a minute or so, in a table that it reads unlocked."""
    done = read_for(90)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr[-2000:]
