"""The program `habitus`: its commands, and `main`, which turns every failure into one sentence and an exit code.

Exit codes: 0 done, 1 failed, 2 misused (a wrong option, a wrong config), 130 stopped by Ctrl-C. No traceback is
shown unless HABITUS_DEBUG=1 asks for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from habitus import __version__
from habitus.cli.answer import compare_answer, fit_answer
from habitus.cli.check import check
from habitus.cli.embed import compare_embed, embed, fit_embed
from habitus.cli.evaluate import evaluate, predict, report
from habitus.cli.fit import compare_classify, fit_classify
from habitus.cli.forecast import compare_forecast, fit_forecast
from habitus.cli.generate import compare_generate, fit_generate
from habitus.cli.help import Command, Group
from habitus.cli.next_event import compare_next_event, fit_next_event, recommend
from habitus.cli.output import fail, note
from habitus.cli.pretrain import pretrain
from habitus.cli.regress import compare_regress, fit_regress
from habitus.cli.search import duplicates, search
from habitus.cli.simulate import demo, simulate_installs
from habitus.cli.spark import spark_predict, spark_prepare
from habitus.cli.spark_fit import spark_fit_classify, spark_fit_regress
from habitus.cli.spark_stream import spark_stream
from habitus.cli.tag import compare_tag, fit_tag
from habitus.cli.transcribe import compare_transcribe, fit_transcribe
from habitus.cli.tune import tuning
from habitus.errors import ConfigError, HabitusError

STOPPED = 130
_EXTRAS = {
    "torch": "train", "accelerate": "train", "sklearn": "train", "tensorboard": "train",
    "lightgbm": "baselines", "scipy": "baselines", "optuna": "tune", "matplotlib": "report", "jinja2": "report",
}  # fmt: skip

_PLAIN: dict[str, Any] = {"cls": Group, "no_args_is_help": True, "rich_markup_mode": None}
app = typer.Typer(name="habitus", add_completion=False, **_PLAIN)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"habitus {__version__}")
        raise typer.Exit


@app.callback()
def habitus(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Turn logs of what people do into predictions.

    Results go to standard output, progress and notes to standard error. Exit codes: 0 done, 1 failed, 2 misused.

    Example:

        habitus demo --out runs/demo
    """


def _group(name: str, summary: str) -> typer.Typer:
    group = typer.Typer(name=name, help=summary, **_PLAIN)
    app.add_typer(group)
    return group


_fit = _group(
    "fit",
    "Train a model and judge it.\n\nExample:\n\n    "
    "habitus fit classify --events installs.parquet --examples labels.parquet --target risk --out runs/risk",
)
_fit.command("classify", cls=Command)(fit_classify)
_fit.command("regress", cls=Command)(fit_regress)
_fit.command("next-event", cls=Command)(fit_next_event)
_fit.command("generate", cls=Command)(fit_generate)
_fit.command("tag", cls=Command)(fit_tag)
_fit.command("embed", cls=Command)(fit_embed)
_fit.command("answer", cls=Command)(fit_answer)
_fit.command("transcribe", cls=Command)(fit_transcribe)
_fit.command("forecast", cls=Command)(fit_forecast)
app.command("pretrain", cls=Command)(pretrain)
app.command("evaluate", cls=Command)(evaluate)
_compare = _group(
    "compare",
    "Train several models on the same rows.\n\nExample:\n\n    "
    "habitus compare classify --events installs.parquet --examples labels.parquet --target risk --out runs/compare",
)
_compare.command("classify", cls=Command)(compare_classify)
_compare.command("regress", cls=Command)(compare_regress)
_compare.command("next-event", cls=Command)(compare_next_event)
_compare.command("generate", cls=Command)(compare_generate)
_compare.command("tag", cls=Command)(compare_tag)
_compare.command("embed", cls=Command)(compare_embed)
_compare.command("answer", cls=Command)(compare_answer)
_compare.command("transcribe", cls=Command)(compare_transcribe)
_compare.command("forecast", cls=Command)(compare_forecast)
_tune = _group(
    "tune",
    "Search hyper-parameters; needs habitus[tune].\n\nExample:\n\n    "
    "habitus tune classify --events installs.parquet --examples labels.parquet --target risk --trials 30 "
    "--out runs/tuned",
)
_TUNED = {
    "classify": fit_classify, "regress": fit_regress, "next-event": fit_next_event, "generate": fit_generate,
    "tag": fit_tag, "embed": fit_embed, "answer": fit_answer, "transcribe": fit_transcribe, "forecast": fit_forecast,
}  # fmt: skip
for _name, _command in _TUNED.items():
    _tune.command(_name, cls=Command)(tuning(_name, _command))
app.command("predict", cls=Command)(predict)
app.command("recommend", cls=Command)(recommend)
app.command("embed", cls=Command)(embed)
app.command("search", cls=Command)(search)
app.command("duplicates", cls=Command)(duplicates)
app.command("check", cls=Command)(check)
app.command("report", cls=Command)(report)
_simulate = _group(
    "simulate",
    "Make data with a known truth.\n\nExample:\n\n    habitus simulate installs --users 2000 --out data/installs",
)
_simulate.command("installs", cls=Command)(simulate_installs)
app.command("demo", cls=Command)(demo)
_spark = _group(
    "spark",
    "Do it on Apache Spark, where the data lives; needs habitus[spark] and Java 17.\n\nExample:\n\n    "
    "habitus spark predict runs/risk --events events --examples users --out scores --master local[2]",
)
_spark.command("prepare", cls=Command)(spark_prepare)
_spark.command("predict", cls=Command)(spark_predict)
_spark.command("stream", cls=Command)(spark_stream)
_spark_fit = typer.Typer(
    name="fit",
    help="Train on a cluster.\n\nExample:\n\n    "
    "habitus spark fit classify --events log --examples labels --target risk --out runs/risk --master local[2]",
    **_PLAIN,
)
_spark.add_typer(_spark_fit)
_spark_fit.command("classify", cls=Command)(spark_fit_classify)
_spark_fit.command("regress", cls=Command)(spark_fit_regress)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code.

    Args:
        arguments: of the command line, without the program's name; None takes `sys.argv`.

    >>> main(["--version"])
    habitus 0.1.0
    0
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(given)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader (`| head`) has left; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (SystemExit, GeneratorExit):
        raise
    except KeyboardInterrupt:
        return _stopped(given)
    except BaseException as error:  # a panic of Polars is no Exception
        if os.environ.get("HABITUS_DEBUG") == "1":
            raise
        return _failed(error)


def _run(given: list[str]) -> int:
    command: Any = typer.main.get_command(app)
    code = command.main(args=given, prog_name="habitus", standalone_mode=False, obj=given)
    if code == STOPPED:  # typer makes this of Ctrl-C
        return _stopped(given)
    return code if isinstance(code, int) else 0


def _failed(error: BaseException) -> int:
    """Say in a sentence what went wrong; return the exit code."""
    if isinstance(error, HabitusError):
        fail(str(error))
        return 2 if isinstance(error, ConfigError) else 1
    if hasattr(error, "format_message"):  # an error of usage; typer carries its own copy of click's classes
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())
            return 2
        fail(_usage(error))
        return int(getattr(error, "exit_code", 2))
    missing = (getattr(error, "name", None) or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and missing in _EXTRAS:
        fail(
            f"This needs the package '{missing}', which is not installed. "
            f"Install it with: pip install 'habitus[{_EXTRAS[missing]}]'"
        )
    elif isinstance(error, MemoryError):
        fail("There is not enough memory for this; use a smaller log, a smaller max_length or a larger machine.")
    else:
        said = str(error).strip().partition("\n")[0] or "without a word"
        fail(
            f"Something unexpected happened ({type(error).__name__}: {said[:300]}). HABITUS_DEBUG=1 before the command "
            "shows where; please report it with what that prints."
        )
    return 1


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "habitus"
    message = str(error.format_message()).strip().replace(": Value error, ", ": ")
    found = error.__cause__.errors() if hasattr(error.__cause__, "errors") else []  # typer asks pydantic
    if found and repr(found[0]["input"]) not in message:
        message = f"{message}; {found[0]['input']!r} was given"
    return f"{message}{'' if message.endswith(('.', '?', ')')) else '.'} See: {path} --help"


def _stopped(given: Sequence[str]) -> int:
    """Say how to go on after Ctrl-C."""
    again = "Stopped. Run the same command to start again."
    if given[:1] == ["fit"] and "--out" in given[:-1]:
        folder = Path(given[given.index("--out") + 1])
        if (folder / "checkpoint").is_dir():
            again = f"Stopped; the checkpoint in '{folder}' is whole. Go on with the same command and --resume."
    note(again, style="red")
    return STOPPED
