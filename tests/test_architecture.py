"""The house: order of the folders, technology walls, sizes, one-line purposes."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORDER = ("kernels", "area", "catalog", "scenes", "cubes", "learn", "maps", "simulate")
GROUND = {f"toolkit.{name}" for name in ("cog_copy", "errors", "legend", "packages", "storage", "workers")}
"""Modules that every folder may use."""
TOP = {"toolkit.cluster", "toolkit.local_processes"}
WALLS = {
    "numba": "toolkit/kernels/",
    "torch": "toolkit/learn/",
    "safetensors": "toolkit/learn/",
    "onnx": "toolkit/learn/engines/",
    "onnxruntime": "toolkit/learn/engines/",
    "openvino": "toolkit/learn/engines/",
    "pystac_client": "toolkit/catalog/",
    "h5netcdf": ("toolkit/catalog/netcdf.py", "toolkit/simulate/emit"),
    "h5py": "toolkit/catalog/netcdf.py",
    "pydantic": (
        *("pipelines/config.py", "pipelines/config_file.py"),
        *("pipelines/learn_config.py", "pipelines/samples_config.py"),
    ),
    "pydantic_core": "pipelines/options.py",
}
"""Package -> the only place, or places, that import it."""
EXEMPT = {("torch", "pipelines/doctor.py")}  # looks whether torch sees a GPU
FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc", "lib"}
MODULES = sorted([*(ROOT / "toolkit").rglob("*.py"), *(ROOT / "pipelines").rglob("*.py")])


def relative(path):
    return path.relative_to(ROOT).as_posix()


def imports(path):
    """Absolute names of all modules a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(name):
    """Position of a module in the order of the data."""
    parts = name.split(".")
    if parts[0] == "pipelines":
        return len(ORDER) + 1
    if name in TOP:
        return len(ORDER)
    return ORDER.index(parts[1]) if len(parts) > 1 and parts[1] in ORDER else -1


def is_module(name):
    path = ROOT / Path(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def own_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_there_are_modules_on_every_floor():
    floors = {floor(own_name(path)) for path in MODULES}
    assert floors == set(range(-1, len(ORDER) + 2))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_data_flow_one_way(path):
    own = own_name(path)
    for name in imports(path):
        if name.split(".")[0] not in ("toolkit", "pipelines") or name in GROUND:
            continue
        if own == "toolkit.cluster":
            assert name.split(".")[:2] != ["toolkit", "maps"], f"{own} imports {name}"
        else:
            assert floor(name) <= floor(own), f"{own} imports {name}, which lies to its right"


def test_no_module_imports_itself_by_a_detour():
    graph = {own_name(p): {n for n in imports(p) if is_module(n)} - {own_name(p)} for p in MODULES}

    def visit(name, trail):
        assert name not in trail, " -> ".join([*trail, name])
        if name in done:
            return
        for following in graph.get(name, ()):
            if following not in ("toolkit", "pipelines") and following.count(".") > 0:
                visit(following, [*trail, name])
        done.add(name)

    done = set()
    for name in graph:
        visit(name, [])


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_technologies_stay_behind_their_walls(path):
    for name in imports(path):
        package = name.split(".")[0]
        if package in WALLS and (package, relative(path)) not in EXEMPT:
            assert relative(path).startswith(WALLS[package]), f"{relative(path)} imports {package}"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_modules_and_functions_fit_the_eye(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documented = ast.get_docstring(node) is not None
            first = node.body[1] if documented and len(node.body) > 1 else node.body[0]
            assert node.end_lineno - first.lineno + 1 <= 60, f"{node.name} is longer than a screen"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_each_module_says_its_purpose_in_a_line(path):
    purpose = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert purpose
    assert len(purpose.splitlines()[0]) <= 90
    assert path.stem not in FORBIDDEN_NAMES


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_input_is_never_checked_by_assert_and_nothing_is_printed(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not isinstance(node, ast.Assert), f"{relative(path)}:{node.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{relative(path)}:{node.lineno}"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{relative(path)}:{node.lineno}: bare except"


def test_importing_the_toolkit_loads_neither_numba_nor_torch():
    heavy = "('numba', 'torch', 'xarray', 'rasterio')"
    code = f"import sys, toolkit; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_every_public_function_can_be_imported():
    import toolkit

    assert len(toolkit.__all__) > 20
    for name in toolkit.__all__:
        assert getattr(toolkit, name) is not None
