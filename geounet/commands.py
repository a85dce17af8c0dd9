"""What each command does: arguments become settings, settings become one call.

Every command is imported when it is called, and imports what it runs: see cli.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from cyclopts import Parameter

from geounet.errors import GeounetError, InputError, SettingsError
from geounet.learn.evaluate_settings import EvaluateSettings
from geounet.scene_options import SceneOptions
from geounet.settings import SegmentSettings
from geounet.small_file import is_file
from geounet.vector_settings import VectorSettings

if TYPE_CHECKING:
    from geounet.reporting import Reporter

Flat = Parameter(name="*")
Options = TypeVar("Options", bound=SceneOptions)
Bands = Annotated[tuple[str, ...], Parameter(help="band by name: blue=B02.jp2, nir=4, red=TEXT")]


@dataclass(frozen=True)
class Talk:
    """How much a command says, and how.

    Attributes:
        quiet: Say nothing but errors.
        debug: On an error, also print where in the program it happened.
        progress: A bar on a terminal, plain or JSON lines, or none.
    """

    quiet: bool = False
    debug: bool = False
    progress: Literal["auto", "plain", "json", "none"] = "auto"


Talking = Annotated[Talk, Flat]


def segment(
    *paths: Annotated[str, Parameter(help="SCENE... OUT: one or more scenes, then a new folder")],
    model: Annotated[str, Parameter(help="name of a shipped model, or a .safetensors file")],
    band: Bands = (),
    dry_run: Annotated[bool, Parameter(help="print tiles, memory and disk, and stop")] = False,
    settings: Annotated[SegmentSettings, Flat] = SegmentSettings(),
    talk: Talking = Talk(),
) -> None:
    """Map one or more scenes: mask.tif, polygons and report.json in OUT (OUT/SCENE for several)."""
    *scenes, out = checked_paths(paths, "SCENE... OUT")
    settings = with_bands(settings, band)
    if dry_run:
        _print_plans(scenes, model, settings)
    elif len(scenes) == 1:
        _segment_one(scenes[0], model, Path(out), settings, reporter_of(talk))
    else:
        from geounet.many_scenes import segment_many

        segment_many(scenes, model, Path(out), settings, reporter_of(talk), debug=talk.debug)


def vectorize(
    mask: Annotated[str, Parameter(help="class raster, made here or elsewhere")],
    out: Annotated[str, Parameter(help="file to write: .gpkg, .shp, .fgb … by its ending")],
    *,
    settings: Annotated[VectorSettings, Flat] = VectorSettings(),
    talk: Talking = Talk(),
) -> None:
    """Turn a class raster into polygons."""
    from geounet.vectorization import vectorize as run_vectorize

    count = run_vectorize(mask, Path(out), settings, reporter=reporter_of(talk))
    if not talk.quiet:
        print(f"{count} features in {out}")


def train(
    config: Annotated[str, Parameter(help="YAML file: data, classes, network, optimiser")],
    out: Annotated[str, Parameter(help="new folder for the model and its metrics")],
    *,
    data: Annotated[
        str | None, Parameter(help="folder of the data, over the config's root")
    ] = None,
    overwrite: Annotated[bool, Parameter(help="replace what the folder holds")] = False,
    resume: Annotated[bool, Parameter(help="go on with an interrupted training")] = False,
    talk: Talking = Talk(),
) -> None:
    """Train a model on labelled rasters."""
    if overwrite and resume:
        raise SettingsError("choose one: --overwrite starts anew, --resume goes on")
    from geounet.learn.train_settings import load_settings, naming
    from geounet.learn.training import train as run_train
    from geounet.learn.training_folder import refuse_own_config

    if overwrite:
        refuse_own_config(Path(config), Path(out))
    settings = load_settings(Path(config), Path(data) if data else None)
    with naming(Path(config)):
        run_train(
            settings, Path(out), reporter=reporter_of(talk), overwrite=overwrite, resume=resume
        )
    if not talk.quiet:
        print(f"{Path(out) / 'model.safetensors'}")


def evaluate(
    model: Annotated[str, Parameter(help="name of a shipped model, or a .safetensors file")],
    config: Annotated[str, Parameter(help="YAML file of a training: data, classes, split")],
    out: Annotated[str, Parameter(help="folder for evaluation.json, scenes.csv and pictures")],
    *,
    data: Annotated[
        str | None, Parameter(help="folder of the data, over the config's root")
    ] = None,
    settings: Annotated[EvaluateSettings, Flat] = EvaluateSettings(),
    talk: Talking = Talk(),
) -> None:
    """Score a model against labels, scene by scene and with intervals; a table on stdout."""
    from geounet.learn.evaluation import evaluate as run_evaluate
    from geounet.learn.train_settings import load_settings, naming
    from geounet.tables import print_scores

    training = load_settings(Path(config), Path(data) if data else None)
    with naming(Path(config)):
        found = run_evaluate(model, training, Path(out), settings, reporter_of(talk))
    if not talk.quiet:
        print_scores(found)


def list_models() -> None:
    """Each shipped model: its bands, what it maps, the licence of the data that it learnt from."""
    from textwrap import fill

    from geounet.model_file import load_card, shipped

    for name, path in shipped().items():
        card = load_card(path)
        size = path.stat().st_size / 1e6
        print(f"{name}  ({', '.join(card.bands)}; {size:.1f} MB)")
        for text in (card.summary, f"Licence of its data: {card.training_licence}"):
            print(fill(text, 78, initial_indent="    ", subsequent_indent="    "))


def show_models(
    model: Annotated[str, Parameter(help="name of a shipped model, or a .safetensors file")],
) -> None:
    """A model's card, as JSON: bands, classes, training data, licence, accuracy."""
    from geounet.model_file import load_model

    print(load_model(model).card.model_dump_json(indent=2))


def import_models(
    weights: Annotated[str, Parameter(help=".safetensors weights of a segmentation_models Unet")],
    card: Annotated[str, Parameter(help="YAML file: name, bands, mean, std, classes, licence")],
    out: Annotated[str, Parameter(help=".safetensors model to write")],
    *,
    overwrite: Annotated[bool, Parameter(help="replace the model if it is there")] = False,
) -> None:
    """Make a model from the weights of segmentation_models.pytorch's Unet over resnet18 or 34."""
    from geounet.torch_weights import import_weights

    found = import_weights(_file(weights), _file(card), Path(out), overwrite)
    print(f"{out}: {found.name}, {len(found.classes)} classes, reach {found.reach} pixels")


def inspect(
    scene: Annotated[str, Parameter(help="raster, product folder or scene.yaml")],
    *,
    band: Bands = (),
    options: Annotated[SceneOptions, Flat] = SceneOptions(),
    as_yaml: Annotated[bool, Parameter(name="--yaml", help="all of it, for programs")] = False,
    talk: Talking = Talk(),
) -> None:
    """What geounet sees in a scene: grid, bands, scaling, masks. No pixel is read."""
    import yaml

    from geounet.scene import open_scene
    from geounet.tables import print_scene

    found = open_scene(scene, with_bands(options, band))
    if as_yaml:
        print(yaml.safe_dump(found.describe(), sort_keys=False, allow_unicode=True), end="")
    else:
        print_scene(found)


def doctor() -> None:
    """Versions, devices and settings of this installation; exit code 1 if something is wrong."""
    from geounet.doctor import examine

    faults = 0
    for finding in examine():
        faults += not finding.good
        print(f"{'ok ' if finding.good else 'BAD'}  {finding.what:18} {finding.found}")
    if faults:
        raise GeounetError(f"{faults} of the checks above failed")


def demo(
    out: Annotated[str, Parameter(help="new folder for the results")] = "geounet-demo",
    *,
    overwrite: Annotated[bool, Parameter(help="replace what the folder holds")] = False,
    talk: Talking = Talk(),
) -> None:
    """Map water on a small Sentinel-2 scene that comes with geounet."""
    from geounet.pipelines.demo import demo as run_demo
    from geounet.tables import print_results

    results, notes = run_demo(Path(out), overwrite, reporter_of(talk))
    print_results(results)
    print("\n".join(notes))


def _segment_one(
    scene: str, model: str, out: Path, settings: SegmentSettings, reporter: Reporter
) -> None:
    from geounet.segmentation import segment as run_segment
    from geounet.tables import print_results_of

    print_results_of(lambda: run_segment(scene, model, out, settings, reporter))


def _print_plans(scenes: Sequence[str], model: str, settings: SegmentSettings) -> None:
    from geounet.preparation import prepare
    from geounet.tables import print_plan

    for scene in scenes:
        prepared = prepare(scene, model, settings)
        print(f"{prepared.fit.scene.name}")
        print_plan(prepared)


def _file(name: str) -> Path:
    if not is_file(name):
        raise InputError(f"{name}: no such file; check its name and folder")
    return Path(name)


def reporter_of(talk: Talk) -> Reporter:
    """Who is told of notes and progress."""
    from geounet.progress import make_reporter

    return make_reporter(talk.progress, talk.quiet)


def checked_paths(paths: tuple[str, ...], form: str, least: int = 2) -> tuple[str, ...]:
    """Inputs and the output.

    Raises:
        SettingsError: if there are fewer than ``least``, or one is empty.
    """
    if len(paths) < least:
        raise SettingsError(f"give {form}: inputs first, the output last")
    if not all(paths):
        raise SettingsError("a path is empty; is a variable of the shell not set?")
    return paths


def with_bands(options: Options, band: tuple[str, ...]) -> Options:
    """The options, with bands that ``--band`` names.

    Raises:
        SettingsError: if one is not written as name=source.
    """
    wrong = [text for text in band if "=" not in text]
    if wrong:
        raise SettingsError(f"--band {wrong[0]}: write it as name=source, as in blue=B02.jp2")
    return options.model_copy(update={"bands": dict(text.split("=", 1) for text in band)})
