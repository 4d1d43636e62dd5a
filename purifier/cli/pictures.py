"""``purifier classify``, ``attack``, ``purify`` and ``report``: the page's actions on files and folders."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from purifier.attacks import ATTACKS, AttackSettings
from purifier.classifiers.classifier import DEFAULT, load_classifier
from purifier.classifiers.taxonomy import full_name
from purifier.cli.batch import Extra, find_pictures, passed_over, work_through
from purifier.pipeline import ALL_SCALES, SUITED, Purifier
from purifier.runs import ANY, Attack, Settings

FORMATS = ("html", "pdf", "zip", "json")
UNREADABLE = 1  # exit code where some pictures could not be read
PASSED_OVER = 5  # of the files that are no pictures are named


def add_picture_commands(commands: argparse._SubParsersAction, device_option: Callable) -> None:
    """Add them to the command line; ``device_option`` adds --device."""
    for name, what, attacks, purifies in (
        ("classify", "read pictures with a classifier", False, False),
        ("attack", "change pictures invisibly so that the classifier errs", True, False),
        ("purify", "purify pictures, attacked before or not", False, True),
        ("report", "attack and purify pictures, and write a report of each", True, True),
    ):
        command = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
        command.add_argument("pictures", nargs="+", type=Path, metavar="FILE-or-FOLDER")
        command.add_argument(
            "--out",
            type=Path,
            required=name != "classify",
            help="folder for results.csv, and for pictures and reports; a stopped run goes on there",
        )
        command.add_argument("--json", action="store_true", help="print a line of JSON for each picture")
        command.add_argument(
            "--classifier", default=DEFAULT, help="bundled name, local-dir:PATH or hf-hub:OWNER/NAME@REVISION"
        )
        device_option(command)
        if attacks:
            _attack_options(command)
        if purifies or attacks:  # an attacker may know the purifier
            _purifier_options(command, reads=purifies)
        if name == "report":
            command.add_argument("--no-attack", action="store_true", help="purify the pictures as they are")
            command.add_argument(
                "--settings",
                type=Path,
                metavar="run.json",
                help="of an earlier report or from the page, in place of all other options, to run them again",
            )
            command.add_argument(
                "--formats", nargs="+", choices=FORMATS, default=FORMATS, help="of the report (default: all)"
            )
        command.set_defaults(run=_run, attacks=attacks, purifies=purifies, name=name)


def _attack_options(command: argparse.ArgumentParser) -> None:
    attack = AttackSettings()
    group = command.add_argument_group("attack")
    group.add_argument("--method", choices=ATTACKS, default=attack.method, help="(default %(default)s)")
    group.add_argument(
        "--epsilon", type=float, default=round(attack.eps * 255), help="largest change, in 1/255 (default %(default)s)"
    )
    group.add_argument("--steps", type=int, default=attack.steps, help="(default %(default)s)")
    group.add_argument("--target", default=ANY, help="to be read as: a label or its full name (default: any other)")
    group.add_argument("--attacker", metavar="CLASSIFIER", help="the one that the attacker has (default: the reading)")
    group.add_argument("--knows-purifier", action="store_true", help="the attacker attacks through the purifier")
    group.add_argument("--attack-seed", type=int, default=0)


def _purifier_options(command: argparse.ArgumentParser, *, reads: bool) -> None:
    purifier, group = Purifier(), command.add_argument_group("purifier")
    group.add_argument(
        "--denoiser",
        choices=SUITED,
        default=purifier.denoiser,
        help="learned: a network trained on dermoscopy; rof: total variation, the paper's (default %(default)s)",
    )
    group.add_argument("--blocks", type=int, help=_suited("blocks"))
    in_levels = _suited("sigma", lambda sigma: f"{255 * sigma:g}")
    group.add_argument("--sigma", type=float, help=f"of the noise, in 1/255 {in_levels}")
    group.add_argument(
        "--weight", type=float, default=purifier.weight, help="of the total variation of rof (default %(default)g)"
    )
    scales = f"some of {_listed(ALL_SCALES)} {_suited('scales', _listed)}"
    group.add_argument("--scales", type=float, nargs="+", help=scales)
    bands = f"coarser scales give finer ones their low frequencies only {_suited('bands')}"
    group.add_argument("--bands", action=argparse.BooleanOptionalAction, help=bands)
    group.add_argument("--noise-seed", type=int, default=0)
    if reads:
        group.add_argument(
            "--draws", type=int, default=Settings().draws, help="purifications whose mean is read (default %(default)s)"
        )


def _suited(name: str, shown: Callable = str) -> str:
    """The default of a setting with each denoiser."""
    usual = ", ".join(f"{shown(settings[name])} with {denoiser}" for denoiser, settings in SUITED.items())
    return f"(default {usual})"


def _listed(scales: tuple[float, ...]) -> str:
    return " ".join(f"{scale:g}" for scale in scales)


def settings_from(options: argparse.Namespace) -> Settings:
    """What the options ask for. Raises ``ValueError`` for settings out of range."""
    if getattr(options, "settings", None) is not None:
        return Settings.from_json(options.settings.read_bytes())
    purifier = attack = None
    if options.attacks or options.purifies:
        purifier = Purifier(
            blocks=options.blocks,
            sigma=None if options.sigma is None else options.sigma / 255,
            weight=options.weight,
            scales=None if options.scales is None else tuple(sorted(options.scales, reverse=True)),
            denoiser=options.denoiser,
            bands=options.bands,
        )
    if options.attacks and not getattr(options, "no_attack", False):
        attack = Attack(
            settings=AttackSettings(method=options.method, eps=options.epsilon / 255, steps=options.steps),
            target=options.target,
            classifier=options.attacker or options.classifier,
            known=purifier if options.knows_purifier else None,
            seed=options.attack_seed,
        )
    settings = Settings(classifier=options.classifier, attack=attack)
    if options.purifies:
        settings = replace(settings, purifier=purifier, seed=options.noise_seed, draws=options.draws)
    return settings


def _run(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    settings, pictures = settings_from(options), find_pictures(options.pictures, options.out)
    if others := passed_over(options.pictures, pictures, options.out):
        named = ", ".join(others[:PASSED_OVER]) + (", ..." if len(others) > PASSED_OVER else "")
        print(f"Passed over, since they are no pictures: {len(others)} ({named})", file=sys.stderr)
    classifier = load_classifier(settings.classifier, device=options.device)
    attacker = None
    if settings.attack is not None and settings.attack.classifier != settings.classifier:
        attacker = load_classifier(settings.attack.classifier, device=options.device)
    extra = _reports(options.formats) if options.name == "report" else None
    rows = work_through(pictures, settings, classifier, attacker, out=options.out, extra=extra)
    unreadable = 0
    for row in tqdm(rows, total=len(pictures), desc=options.name, unit="picture", disable=not sys.stderr.isatty()):
        unreadable += bool(row["error"])
        if options.json:
            print(json.dumps(row), flush=True)
        elif row["error"]:
            tqdm.write(f"{row['file']}: {row['error']}", file=sys.stderr)
        else:
            tqdm.write(_line(row))
    return UNREADABLE if unreadable else 0


def _line(row: dict) -> str:
    """``MEL-1.png: Melanoma 92 % -> attacked: Melanocytic nevus 100 %``."""
    said = []
    for kind in ("original", "attacked", "purified"):
        if label := row.get(f"{kind}_read_as"):
            unsure = " (unsure)" if str(row[f"{kind}_unsure"]) == "True" else ""
            percent = f"{100 * float(row[f'{kind}_p_{label}']):.0f} %"
            draws = f" ({row['purified_agreeing']} of {row['purified_draws']} draws)" if kind == "purified" else ""
            said.append(("" if kind == "original" else f"{kind}: ") + f"{full_name(label)} {percent}{unsure}{draws}")
    alarm = "; looks attacked" if str(row.get("alarm_attacked")) == "True" else ""
    return f"{row['file']}: {' -> '.join(said)}{alarm}"


def _reports(formats: list[str]) -> Extra:
    """What makes the files of a report."""

    from purifier.reports import NEEDS_PANGO, can_print, html_report, pdf_report, record, stages_zip

    if "pdf" in formats and not can_print():
        print(f"purifier: {NEEDS_PANGO} The other files are written.", file=sys.stderr)
        formats = [kind for kind in formats if kind != "pdf"]
    makers = {
        "html": ("report.html", lambda done, classifier: html_report(done, classifier).encode()),
        "pdf": ("report.pdf", pdf_report),
        "zip": ("stages.zip", stages_zip),
        "json": ("run.json", lambda done, classifier: (json.dumps(record(done, classifier), indent=2) + "\n").encode()),
    }
    return dict(makers[kind] for kind in formats)
