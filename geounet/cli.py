"""The command line: which commands there are, and how each ends. What they do is in commands.py.

Commands are named here and imported when called, so that ``geounet --help`` answers at once: this
module loads cyclopts and nothing else.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from cyclopts import (
    App,
    Argument,
    CycloptsError,
    MissingArgumentError,
    Parameter,
    UnusedCliTokensError,
)

from geounet.errors import INTERRUPTED, GeounetError, SettingsError, explained
from geounet.locations import one_line, redacted
from geounet.streams import NobodyReads, guard

COMMANDS = {
    "segment": "Map one or more scenes: mask.tif, polygons and report.json in OUT.",
    "vectorize": "Turn a class raster into polygons.",
    "train": "Train a model on labelled rasters.",
    "evaluate": "Score a model against labels: IoU, F1, boundaries, calibration, with intervals.",
    "inspect": "What geounet sees in a scene: grid, bands, scaling, masks.",
    "doctor": "Versions, devices and settings of this installation.",
    "demo": "Map water on a small Sentinel-2 scene that comes with geounet.",
}
PIPELINES = {
    "flood": "Water before and after: what is newly flooded, what receded, by district.",
    "deforestation": "Forest on two dates or more: loss, gain, and alerts.",
    "landcover": "Many scenes as one: a mosaic, with one class a pixel where they overlap.",
}
ASSESS = {
    "design": "Draw a probability sample of a map's pixels, to interpret.",
    "estimate": "Accuracy and error-adjusted areas with 95 % intervals, from interpreted points.",
}
MODELS = {
    "list": "The models that come with geounet, and the licences of their data.",
    "show": "A model's card: bands, classes, training data, licence, accuracy.",
    "import": "Make a model from segmentation_models.pytorch weights.",
}


def _make_app() -> App:
    plain = Parameter(negative=(), show_default=False)
    app = App(
        name="geounet",
        help="Satellite scenes to seamless land-cover maps and polygons.",
        version="0.1.0",
        default_parameter=plain,
        suppress_keyboard_interrupt=False,
    )
    for name, summary in COMMANDS.items():
        app.command(f"geounet.commands:{name}", name=name, help=summary)
    for name, summary in PIPELINES.items():
        app.command(f"geounet.pipeline_commands:{name}", name=name, help=summary)
    models = App(
        name="models", help="Models: those that come with geounet, their cards, and imported ones."
    )
    for name, summary in MODELS.items():
        models.command(f"geounet.commands:{name}_models", name=name, help=summary)
    app.command(models)
    assess = App(name="assess", help="Accuracy and areas of a map, from a sample of points.")
    for name, summary in ASSESS.items():
        assess.command(f"geounet.assess_commands:{name}", name=name, help=summary)
    app.command(assess)
    return app


app = _make_app()


def main() -> None:
    """Run the command; end with the exit code that design and README promise."""
    guard()
    _pass_over_empty_places()
    sys.exit(run(sys.argv[1:]))


def _pass_over_empty_places() -> None:
    """Where PROJ is sent to a folder without its database, CRSs lose their numbers silently."""
    for name in ("PROJ_DATA", "PROJ_LIB"):
        places = os.environ.get(name, "").split(os.pathsep)
        if any(places) and not any(Path(place, "proj.db").is_file() for place in places):
            print(
                f"note: {name} is {places[0]}, which has no proj.db; passed over", file=sys.stderr
            )
            del os.environ[name]


def run(tokens: list[str]) -> int:
    """Run one command line; returns its exit code.

    0 done · 1 a bug · 2 usage or settings · 3 bad input · 4 some inputs failed, the rest done ·
    5 output problem · 6 model problem, or model and scene don't fit · 130 interrupt ·
    143 terminated.
    """
    try:
        app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return 0
    except CycloptsError as error:
        return _fail(_usage(error), SettingsError.exit_code, tokens)
    except GeounetError as error:
        return _fail(str(error), error.exit_code, tokens)
    except KeyboardInterrupt:
        return _fail(INTERRUPTED, 130, tokens)
    except NobodyReads:
        return 0
    except Exception as error:
        fault = _settings_fault(error)
        if fault:
            return _fail(fault, SettingsError.exit_code, tokens)
        failure = explained(error)
        return _fail(str(failure), failure.exit_code, tokens)


def _usage(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError):
        more = " ".join(error.unused_tokens or [])
        return f"{more}: more than this command takes; `geounet COMMAND --help` shows what it does"
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        return _missing(error, error.argument)
    return _settings_fault(error) or f"{' '.join(str(error).split())} See `geounet --help`."


def _missing(error: MissingArgumentError, argument: Argument) -> str:
    """In the words of the command's help: a place in capitals, or a flag."""
    command = " ".join(["geounet", *(error.command_chain or ())])
    placed = argument.field_info.kind is not argument.field_info.KEYWORD_ONLY
    name = argument.name.removeprefix("--").upper() if placed else f"{argument.name} with its value"
    return f"{name} is missing; `{command} --help` shows what it takes"


def _settings_fault(error: BaseException) -> str:
    """The first fault that pydantic found in settings, anywhere in the chain of causes."""
    from pydantic import ValidationError

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ValidationError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return ""
    fault = cause.errors(include_url=False)[0]
    # The one setting that is given once for each of its values.
    names = {"formats": "format"}
    parts = [names.get(str(part), str(part)) for part in fault["loc"][:1]]
    flag = "".join(f"--{part}: ".replace("_", "-") for part in parts)
    return flag + fault["msg"].removeprefix("Value error, ")


def _fail(message: str, exit_code: int, tokens: list[str]) -> int:
    if "--debug" in tokens:
        print(redacted(traceback.format_exc()), file=sys.stderr, end="")
    print(f"geounet: {one_line(message)}", file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    main()
