"""What ``geounet segment`` says of several scenes: each result, each failure, and the exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from traceback import format_exception

from geounet.errors import GeounetError, PartialError, SettingsError
from geounet.locations import one_line, redacted, shown
from geounet.outputs import MapWithHolesError
from geounet.reporting import Reporter
from geounet.segmentation import segment_all
from geounet.settings import SegmentSettings
from geounet.tables import print_results


def segment_many(
    scenes: Sequence[str],
    model: str,
    out: Path,
    settings: SegmentSettings,
    reporter: Reporter,
    *,
    debug: bool,
) -> None:
    """Map scenes into ``out``/SCENE; with ``debug`` also print where each failure happened.

    Raises:
        GeounetError: after the last scene, if any failed.
    """
    if settings.bands:
        raise SettingsError("--band names the files of one scene; give one SCENE, or a scene.yaml")
    failed: list[GeounetError] = []
    for name, outcome in segment_all(scenes, model, out, settings, reporter):
        if isinstance(outcome, MapWithHolesError):
            print_results(outcome.results)
        if isinstance(outcome, GeounetError):
            failed.append(outcome)
            _tell(name, outcome, debug)
        else:
            print_results(outcome)
    if failed:
        raise _failure_of(failed, len(scenes))


def _tell(scene: str, error: GeounetError, debug: bool) -> None:
    """Say why one scene of several failed; that of the command itself is cli.py's to say."""
    if debug:
        print(redacted("".join(format_exception(error))), file=sys.stderr, end="")
    told, name = one_line(str(error)), one_line(shown(scene))
    print(f"geounet: {told}" if name in told else f"geounet: {name}: {told}", file=sys.stderr)


def _failure_of(failed: Sequence[GeounetError], count: int) -> GeounetError:
    """The exit code is that of all scenes if all failed alike, else that of a part."""
    codes = {error.exit_code for error in failed}
    if len(failed) < count or len(codes) > 1:
        return PartialError(f"{len(failed)} of {count} scenes failed, see above")
    error = GeounetError(f"all {count} scenes failed, see above")
    error.exit_code = codes.pop()
    return error
