"""What importing costs, and what an `__init__.py` may hold. The direction of imports is checked by `lint-imports`."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAZY = [ROOT / "habitus" / "spark" / "__init__.py"]  # like the package's own, a table of where each name lives
INITS = [path for path in sorted((ROOT / "habitus").glob("*/**/__init__.py")) if path not in LAZY]
LIGHT_PACKAGES = ("fields", "data", "metrics", "baselines")
TORCH_MODULES = {"habitus.data.batch", "habitus.data.loader", "habitus.data.next_batch", "habitus.data.pairs.batch"}
HEAVY = ("torch", "accelerate", "lightgbm", "matplotlib", "pandas", "sklearn")


def loaded_after(script: str, folder: Path) -> set[str]:
    """Run a script in a fresh interpreter and return which top-level packages it has loaded."""
    script += "\nimport sys; print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("LOADED ")[2].split())


def test_import_habitus_loads_nothing_heavy(tmp_path):
    assert loaded_after("import habitus", tmp_path).isdisjoint({*HEAVY, "polars", "pyarrow", "numpy"})


def test_help_loads_nothing_heavy(tmp_path):
    script = (
        "import sys; from habitus.cli import main; sys.argv = ['habitus', '--help']\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code"
    )
    assert loaded_after(script, tmp_path).isdisjoint(HEAVY)


def test_reading_counting_and_measuring_load_no_torch(tmp_path):
    modules = [name for package in LIGHT_PACKAGES for name in modules_of(package) if name not in TORCH_MODULES]
    script = "\n".join(f"import {name}" for name in ["habitus.config", "habitus.errors", *modules])
    assert "torch" not in loaded_after(script, tmp_path)


def test_the_check_would_see_torch(tmp_path):
    assert "torch" in loaded_after("import habitus.backbones", tmp_path)


def modules_of(package: str) -> list[str]:
    """Return the dotted names of a package's modules."""
    files = sorted((ROOT / "habitus" / package).rglob("*.py"))
    parts = [file.relative_to(ROOT).with_suffix("").parts for file in files]
    return [".".join(part).removesuffix(".__init__") for part in parts]


def faults(source: str) -> list[str]:
    """Return what an `__init__.py` holds besides a docstring, imports and an `__all__` that lists them."""
    body = ast.parse(source).body
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    exports = [node for node in body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"]
    found = [f"line {node.lineno}: {ast.unparse(node)[:60]}" for node in body if node not in imports + exports]
    imported = {alias.asname or alias.name for node in imports for alias in node.names} - {"annotations"}
    listed = set(ast.literal_eval(exports[0].value)) if exports else set()
    return found + [f"{name} is not both imported and in __all__" for name in sorted(imported ^ listed)]


@pytest.mark.parametrize("path", INITS, ids=lambda path: path.parent.relative_to(ROOT).as_posix())
def test_init_files_hold_imports_and_all_only(path):
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", LAZY, ids=lambda path: path.parent.relative_to(ROOT).as_posix())
def test_a_lazy_init_file_says_the_same_to_readers_type_checkers_and_python(path):
    pytest.importorskip("pyspark")
    module = importlib.import_module(".".join(path.parent.relative_to(ROOT).parts))
    (block,) = (node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.If))
    checked = {
        alias.name: node.module for node in ast.walk(block) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert checked == module._HOMES and sorted(checked) == module.__all__


@pytest.mark.parametrize("path", [*INITS, *LAZY], ids=lambda path: path.parent.relative_to(ROOT).as_posix())
def test_what_init_files_list_exists(path):
    module = importlib.import_module(".".join(path.parent.relative_to(ROOT).parts))
    for name in getattr(module, "__all__", []):
        assert hasattr(module, name), name


@pytest.mark.parametrize(
    "source",
    ["from a import b\n", "from a import b\n__all__ = ['b', 'c']\n", "x = 1\n", "def f(): ...\n", "import a\na.go()\n"],
)
def test_a_faulty_init_file_is_caught(source):
    assert faults(source)


def test_every_folder_of_the_package_has_an_init_file():
    folders = {file.parent for file in (ROOT / "habitus").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []
