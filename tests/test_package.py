"""The package as a whole: its public names, its extras, and the page about its commands."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import habitus

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ROOT_INIT = ast.parse(Path(habitus.__file__).read_text(encoding="utf-8"))


def names_for_type_checkers() -> dict[str, str]:
    """Return name -> module of the TYPE_CHECKING block."""
    blocks = [node for node in ROOT_INIT.body if isinstance(node, ast.If)]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module or "" for node in imports for alias in node.names}


@pytest.mark.parametrize("name", habitus.__all__)
def test_every_public_name_can_be_used(name):
    assert getattr(habitus, name).__doc__
    assert name in dir(habitus)


def test_type_checkers_and_users_see_the_same_names():
    assert names_for_type_checkers() == habitus._HOMES
    errors = {name for name in habitus.__all__ if name.endswith("Error")}
    assert set(habitus.__all__) == set(habitus._HOMES) | errors


def test_every_error_of_the_tree_is_public():
    tree = {habitus.HabitusError, *habitus.HabitusError.__subclasses__()}
    own = {error.__name__ for error in tree if error.__module__ == "habitus.errors"}
    assert own <= set(habitus.__all__)


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(AttributeError, match="did you mean 'SequenceModel'"):
        _ = habitus.SequnceModel


def test_without_torch_a_model_asks_for_the_extra(tmp_path):
    script = "import sys; sys.modules['torch'] = None; import habitus; habitus.Category; habitus.GRU"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert "MissingExtraError: habitus.GRU needs the package 'torch'" in done.stderr
    assert "pip install 'habitus[train]'" in done.stderr


def test_the_installed_version_is_that_of_the_code():
    assert version("habitus") == habitus.__version__, "the version has changed: run pip install -e ."


def test_types_are_shipped():
    assert (Path(habitus.__file__).parent / "py.typed").exists()


def required_extras() -> list[tuple[str, str, str]]:
    """Return (file, module, extra) of every `require("module", "extra")` in the package."""
    call = re.compile(r"""\brequire\(\s*["']([\w.]+)["'],\s*(?:extra=)?["'](\w+)["']""")
    files = sorted((ROOT / "habitus").rglob("*.py"))
    return [
        (file.relative_to(ROOT / "habitus").as_posix(), *found)
        for file in files
        for found in call.findall(file.read_text(encoding="utf-8"))
    ]


def test_every_required_module_is_in_the_extra_that_the_error_names():
    distributions = {"sklearn": "scikit-learn", "mlflow": "mlflow-skinny", "faiss": "faiss-cpu"}
    for file, module, extra in required_extras():
        top = module.partition(".")[0]
        packages = [re.split(r"[<>=~!\[ ]", line)[0] for line in PROJECT["optional-dependencies"].get(extra, [])]
        assert distributions.get(top, top) in packages, f"{file}: extra '{extra}' does not bring '{module}'"


def test_an_optional_package_stays_in_its_folder():
    homes = {"lightgbm": "baselines/", "matplotlib": "evaluate/", "jinja2": "evaluate/", "tensorboard": "training/"}
    for file, module, _ in required_extras():
        assert file.startswith(homes.get(module.partition(".")[0], "")), f"{file} requires '{module}'"


def test_the_command_is_installed():
    module, _, name = PROJECT["scripts"]["habitus"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("name", ["write_cli_docs.py", "write_option_docs.py"])
def test_the_pages_that_are_written_from_the_code_say_what_it_says(name):
    script = ROOT / "scripts" / name
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
