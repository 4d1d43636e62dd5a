"""A run in words, in the language spoken: what a report says of it, on a page and on paper. ``record`` is what
``reports.facts.record`` gives."""

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from itertools import groupby

from torch import Tensor

from purifier.attacks import ATTACKS
from purifier.pipeline import Purifier
from purifier.readings import Reading
from purifier.runs import ANY, SAMPLES, Attack, Cell, Run, amplification, perturbation
from purifier.wording import readings as of_readings
from purifier.wording.language import say
from purifier.wording.readings import change, diagnosis, headline
from purifier.wording.readings import suspicion as suspicion

COMMAND = "purifier report FILE --settings run.json"
DENOISERS = {"learned": "learned network", "rof": "ROF (total variation)"}
Row = tuple[str, str]  # what, and its value


@dataclass(frozen=True, eq=False)
class Panel:
    """A picture with its title, a line about it, and its reading; the perturbation has none."""

    title: str
    x: Tensor
    note: str
    reading: Reading | None = None

    @property
    def alt(self) -> str:
        """For those who cannot see the picture."""
        if self.reading is None:
            return f"{self.title}. {self.note}"
        return say("{title} picture, read as {reading}", title=self.title, reading=headline(self.reading))


def scale_name(scale: float) -> str:
    """A scale as people write it: ``1/2`` for 0.5."""
    return str(Fraction(scale).limit_denominator(64))


def title() -> str:
    """Of a report."""
    return say("Lesion Purifier: report of a run")


def byline(record: dict) -> str:
    """When a report was made, and by which classifier its pictures were read."""
    name = record["settings"]["classifier"]
    return say("Made {time}; read by the classifier {classifier}.", time=made_at(record), classifier=name)


def made_at(record: dict) -> str:
    """The time of a record, in UTC."""
    return f"{datetime.fromisoformat(record['made']):%Y-%m-%d %H:%M:%S} UTC"


def panels(run: Run, readings: dict[str, Reading]) -> list[Panel]:
    """The pictures that there are, in their order."""
    x, adv, clean = run.original, run.attacked, run.purified
    height, width = x.shape[-2:]
    size = say("Before anything was done to it; {width} x {height} pixels.", width=width, height=height)
    found = [Panel(say("Original"), x, size, readings["original"])]
    if adv is not None:
        factor = amplification(run)
        note = say("What the attack added, {factor} times as strong; grey is no change.", factor=factor)
        found.append(Panel(say("Attacked"), adv, change(x, adv), readings["attacked"]))
        found.append(Panel(say("Perturbation"), perturbation(run), note))
    if clean is not None:
        found.append(Panel(say("Purified"), clean, change(x, clean), readings["purified"]))
    return found


def verdict(run: Run, readings: dict[str, Reading]) -> str:
    """What the readings of a run, by picture, say together."""
    found = (readings.get(name) for name in ("original", "attacked", "purified"))
    said = of_readings.verdict(*found, run.truth)
    attack = run.settings.attack
    if said and attack is not None and attack.stopped_after is not None:
        said = f"{so_far(attack)} {said}"
    if run.truth is None:
        return said
    return say("Known diagnosis: {diagnosis}.", diagnosis=diagnosis(run.truth)) + " " + said


def so_far(attack: Attack) -> str:
    """Of an attack that was stopped, after which step, to stand before what it did."""
    return say("After {done} of {steps} steps:", done=attack.stopped_after, steps=attack.settings.steps)


def yes_or_no(value: bool) -> str:
    """A truth value in a word."""
    return say("yes") if value else say("no")


def in_words(run: Run) -> list[str]:
    """The settings in sentences: the attack's, the purifier's."""
    settings = run.settings
    attack = say("The picture was not attacked.") if settings.attack is None else _attack_in_words(run)
    if settings.purifier is None:
        return [attack, say("No picture was purified.")]
    return [attack, say("Purifier (MDDA): {settings}.", settings=_purifier_in_words(settings.purifier))]


def _attack_in_words(run: Run) -> str:
    attack, reads = run.settings.attack, run.settings.classifier
    method, levels = say(ATTACKS[attack.settings.method].title), 255 * attack.settings.eps
    aim = say("Its aim: any reading but the original's.")
    if attack.target != ANY:
        aim = say("Its aim: to be read as {diagnosis}.", diagnosis=diagnosis(attack.target))
    made_on = say("It was made on the classifier that reads the pictures.")
    if attack.classifier != reads:
        made_on = say("It was made on another classifier, {classifier}, and transferred.", classifier=attack.classifier)
    knew = say("The attacker did not know of the purifier.")
    if attack.known is not None:
        knew = say(
            "The attacker knew the purifier ({settings}) and averaged over {samples} draws of its noise at each step.",
            settings=_purifier_in_words(attack.known),
            samples=SAMPLES,
        )
    bound = say("Attack ({method}): no value changes by more than {levels:g}/255.", method=method, levels=levels)
    return " ".join((bound, aim, made_on, knew))


def _purifier_in_words(purifier: Purifier) -> str:
    denoiser = say(DENOISERS[purifier.denoiser])
    if purifier.denoiser == "rof":
        denoiser = say("{denoiser} of weight {weight:g}", denoiser=denoiser, weight=purifier.weight)
    text = say(
        "blocks: {blocks}; scales: {scales}; noise sigma {sigma:g}/255; denoiser: {denoiser}; "
        "own share of a scale {own:g}",
        blocks=purifier.blocks,
        scales=_scales(purifier),
        sigma=255 * purifier.sigma,
        denoiser=denoiser,
        own=purifier.own,
    )
    if purifier.gain:
        text = say(
            "{settings}; more noise by picture, {gain:g} times its own beyond the usual",
            settings=text,
            gain=purifier.gain,
        )
    if purifier.tilt:
        text = say(
            "{settings}; finer scales count more in the result (tilt {tilt:g})", settings=text, tilt=purifier.tilt
        )
    return say("{settings}; coarser scales give low frequencies only", settings=text) if purifier.bands else text


def _scales(purifier: Purifier) -> str:
    return ", ".join(map(scale_name, purifier.scales))


def attack_rows(attack: Attack) -> list[Row]:
    """The settings of an attack as a table."""
    settings = attack.settings
    return [
        (say("Method"), say(ATTACKS[settings.method].title)),
        (say("Epsilon, in 1/255"), f"{255 * settings.eps:g}"),
        (say("Attack steps"), _steps(attack)),
        (say("Make it read as"), say("any other") if attack.target == ANY else diagnosis(attack.target)),
        (say("Made on"), attack.classifier),
        (say("The attacker knows the purifier"), yes_or_no(attack.known is not None)),
        (say("Attack seed"), str(attack.seed)),
    ]


def _steps(attack: Attack) -> str:
    steps = 1 if attack.settings.method == "fgsm" else attack.settings.steps
    if attack.stopped_after is None:
        return str(steps)
    return say("{done} of {steps}, then it was stopped", done=attack.stopped_after, steps=steps)


def purifier_rows(purifier: Purifier, seed: int) -> list[Row]:
    """The settings of a purifier, and the seed of its noise, as a table."""
    decay, of_rof = say("Decay of noise with the scale"), []
    if purifier.denoiser == "rof":
        decay = say("Decay of noise and weight with the scale")
        of_rof = [
            (say("Denoising weight"), f"{purifier.weight:g}"),
            (say("Denoising steps"), str(purifier.steps)),
            (say("Channels are denoised together"), yes_or_no(purifier.coupled)),
        ]
    return [
        (say("Scales"), _scales(purifier)),
        (say("Blocks"), str(purifier.blocks)),
        (say("Noise sigma, in 1/255"), f"{255 * purifier.sigma:g}"),
        (say("Noise by picture, in multiples of its own beyond the usual"), f"{purifier.gain:g}"),
        (say("Denoiser"), say(DENOISERS[purifier.denoiser])),
        *of_rof,
        (say("A scale's own share when neighbours are mixed"), f"{purifier.own:g}"),
        (decay, f"{purifier.decay:g}"),
        (say("Tilt of the scales' shares in the result"), f"{purifier.tilt:g}"),
        *([(say("Coarser scales give low frequencies only"), say("yes"))] if purifier.bands else []),
        (say("Last smoothing, in pixels"), f"{purifier.smooth:g}"),
        (say("Noise seed"), str(seed)),
    ]


def settings_tables(run: Run) -> list[tuple[str, list[Row]]]:
    """What was set, by heading."""
    settings = run.settings
    found = []
    if settings.attack is not None:
        found.append((say("Attack"), attack_rows(settings.attack)))
    if settings.attack is not None and settings.attack.known is not None:
        rows = purifier_rows(settings.attack.known, settings.attack.seed + 1)
        found.append((say("Purifier that the attacker knew"), rows))
    if settings.purifier is not None:
        rows = purifier_rows(settings.purifier, settings.seed)
        found.append((say("Purifier"), [*rows, (say("Draws averaged"), str(settings.draws))]))
    return found


def step_names() -> list[str]:
    """What is done to every scale in a block, as headings."""
    return [say("Before"), say("Diffused"), say("Denoised"), say("Aggregated")]


def blocks(run: Run) -> list[tuple[str, list[tuple[str, list[Cell]]]]]:
    """By block its scales, by scale its pictures."""
    count = run.settings.purifier.blocks if run.settings.purifier else 0
    return [
        (
            say("Block {n} of {count}", n=n, count=count),
            [(say("Scale {scale}", scale=scale_name(stage.scale)), cells) for stage, cells in of_block],
        )
        for n, of_block in groupby(run.stages, key=lambda pair: pair[0].block)
    ]


def likeness(reading: Reading, readings: dict[str, Reading]) -> str:
    """Whether a picture on the way is read as the original or as the attacked picture."""
    if reading.top == readings["original"].top:
        return say("as the original")
    if "attacked" in readings and reading.top == readings["attacked"].top:
        return say("as the attacked picture")
    return say("another reading")


def limits() -> list[str]:
    """What a report must not be taken for, in sentences."""
    return [
        say("One purification is one draw of noise: with another seed the purified picture may be read differently."),
        say("An attacker who knows the purifier can attack through it and defeats it."),
        say("Nothing diagnostic is claimed: no reading says what a lesion is, and agreement does not make one right."),
        say("The same settings and picture give the same run, to the bit, on the same machine with the same versions."),
    ]


def how_to_repeat() -> str:
    """How whoever has the report runs it again."""
    return say(
        "Save the settings as run.json and the original picture as FILE, then run this command. It repeats the run if "
        "the hashes are those of this report."
    )


def about_hashes() -> str:
    """What the hashes are of."""
    return say("SHA-256 of a picture's 8-bit pixels, row by row, each red, green, blue; of weights, of their file.")


def hash_rows(record: dict) -> list[Row]:
    """The digests of pictures and weights as a table."""
    titles = {"original": say("Original"), "attacked": say("Attacked"), "purified": say("Purified")}
    found = [(titles[name], picture["sha256"]) for name, picture in record["pictures"].items()]
    roles = {
        "classifier": say("Classifier's weights"),
        "attacker": say("Attacker's weights"),
        "denoiser": say("Denoiser's weights"),
    }
    for role, heading in roles.items():
        if "weights_sha256" in record.get(role, {}):
            found.append((heading, record[role]["weights_sha256"]))
    return found


def origin_rows(record: dict) -> list[Row]:
    """Where everything came from."""
    found = []
    for role, heading in (("classifier", say("Classifier")), ("attacker", say("Attacker's classifier"))):
        if role in record:
            about = record[role]
            found.append((heading, " = ".join(dict.fromkeys((about["name"], about["source"])))))
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    return [*found, (say("Time"), made_at(record)), (say("Versions"), versions), (say("Device"), record["device"])]
