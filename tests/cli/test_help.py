"""What `--help` says: every option is explained, every example can be typed, nothing heavy is loaded."""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from habitus.cli import app
from habitus.cli.help import example_of
from habitus.cli.options import ALL
from habitus.data.options import Data
from habitus.data.split import Split

ROOT = Path(__file__).resolve().parents[2]


def commands(command: Any = None, name: str = "habitus") -> dict[str, Any]:
    """Return every command and group by its full name."""
    command = command or typer.main.get_command(app)
    found = {name: command}
    for child, below in getattr(command, "commands", {}).items():
        found |= commands(below, f"{name} {child}")
    return found


COMMANDS = commands()
TASKS = ("answer", "classify", "embed", "forecast", "generate", "next-event", "regress", "tag", "transcribe")
PLAIN = (
    "check",
    "compare",
    "demo",
    "duplicates",
    "embed",
    "evaluate",
    "fit",
    "predict",
    "pretrain",
    "recommend",
    "report",
    "search",
    "simulate",
    "simulate installs",
    "spark",
    "spark fit",
    "spark fit classify",
    "spark fit regress",
    "spark predict",
    "spark prepare",
    "spark stream",
    "tune",
)
NAMES = sorted(
    [
        "habitus",
        *(f"habitus {name}" for name in PLAIN),
        *(f"habitus {verb} {task}" for verb in ("fit", "compare", "tune") for task in TASKS),
    ]
)


def test_the_commands_are_those_that_were_promised():
    assert sorted(COMMANDS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_help_ends_with_an_example(name):
    done = CliRunner().invoke(app, [*name.split()[1:], "--help"])
    assert done.exit_code == 0
    assert done.stdout.rstrip().splitlines()[-1].strip() == example_of(COMMANDS[name].help)


@pytest.mark.parametrize("name", NAMES)
def test_every_example_parses(name):
    words = shlex.split(example_of(COMMANDS[name].help))
    assert words[0] == "habitus"
    command, context = COMMANDS["habitus"], None
    for position, word in enumerate(words[1:], start=1):
        context = command.context_class(command, info_name=words[position - 1], parent=context)
        command = command.commands[word]
        if not hasattr(command, "commands"):
            command.make_context(word, words[position + 1 :], parent=context)  # raises if an option is wrong or missing
            return
    pytest.fail(f"'{' '.join(words)}' names no command")


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_explained(name):
    for param in COMMANDS[name].params:
        assert (param.help or "").strip().rstrip("]"), param.name
        assert (param.help or "").endswith((".", "]")), param.name


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_on_the_page(name):
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    for param in COMMANDS[name].params:
        for written in param.opts if param.param_type_name == "option" else []:
            assert written in section, f"{written} of {name}: run make docs"


def test_options_have_the_names_of_the_config():
    assert all(flag.key.split(".")[-1] == name for name, flag in ALL.items() if name not in RENAMED)


RENAMED = {"field": "data.fields", "split": "split.by", "backbone": "backbone.name", "set": ""}


def test_the_defaults_that_help_shows_are_those_of_the_code():
    from habitus.model import Options
    from habitus.training import Training

    homes = {"data": Data, "split": Split, "training": Training, "options": Options}
    for name, flag in ALL.items():
        section, _, key = flag.key.partition(".")
        if section not in homes or name in ("drop", "field"):
            continue
        default = {field.name: field.default for field in dataclasses.fields(homes[section])}[key]
        shown = f"--{name.replace('_', '-')}" if default is True else str(default)
        assert default is None or flag.default == shown, name


def test_choices_are_those_of_the_code():
    hints = {**typing.get_type_hints(Data), **typing.get_type_hints(Split)}
    for name, key in (("history", "history"), ("split", "by"), ("time_unit", "time_unit")):
        known = [one for one in (hints[key], *typing.get_args(hints[key])) if typing.get_origin(one) is typing.Literal]
        assert typing.get_args(ALL[name].kind) == typing.get_args(known[0])


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"], ["fit", "classify", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments):
    script = f"""
import sys
from habitus.cli import main
code = main({arguments!r})
heavy = {{"torch", "polars", "numpy", "pyarrow", "rich"}} & set(sys.modules)
print("LOADED", code, *heavy)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    code, *heavy = done.stdout.rpartition("LOADED ")[2].split()
    assert (code, heavy, done.stderr) == ("0", [], "")  # how long it takes: benchmarks/startup.py


def test_the_version_is_that_of_the_package():
    import habitus

    assert CliRunner().invoke(app, ["--version"]).stdout == f"habitus {habitus.__version__}\n"
