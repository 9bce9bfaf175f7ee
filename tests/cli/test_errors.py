"""Every failure is one sentence on stderr with the right exit code, and never a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from habitus.cli import main

TIMES = ["2024-01-01T10:00Z", "2024-01-02T10:00Z", "2024-01-03T10:00Z"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a log and examples that can be read, and files that cannot."""
    log = pl.DataFrame({"user_id": ["a", "a", "b"], "timestamp": TIMES, "item": ["x", "y", "x"]})
    examples = pl.DataFrame({"user_id": ["a", "b"], "cutoff": ["2024-02-01T00:00Z"] * 2, "risk": [0, 1]})
    log.write_csv(tmp_path / "log.csv")
    examples.write_csv(tmp_path / "labels.csv")
    log.with_columns(timestamp=pl.col("timestamp").str.strip_chars("Z")).write_csv(tmp_path / "naive.csv")
    (tmp_path / "bad.toml").write_text("[training]\nepoch = 3\n")
    (tmp_path / "broken.toml").write_text("[training\n")
    (tmp_path / "empty").mkdir()
    return tmp_path


def run(capsys, arguments: str, files: Path) -> tuple[int, str, str]:
    words = [word.replace("{d}", str(files)) for word in arguments.split()]
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


FIT = "fit classify --events {d}/log.csv --examples {d}/labels.csv --out {d}/run"
CASES = [
    # misuse: 2
    ("nonsense", 2, "No such command 'nonsense'"),
    ("fit classify --evnts x", 2, "No such option: --evnts"),
    ("fit classify --events x", 2, "Missing option '--examples'"),
    ("check --events {d}/log.csv --split sideways", 2, "Invalid value for '--split': 'sideways' is not one of"),
    (FIT, 2, "No target is given"),
    (FIT + " --target risk --backbone lstn", 2, "There is no backbone 'lstn'; did you mean 'lstm'"),
    (FIT + " --target risk --config {d}/bad.toml", 2, "Unknown option 'epoch' in [training]; did you mean 'epochs'"),
    (FIT + " --target risk --config {d}/broken.toml", 2, "is not valid TOML or JSON"),
    (FIT + " --target risk --config {d}/none.toml", 2, "none.toml' cannot be read"),
    (FIT + " --target risk --epochs many", 2, "'many' was given. See:"),
    (FIT + " --target risk --test 0.99", 2, "leave nothing to train on"),
    (FIT.replace("{d}/run", "{d}/log.csv") + " --target risk", 2, "is a file; give a folder"),
    ("predict {d}/run --events {d}/log.csv --out {d}/scores.xlsx", 2, "end it in .parquet, .csv or .arrow"),
    ("check --events {d}/log.csv --target risk", 2, "give their table with --examples"),
    ("simulate installs --users 0 --out {d}/made", 2, "Invalid value for '--users'"),
    # failure: 1
    ("check --events {d}/nothing.parquet", 1, "nothing.parquet"),
    ("check --events {d}/naive.csv", 1, "--time-zone"),
    ("check --events {d}/log.csv --entity user", 1, "has no column 'user'; did you mean 'user_id'"),
    ("check --events {d}/log.csv --examples {d}/labels.csv --target rsik", 1, "did you mean 'risk'"),
    (FIT + " --target rsik", 1, "did you mean 'risk'"),
    ("evaluate {d}/empty --events {d}/log.csv --examples {d}/labels.csv", 1, "There is no saved model"),
    ("predict {d}/empty --events {d}/log.csv --out {d}/scores.parquet", 1, "There is no saved model"),
    ("report {d}/empty", 1, "has no metrics.json"),
]


@pytest.mark.parametrize(("arguments", "code", "sentence"), CASES, ids=[case[0][:60] for case in CASES])
def test_bad_input_gets_one_sentence(capsys, files, arguments, code, sentence):
    found, out, err = run(capsys, arguments, files)
    assert sentence in err
    assert (found, out) == (code, "")
    assert err.startswith("Error: ") and err.count("\n") == 1 and "Traceback" not in err


def test_a_command_alone_shows_its_help(capsys):
    assert main(["fit"]) == 2
    assert "classify" in "".join(capsys.readouterr())


def test_what_is_not_expected_is_one_sentence_that_says_how_to_see_more(capsys, files, monkeypatch):
    monkeypatch.setattr("habitus.data.events.read_events", lambda *_, **__: 1 / 0)
    code, _, err = run(capsys, "check --events {d}/log.csv", files)
    assert code == 1 and err.count("\n") == 1
    assert "ZeroDivisionError: division by zero" in err and "HABITUS_DEBUG=1" in err
    monkeypatch.setenv("HABITUS_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run(capsys, "check --events {d}/log.csv", files)


def test_a_missing_package_names_its_extra(capsys, files, monkeypatch):
    def absent(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("habitus.data.events.read_events", absent)
    code, _, err = run(capsys, "check --events {d}/log.csv", files)
    assert code == 1 and err.count("\n") == 1
    assert "needs the package 'torch', which is not installed" in err and "pip install 'habitus[train]'" in err


def test_ctrl_c_says_how_to_go_on(capsys, files, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("habitus.cli.fit.build_plan", stop)
    code, _, err = run(capsys, FIT, files)
    assert (code, err) == (130, "Stopped. Run the same command to start again.\n")
    (files / "run" / "checkpoint").mkdir(parents=True)
    assert "--resume" in run(capsys, FIT, files)[2]


def test_text_from_the_data_neither_moves_the_cursor_nor_is_read_as_markup(capsys, tmp_path):
    evil = "[red]\x1b[2J:smile:[/nonsense]"
    log = pl.DataFrame({"user_id": [evil] * 3, "timestamp": TIMES, "item": [evil] * 3})
    log.write_parquet(tmp_path / "log.parquet")
    assert main(["check", "--events", str(tmp_path / "log.parquet")]) == 0
    out = "".join(capsys.readouterr())
    assert "\x1b[2J" not in out and "[red]\\x1b[2J:smile:" in out


def test_a_reader_that_leaves_early_is_no_error(tmp_path):
    log = pl.DataFrame({"user_id": ["a"] * 3, "timestamp": TIMES, "item": ["x"] * 3})
    log.write_parquet(tmp_path / "log.parquet")
    script = "import sys, time; from habitus.cli import main; sys.stdin.read(); sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, "check", "--json", "--events", str(tmp_path / "log.parquet")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        process.stdout.close()  # before a byte is written
        process.stdin.close()
        assert process.stderr.read() == b""


def test_check_needs_no_torch(tmp_path):
    log = pl.DataFrame({"user_id": ["a"] * 3, "timestamp": TIMES, "item": ["x"] * 3})
    log.write_parquet(tmp_path / "log.parquet")
    script = "import sys; sys.modules['torch'] = None; from habitus.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, "check", "--json", "--events", str(tmp_path / "log.parquet")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert json.loads(done.stdout)["verdict"] == "Ready: 3 events of 1 entity."
