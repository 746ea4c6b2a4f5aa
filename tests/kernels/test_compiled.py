"""Compiled code is kept apart for each content of the kernels."""

import hashlib
from pathlib import Path

from toolkit.kernels import compiled as module
from toolkit.kernels.compiled import compiled


@compiled
def twice(x):
    return 2 * x


def test_a_compiled_function_computes_and_leaves_numbas_settings_alone():
    before = module.config.CACHE_DIR
    assert twice(21) == 42
    assert before == module.config.CACHE_DIR


def test_the_folder_is_named_by_all_kernel_files():
    here = Path(module.__file__).parent
    content = b"".join(path.read_bytes() for path in sorted(here.glob("*.py")))
    folder = Path(module._folder())
    assert folder.name == f"kernels-{hashlib.sha256(content).hexdigest()[:16]}"
    assert folder.is_dir()


def test_where_no_folder_can_be_made_compiling_still_works(monkeypatch):
    monkeypatch.setattr(module, "_folder", lambda: None)
    assert compiled(lambda x: x + 1)(1) == 2
