"""The ``purifier`` command."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from purifier.classifiers.classifier import DEFAULT, SURROGATE, default_device, find_device
from purifier.cli.pictures import add_picture_commands
from purifier.defences import FAMILIES, OURS
from purifier.evaluation.attackers import KINDS, examples
from purifier.evaluation.settings import BATCH, EPS, OF_OTHERS, TRIALS, Detection, Grid
from purifier.runs import MAX_SEED
from purifier.training.recipes import read_recipe, recipe_names

FOLDERS = {"--data": "ISIC2019", "--out": "DIR"}  # options, and what stands for their folders in a command that is kept
STOPPED = 130  # exit code after Ctrl-C, as shells have it
ALARM_PICTURES = 400  # that an alarm is calibrated on
# What each number may be, in the unit in which it is given; None: anything above.
LIMITS: dict[str, tuple[float, float | None]] = {
    "epsilon": (1, 255), "sigma": (0, 255), "weight": (0, 1),
    "steps": (1, None), "crop_steps": (1, None), "blocks": (1, None), "draws": (1, None), "trials": (1, None),
    "limit": (1, None), "batch": (1, None), "rate": (0, 1), "minutes": (0, None),
    "guidance": (1, None), "kept": (1, None), "first": (1, None), "threads": (1, None),
    "seed": (0, MAX_SEED), "attack_seed": (0, MAX_SEED), "noise_seed": (0, MAX_SEED),
}  # fmt: skip
EXTRAS = {"ray": "ray", "transformers": "transformers", "pydicom": "dicom"}  # of the package, by what is missing


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 for success, 1 where some pictures could not be read, 2 for input that cannot be used, 130 after
    Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that the console cannot show must not end the run
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    options.arguments = arguments
    try:
        _check_numbers(options)
        if hasattr(options, "device"):
            find_device(options.device)
        return options.run(options) or 0
    except KeyboardInterrupt:
        print("\npurifier: stopped. Commands with --out or --work go on from here.", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:  # who read the output has left, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(error.name, "train")
        print(f"purifier: {error}. Install what this command needs: the package's extra {extra!r}.", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(f"purifier: {error}", file=sys.stderr)
        return 2


def _check_numbers(options: argparse.Namespace) -> None:
    """Raise ``ValueError`` for a number out of ``LIMITS``."""
    for name, (low, high) in LIMITS.items():
        given = getattr(options, name, None)
        for value in given if isinstance(given, (list, tuple)) else [given]:
            if value is not None and not low <= value <= (float("inf") if high is None else high):
                limits = f"at least {low}" if high is None else f"from {low} to {high}"
                unit = ", in 1/255" if name in ("epsilon", "sigma") else ""
                raise ValueError(f"--{name.replace('_', '-')} must be {limits}{unit}, and is {value:.15g}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="purifier", description="Research and teaching; not a medical device.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_picture_commands(commands, _device_option)

    serve = commands.add_parser("serve", help="serve the page; GRADIO_SERVER_NAME and GRADIO_SERVER_PORT say where")
    serve.set_defaults(run=_serve)

    evaluate = commands.add_parser("evaluate", help="attacks against defences on labelled pictures: table and plots")
    _data_options(evaluate, split="test")
    evaluate.add_argument("--attacks", nargs="+", default=Grid.attacks, metavar="ATTACK", help=_kinds())
    evaluate.add_argument("--eps", nargs="+", type=float, default=EPS, help="in 1/255 (default 2 8)")
    evaluate.add_argument(
        "--defences",
        nargs="+",
        default=Grid.defences,
        metavar="DEFENCE",
        help=f"none, mdda, {', '.join((*FAMILIES, *OF_OTHERS))}, with a number of your own or the tuned one",
    )
    evaluate.add_argument(
        "--draws", type=int, default=Grid.draws, help="of a random defence's noise (default %(default)s)"
    )
    _batch_option(evaluate)
    evaluate.add_argument("--surrogate", default=SURROGATE, help="the classifier that attacks are transferred from")
    evaluate.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="ray: on a cluster, whose machines take their GPUs"
    )
    evaluate.add_argument("--address", help="of the Ray cluster (default: one on this machine)")
    evaluate.add_argument("--out", type=Path, required=True, help="folder for the results; a stopped run goes on there")
    evaluate.set_defaults(run=_evaluate)

    detect = commands.add_parser("detect", help="how well the alarm tells attacked from clean pictures: table")
    _data_options(detect, split="test")
    detect.add_argument("--attacks", nargs="+", default=Detection.attacks, metavar="ATTACK", help=_kinds())
    detect.add_argument("--eps", nargs="+", type=float, default=EPS, help="in 1/255 (default 2 8)")
    detect.add_argument("--defence", default=Detection.defences[0], help="the alarm's purifier (default %(default)s)")
    detect.add_argument(
        "--draws", type=int, default=Detection.draws, help="of its noise, whose mean is read (default %(default)s)"
    )
    _batch_option(detect)
    detect.add_argument("--surrogate", default=SURROGATE, help="the classifier that attacks are transferred from")
    detect.add_argument("--out", type=Path, required=True, help="folder for the results; a stopped run goes on there")
    detect.set_defaults(run=_detect)

    alarm = commands.add_parser(
        "alarm", help="calibrate a classifier's alarm on clean pictures, for the default purifier: into its config.json"
    )
    _data_options(alarm, split="val")
    alarm.set_defaults(run=_alarm, limit=ALARM_PICTURES)

    tune = commands.add_parser("tune", help="choose the settings of MDDA and its peers by one rule")
    _data_options(tune, split="val")
    tune.add_argument("--defences", nargs="+", default=[*list(OURS)[1:], *FAMILIES], metavar="DEFENCE")
    tune.add_argument("--eps", nargs="+", type=float, default=EPS, help="in 1/255 (default 2 8)")
    tune.add_argument("--trials", type=int, default=TRIALS, help="at most, of each defence (default %(default)s)")
    tune.add_argument("--out", type=Path, required=True, help="folder for the results; a stopped run goes on there")
    tune.add_argument(
        "--no-sensitivity", action="store_true", help="leave out what each setting of MDDA does beside the best"
    )
    tune.set_defaults(run=_tune)

    mix = commands.add_parser("mix", help="make one classifier of an accurate and a robust one, with no training")
    mix.add_argument("--accurate", default=DEFAULT, help="name of a classifier, as for --classifier elsewhere")
    mix.add_argument("--robust", default="robust", help="the same")
    _data_options(mix, split="val", classifier=False)
    mix.add_argument("--eps", type=float, default=EPS[0], help="of the attack, in 1/255 (default %(default)g)")
    mix.add_argument("--out", type=Path, required=True, help="folder for the classifier; a stopped run goes on there")
    mix.set_defaults(run=_mix)

    train = commands.add_parser("train", help="what made the bundled weights").add_subparsers(
        required=True, metavar="WHAT"
    )
    for name, run, what in (
        ("classifier", _train_classifier, "train a classifier by its recipe"),
        ("denoiser", _train_denoiser, "train a denoiser of dermoscopy"),
        ("generator", _train_generator, "train the generator of example pictures"),
        ("super-resolution", _train_super_resolution, "train what draws its pictures at 256 pixels"),
    ):
        command = train.add_parser(name, help=what)
        if name == "classifier":
            command.add_argument("recipe", help=f"{', '.join(recipe_names())}, or a .toml file of your own")
        _device_option(command)
        command.add_argument("--data", type=Path, required=True, help="folder in ISIC 2019's layout")
        if name in ("classifier", "generator"):
            command.add_argument(
                "--thumbnails", type=Path, help="the same, small, with BCN20000's pictures, which are added"
            )
        command.add_argument(
            "--work", type=Path, required=True, help="checkpoints, log and weights; resumes from there"
        )
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--limit", type=int, help="use so many pictures, for a trial")
        command.add_argument("--threads", type=int, help="of torch")
        command.set_defaults(run=run)
        if name in ("generator", "super-resolution"):
            steps, batch, rate = (4000, 32, 4e-4) if name == "generator" else (50_000, 16, 1e-3)
            command.add_argument("--steps", type=int, default=steps, help="(default %(default)s)")
            command.add_argument("--minutes", type=float, help="stop after so many, if the steps take longer")
            command.add_argument("--batch", type=int, default=batch, help="pictures a step (default %(default)s)")
            command.add_argument("--rate", type=float, default=rate, help="of learning (default %(default)s)")
        if name == "denoiser":
            command.add_argument("--crop-steps", type=int, default=16_000, help="on crops (default %(default)s)")
            command.add_argument("--steps", type=int, default=2800, help="on whole pictures (default %(default)s)")
            command.add_argument(
                "--readers",
                nargs="+",
                default=["imagenet0", "imagenet1"],
                metavar="READER",
                help="classifiers whose readings are to stay, and imagenet0 to imagenet2 (EfficientNet-Lite), whose "
                "features are; by turns, one named twice having two (default imagenet0 imagenet1)",
            )

    card = commands.add_parser("card", help="write a bundled classifier's model card from its measurements")
    card.add_argument("--classifier", default=DEFAULT)
    card.add_argument("--data", type=Path, required=True, help="folder in ISIC 2019's layout")
    card.add_argument("--weights", type=Path, help="a folder that training wrote, to be bundled first")
    card.add_argument("--per-class", type=int, default=12, help="attack so many test pictures of each diagnosis")
    card.set_defaults(run=_card)

    results = commands.add_parser(
        "results", help="the bundled classifiers, and defences against attackers, from what was measured and stored"
    )
    results.add_argument(
        "--docs", type=Path, help="write docs/robustness.md there; plots, a CSV and strength.md beside it"
    )
    results.set_defaults(run=_results)

    examples = commands.add_parser("examples", help="draw the example pictures from trained generators")
    _add_drawing(examples)
    examples.add_argument("--out", type=Path, required=True, help="folder for the pictures and SOURCES.md")
    examples.add_argument(
        "--origins",
        nargs="+",
        metavar="ORIGIN",
        help="HAM10000 (default), MSK, BCN20000, 'HAM10000 framed' and so on, which take turns",
    )
    examples.add_argument("--guidance", type=float, help="above 1 the diagnosis is exaggerated")
    examples.add_argument("--kept", type=int, help="pictures of each diagnosis")
    examples.add_argument("--first", type=int, help="number of the first one, after those of another choice")
    examples.add_argument(
        "--neighbours",
        type=Path,
        metavar="FILE",
        help="also a picture of those kept above the nearest training pictures, which must not be passed on",
    )
    examples.set_defaults(run=_examples)

    quality = commands.add_parser("quality", help="measure how good the generators' pictures are")
    _add_drawing(quality)
    quality.add_argument("--out", type=Path, required=True, help="folder for the results; a stopped run goes on there")
    quality.add_argument(
        "--beside", nargs="+", type=Path, metavar="FOLDER", help="pictures named as the examples are (default: these)"
    )
    quality.set_defaults(run=_quality)

    publish = commands.add_parser("publish", help="upload a classifier with its model card to the Hugging Face Hub")
    publish.add_argument("name", metavar="NAME", help="bundled name or local-dir:PATH")
    publish.add_argument("repository", metavar="OWNER/REPO", help="is created where there is none")
    publish.add_argument("--private", action="store_true", help="create the repository as a private one")
    publish.add_argument("--revision", metavar="BRANCH", help="is created where there is none (default: main)")
    publish.set_defaults(run=_publish)
    return parser


def _add_drawing(command: argparse.ArgumentParser) -> None:
    """The options of what draws with the diffusion models; ``_drawing`` reads them."""
    command.add_argument("--data", type=Path, required=True, help="what the models were trained on, ISIC 2019")
    command.add_argument("--thumbnails", type=Path, required=True, help="the same, small, with BCN20000's pictures")
    command.add_argument("--seed", type=int, default=0)
    for name in ("generator", "super-resolution"):
        command.add_argument(
            f"--{name}", help="folder of its weights, or hf-hub:OWNER/NAME (default: the bundled ones)"
        )


def _serve(options: argparse.Namespace) -> None:
    from purifier.ui import folder

    folder.prepare()  # before Gradio is imported
    from purifier.ui.page import LAUNCH, build_page
    from purifier.ui.serving import serve

    serve(build_page, **LAUNCH)


def _data_options(command: argparse.ArgumentParser, split: str, classifier: bool = True) -> None:
    command.add_argument(
        "--data", type=Path, required=True, help="folder in ISIC 2019's layout, or with a folder for each diagnosis"
    )
    if classifier:
        command.add_argument(
            "--classifier", default=DEFAULT, help="bundled name, local-dir:PATH or hf-hub:OWNER/NAME@REVISION"
        )
    _device_option(command)
    command.add_argument(
        "--split",
        choices=("train", "val", "test", "all"),
        default=split,
        help="of ISIC 2019, by lesion; of a folder for each diagnosis train and val are what the bundled classifiers "
        "were trained and tuned on, test is the rest, and all leaves out train (default %(default)s)",
    )
    count = command.add_mutually_exclusive_group()
    count.add_argument("--limit", type=int, help="use so many pictures, drawn at random (default: all)")
    count.add_argument("--per-class", type=int, help="use so many pictures of each diagnosis, or what there is of it")
    command.add_argument("--seed", type=int, default=0)


def _batch_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--batch", type=int, default=BATCH, help="pictures at a time (default %(default)s)")


def _device_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", default=str(default_device()), help="of torch (default %(default)s)")


def _kinds() -> str:
    aware = ", ".join(kind for kind, usual in KINDS.items() if usual.adaptive)
    return (
        f"{', '.join(examples())}; numbers are steps or queries, and after x samples of the defence's noise. These "
        f"know the defence: {aware}"
    )


def _samples(options: argparse.Namespace) -> tuple[list, dict[str, list[str]]]:
    """The pictures to measure on, and those that the split leaves out by what they are; what matters of it is said."""
    from purifier.evaluation.datasets import read_split, seen_in_making
    from purifier.evaluation.evaluate import choose, choose_up_to

    found, left_out = read_split(options.data, options.split)
    if options.per_class is not None:
        found = choose_up_to(found, options.per_class, options.seed)
    else:
        found = choose(found, options.limit, options.seed)
    for what, names in left_out.items():
        print(f"Left out, as {what}: {len(names)}.", file=sys.stderr)
    for what, count in seen_in_making(found).items():
        print(f"Not held out, as {what}: {count} of {len(found)}.", file=sys.stderr)
    return found, left_out


def _evaluate(options: argparse.Namespace) -> None:
    import torch

    from purifier.evaluation.grid import in_turn, run
    from purifier.files import write_atomically
    from purifier.results.summary import write_summary

    grid = Grid(
        classifier=options.classifier,
        attacks=tuple(options.attacks),
        eps=tuple(options.eps),
        defences=tuple(options.defences),
        draws=options.draws,
        seed=options.seed,
        batch=options.batch,
        surrogate=options.surrogate,
    )
    engine, device = in_turn, torch.device(options.device)
    if options.engine == "ray":
        from purifier.evaluation.cluster import on_ray

        engine, device = on_ray(options.address), None
    elif options.address is not None:
        raise ValueError("--address is that of a Ray cluster, and needs --engine ray.")
    samples, left_out = _samples(options)
    rows = run(grid, samples, options.out, device=device, engine=engine)
    write_atomically(options.out / "left_out.json", json.dumps(left_out, indent=2).encode())
    _keep_command(options)
    write_summary(rows, options.out)
    print((options.out / "table.md").read_text(encoding="utf-8"))
    skipped = json.loads((options.out / "skipped.json").read_text(encoding="utf-8"))
    for image, why in skipped.items():
        print(f"Skipped: {image}: {why}", file=sys.stderr)


def _detect(options: argparse.Namespace) -> None:
    import torch

    from purifier.evaluation.detection import detect
    from purifier.results.detection import write_detection

    detection = Detection(
        classifier=options.classifier,
        attacks=tuple(options.attacks),
        eps=tuple(options.eps),
        defences=(options.defence,),
        draws=options.draws,
        seed=options.seed,
        batch=options.batch,
        surrogate=options.surrogate,
    )
    samples, _ = _samples(options)
    rows = detect(detection, samples, options.out, device=torch.device(options.device))
    _keep_command(options)
    write_detection(rows, options.out)
    print((options.out / "table.md").read_text(encoding="utf-8"))


def _alarm(options: argparse.Namespace) -> None:
    from purifier.classifiers.classifier import folder_of
    from purifier.training.calibrate import calibrate_alarm

    samples, _ = _samples(options)
    made = calibrate_alarm(folder_of(options.classifier), samples, seed=options.seed, device=options.device)
    print(f"{options.classifier}: calibrated on {len(made.scores)} clean pictures.")


def _keep_command(options: argparse.Namespace) -> None:
    """Write the command, without the folders of data and results, beside these."""
    typed = ["purifier"]
    for argument in options.arguments:
        flag, equals, _ = argument.partition("=")
        if flag in FOLDERS and equals:
            typed.append(f"{flag}={FOLDERS[flag]}")
        else:
            typed.append(FOLDERS.get(typed[-1], argument))
    (options.out / "command.txt").write_text(f"{shlex.join(typed)}\n", encoding="utf-8")


def _tune(options: argparse.Namespace) -> None:
    from purifier.classifiers.classifier import load_classifier
    from purifier.evaluation.tune import tune

    classifier = load_classifier(options.classifier, device=options.device)
    samples, _ = _samples(options)
    best = tune(
        classifier,
        samples,
        options.out,
        defences=options.defences,
        eps=options.eps,
        trials=options.trials,
        seed=options.seed,
        sensitivity=not options.no_sensitivity,
    )
    _keep_command(options)
    print(json.dumps(best, indent=2))


def _mix(options: argparse.Namespace) -> None:
    from purifier.evaluation.settings import check_eps
    from purifier.training.mix import mix, table

    check_eps([options.eps])
    samples, _ = _samples(options)
    settings = dict(eps=options.eps, seed=options.seed, device=options.device)
    print(table(mix(options.accurate, options.robust, samples, options.out, **settings)))
    _keep_command(options)


def _train_classifier(options: argparse.Namespace) -> None:
    from purifier.training import classifier

    train = partial(classifier.train, read_recipe(options.recipe))
    _train(train, options, thumbnails=options.thumbnails)


def _train_denoiser(options: argparse.Namespace) -> None:
    from purifier.training import denoiser

    steps = dict(crop_steps=options.crop_steps, steps=options.steps)
    _train(denoiser.train, options, readers=options.readers, **steps)


def _train_generator(options: argparse.Namespace) -> None:
    from purifier.training import generator

    _train(generator.train, options, thumbnails=options.thumbnails, **_of_diffusion(options))


def _train_super_resolution(options: argparse.Namespace) -> None:
    from purifier.training import super_resolution

    _train(super_resolution.train, options, **_of_diffusion(options))


def _of_diffusion(options: argparse.Namespace) -> dict:
    """The options that the trainings of diffusion models share."""
    return dict(steps=options.steps, minutes=options.minutes, batch=options.batch, rate=options.rate)


def _train(train: Callable[..., None], options: argparse.Namespace, **more: object) -> None:
    """Call a training with the options that all have, and ``more``."""
    import torch

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    train(options.data, options.work, seed=options.seed, limit=options.limit, device=options.device, **more)


def _card(options: argparse.Namespace) -> None:
    from purifier.training.card import write_card

    write_card(options.classifier, options.data, options.per_class, options.weights)


def _results(options: argparse.Namespace) -> None:
    from purifier.results.page import write_robustness_page
    from purifier.results.record import pooled, read_evaluations
    from purifier.results.strength import write_strength_page
    from purifier.results.tables import accuracy_table, markdown, overview
    from purifier.training.card import report

    if options.docs is not None:
        write_robustness_page(options.docs)
        write_strength_page(options.docs.with_name("strength.md"))
        return
    print(report())
    print(f"\n{markdown(overview(pooled(read_evaluations().values())))}")
    for name, records in read_evaluations().items():
        print(f"\n{name}\n\n{accuracy_table(records)}")


def _examples(options: argparse.Namespace) -> None:
    from purifier.training.examples import write_examples

    given = _given(options, "origins", "guidance", "kept", "first", "neighbours")
    write_examples(options.data, options.out, **given, **_drawing(options))


def _quality(options: argparse.Namespace) -> None:
    from purifier.training.quality import measure_quality

    found = measure_quality(options.data, options.out, **_given(options, "beside"), **_drawing(options))
    print(json.dumps(found, indent=2))


def _drawing(options: argparse.Namespace) -> dict:
    return _given(options, "thumbnails", "seed", "generator", "super_resolution")


def _given(options: argparse.Namespace, *names: str) -> dict:
    """The options that have a value; the others are left to what is called."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def _publish(options: argparse.Namespace) -> None:
    from purifier.classifiers.classifier import folder_of, load_classifier
    from purifier.classifiers.hub import publish

    folder = folder_of(options.name)
    load_classifier(options.name)  # what cannot be loaded is not published
    commit = publish(folder, options.repository, private=options.private, revision=options.revision)
    print(f"{commit.commit_url}\nLoad it with: hf-hub:{options.repository}@{commit.oid}")
