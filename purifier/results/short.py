"""The first sentences of docs/robustness.md, some of which README has too: who is ahead, level or behind follows the
records."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from purifier.classifiers.classifier import DEFAULT
from purifier.defences import FAMILIES
from purifier.evaluation.intervals import WHOLE_PERCENT, Score
from purifier.results.claims import EPS, GREY, UNAWARE, fate, keeps_more, sides_at_equal_cost
from purifier.results.detection import Detected, among, evading
from purifier.results.record import ANY, Record, find, pictures, strongest
from purifier.results.stored import ADAPTIVE, BALANCED, Runs, Stored
from purifier.results.tables import in_points, mark, side

DIFFUSION, DIFFUSION_KNOWN = "diffpure", "diffpure-known"  # kinds of runs; in the second the attacker knows it
JPEGS = (FAMILIES["jpeg"].default, 40)  # the setting that tuning found, and one that costs about as much as MDDA
FATES = {  # of MDDA under an attacker who knows it, see ``fate``
    (True, False): "is defeated on",
    (True, True): "loses much of its effect, but not all, on",
    (False, True): "holds on",
    (False, False): "keeps no more, beyond chance, than doing nothing or one constant answer would on",
}


def in_short(stored: Stored) -> dict[str, str]:
    """The sentences by their title, in Markdown; only those that there are runs for."""
    balanced, adaptive = stored.of_kind(BALANCED), stored.of_kind(ADAPTIVE)
    tradeoffs = {name: stored.tradeoffs.get(f"{name}-{BALANCED}", []) for name in balanced}
    found = {
        "Unaware attacker": unaware(balanced),
        "Unaware attacker, brightness alone": in_grey(balanced),
        "Clean pictures": clean(balanced),
        "Aware attacker": aware(adaptive, {name: stored.runs[f"{name}-{ADAPTIVE}"] for name in adaptive}),
        "Without a purifier, AutoAttack": by_autoattack(adaptive),
        "Other defences, aware attacker": others(adaptive[DEFAULT]),
        **{f"JPEG of quality {quality:g}": beside(f"jpeg{quality:g}", balanced) for quality in JPEGS},
        "At equal cost": at_equal_cost(tradeoffs),
        "A diffusion model in its place (DiffPure)": diffusion(
            *(stored.runs.get(f"{DEFAULT}-{kind}", []) for kind in (DIFFUSION, DIFFUSION_KNOWN))
        ),
        "One scale in place of three": beside("mdda:scales=1", balanced),
        "One scale and one block": beside("mdda:scales=1,blocks=1", balanced),
        "The alarm": alarm(stored.detections.values()),
    }
    return {title: text for title, text in found.items() if text}


def unaware(balanced: Runs) -> str:
    """What an attack leaves of right readings without the purifier and with it."""
    ours = balanced[DEFAULT]
    parts = [f"of {pictures(ours)} pictures `{DEFAULT}` reads {mark(find(ours, 'none', None, 'none'))}."]
    for eps in sizes([ours]):
        bare, purified = (mark(find(ours, UNAWARE, eps, defence)) for defence in ("none", "mdda"))
        parts.append(f"Attacked at {eps:g}/255 it reads {bare}, attacked and purified {purified}.")
    return " ".join([*parts, *gains(balanced)])


def in_grey(balanced: Runs) -> str:
    """What is left of an unaware attack on brightness alone, which leaves no noise in the colours."""
    parts = []
    for name, records in balanced.items():
        bare, purified = (find(records, GREY, EPS, defence) for defence in ("none", "mdda"))
        if bare is not None and purified is not None:
            parts.append(f"`{name}` reads {mark(bare)}, purified {mark(purified)}")
    how = f"attacked at {EPS:g}/255 in brightness alone by someone who does not know the purifier"
    return f"{how}, {'; '.join(parts)}." if parts else ""


def gains(balanced: Runs) -> list[str]:
    """Where the purifier helps against an attacker who does not know it, a sentence for each size of the attack."""
    found = {eps: standing(leads(balanced, UNAWARE, eps, "none")) for eps in sizes(balanced.values())}
    return [f"Of pictures attacked at {eps:g}/255, {text}." for eps, text in found.items() if text]


def clean(balanced: Runs) -> str:
    """What is read rightly where nobody attacks, without the purifier and with it."""
    ours = balanced[DEFAULT]
    plain, purified = (mark(find(ours, "none", None, defence)) for defence in ("none", "mdda"))
    return f"of {pictures(ours)} pictures `{DEFAULT}` reads {plain}, purified {purified}. {cost(balanced)}".strip()


def cost(balanced: Runs) -> str:
    """Where the purifier costs right readings."""
    text = standing(leads(balanced, "none", None, "none"))
    return text and f"Of pictures that nobody attacked, {text}."


def sizes(choices: Iterable[Sequence[Record]]) -> list[float]:
    """At which the unaware attack that all choices have was made, in 1/255."""
    return sorted({r.eps for records in choices for r in records if r.attack == UNAWARE})


def leads(choices: Runs, attack: str, eps: float | None, defence: str) -> dict[str, Score]:
    """By how much MDDA is ahead of a defence on each classifier, where that was measured."""
    found = {name: find(records, attack, eps, defence) for name, records in choices.items()}
    return {name: r.mdda_ahead_by for name, r in found.items() if r is not None and r.mdda_ahead_by is not None}


def standing(leads: Mapping[str, Score]) -> str:
    """Where the purifier is better than none, where that cannot be told, and where it is worse."""
    words = {
        1: "more are read rightly with the purifier than without on",
        0: "no difference can be told on",
        -1: "fewer are read rightly with the purifier than without on",
    }
    return grouped({name: (side(lead), points(lead)) for name, lead in leads.items()}, words)


def grouped(found: Mapping[str, tuple[object, str]], words: Mapping[object, str]) -> str:
    """The classifiers, each with what is said of it, behind the ``words`` of their group."""
    parts = []
    for group, said in words.items():
        names = [f"`{name}`{more and f' ({more})'}" for name, (of, more) in found.items() if of == group]
        parts += [f"{said} {listed(names)}"] if names else []
    return "; ".join(parts)


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def points(lead: Score) -> str:
    """A difference in points of accuracy, with its interval."""
    return ", ".join(in_points(lead))


def aware(adaptive: Runs, own: Runs) -> str:
    """What the strongest attacker who knows the purifier leaves, and whether that defeats it; ``own`` are the records
    of the runs themselves, without those of others on the same pictures."""
    left = [
        f"{mark(ours)}{_of_any(ours, own[name])} and {mark(bare)} on `{name}`"
        for name, (ours, bare, _) in _attacked(adaptive).items()
    ]
    if not left:
        return ""
    start = f"at {EPS:g}/255 there is left, with the purifier at most and without it: "
    return f"{start}{'; '.join(left)}. **{verdict(adaptive)}**"


def _of_any(ours: Record, own: Sequence[Record]) -> str:
    """Which attack left so much, or of which ones for each picture the one that works."""
    if ours.attacker.kind != ANY.kind:
        return f" (`{ours.attack}`)"
    on_it = [r for r in own if (r.eps, r.defence) == (ours.eps, "mdda") and not r.attacker.knows_noise]
    tried = dict.fromkeys(r.attack for r in on_it if r.attack != ours.attack)
    return f" (of {listed([f'`{name}`' for name in tried])} what works on each picture)"


def verdict(adaptive: Runs) -> str:
    """Whether the purifier is defeated by someone who knows it."""
    fates = {name: (fate(bare, unaware, ours), "") for name, (ours, bare, unaware) in _attacked(adaptive).items()}
    return f"Attacked by someone who knows it, the purifier {grouped(fates, FATES)}."


def _attacked(adaptive: Runs) -> dict[str, tuple[Record, Record, Record]]:
    """By classifier what the strongest leaves who knows the purifier, and what one does who does not, without it and
    with it."""
    found = {}
    for name, records in adaptive.items():
        ours = next((r for r in strongest(records, EPS) if r.defence == "mdda"), None)
        three = (ours, *(find(records, UNAWARE, EPS, defence) for defence in ("none", "mdda")))
        found |= {} if None in three else {name: three}
    return found


def by_autoattack(adaptive: Runs) -> str:
    """What AutoAttack, several attacks of which one needs no gradient, leaves of a classifier alone."""
    found = {name: find(records, "autoattack", EPS, "none") for name, records in adaptive.items()}
    parts = [
        f"{mark(left)} on `{name}`, which reads {mark(find(adaptive[name], 'none', None, 'none'))} unattacked"
        for name, left in found.items()
        if left is not None
    ]
    return f"at {EPS:g}/255 there is left {'; '.join(parts)}." if parts else ""


def others(records: Sequence[Record]) -> str:
    """What the best of the other defences keeps under an attacker who knows it, and how many keep anything."""
    peers = [r for r in strongest(records, EPS) if r.is_peer]
    nothing = find(records, UNAWARE, EPS, "none")
    if not peers or nothing is None:
        return ""
    best = max(peers, key=lambda r: r.accuracy.value)
    keeping = sum(keeps_more(r, nothing) for r in peers)
    constant = "" if nothing.constant_accuracy is None else " and than always giving the same answer gets right"
    plain = mark(find(records, "none", None, best.defence))
    return (
        f"of {len(peers)} that were attacked at {EPS:g}/255 on `{DEFAULT}` by someone who knows them, `{best.defence}` "
        f"keeps most, at most {mark(best)}, and reads {plain} of clean pictures. "
        f"Beyond chance, {keeping} of {len(peers)} keep more than is read without any defence{constant}."
    )


def beside(peer: str, balanced: Runs) -> str:
    """Where MDDA is ahead of a peer, level with it or behind, under each attack that does not know either."""
    words = {1: "MDDA is ahead of it on", 0: "no difference can be told on", -1: "MDDA is behind it on"}
    conditions = plainly(balanced.values()) | {f"Attacked at {EPS:g}/255 in brightness alone": (GREY, EPS)}
    told = [(where, found) for where, at in conditions.items() if (found := leads(balanced, *at, peer))]
    parts = []
    for sides, alike in groupby(told, lambda pair: {name: side(lead) for name, lead in pair[1].items()}):
        (first, *others), founds = zip(*alike, strict=True)
        texts = {name: (of, "; ".join(points(found[name]) for found in founds)) for name, of in sides.items()}
        parts.append(f"{listed([first, *map(_uncapital, others)])}, {grouped(texts, words)}.")
    return " ".join(parts)


def _uncapital(text: str) -> str:
    return f"{text[0].lower()}{text[1:]}"


def plainly(choices: Iterable[Sequence[Record]]) -> dict[str, tuple[str, float | None]]:
    """What is told of each comparison: nobody attacks, or someone does who does not know the defence."""
    attacked = {f"Attacked at {eps:g}/255": (UNAWARE, eps) for eps in sizes(choices)}
    return {"on clean pictures": ("none", None), **attacked}


def diffusion(run: Sequence[Record], known: Sequence[Record]) -> str:
    """What a diffusion model in the purifier's place leaves, what it costs, and, in the run ``known``, what attackers
    who know it leave."""
    if not (names := _diffusers(run)):
        return ""
    conditions = [("none", None), *((UNAWARE, eps) for eps in sizes([run]))]
    behind = []
    for name in ("mdda", *names):
        under = [find(run, *condition, name) for condition in conditions]
        leads = "" if name == "mdda" else f" (MDDA: {'; '.join(points(r.mdda_ahead_by) for r in under)})"
        behind.append(f"{listed([mark(r) for r in under])} behind `{name}`{leads}, {under[0].seconds_per_image:.2g} s")
    attacked = listed([f"{eps:g}/255" for eps in sizes([run])])
    reads = f"`{run[0].classifier}` reads of {pictures(run)} pictures, clean and attacked at {attacked}"
    parts = [f"{reads}, with seconds a picture: {'; '.join(behind)}."]
    aware = [r for r in known if r.adaptive and r.attacker.kind != ANY.kind]
    for attack, eps in dict.fromkeys((r.attack, r.eps) for r in aware):
        ours, *peers = [find(known, attack, eps, name) for name in ("mdda", *_diffusers(known))]
        told = [f"{mark(r)} behind `{r.defence}` (MDDA: {points(r.mdda_ahead_by)})" for r in peers]
        parts.append(
            f"Aware, `{attack}` at {eps:g}/255 leaves of {pictures(known)} pictures {mark(ours)} behind MDDA, "
            f"{listed(told)}."
        )
    if not known:
        parts.append("Nobody who knows it attacked it.")
    elif {r.attacker.kind for r in aware} == {"bpda"}:
        parts.append("BPDA takes each for the identity; DiffPure's gradient was not tried.")
    return " ".join(parts)


def _diffusers(run: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(r.defence for r in run if r.family == "diffpure"))


def at_equal_cost(tradeoffs: Runs) -> str:
    """Of how many families of peers MDDA is ahead where all may give up as much, for each limit."""
    budgets = sorted({r.budget for records in tradeoffs.values() for r in records})
    found: dict[str, list[float]] = {}  # the sizes of which the same is said
    for eps in sizes(tradeoffs.values()):
        texts = [text for name, records in tradeoffs.items() if (text := _kept(name, records, eps, budgets))]
        found.setdefault("; ".join(texts), []).append(eps)
    if not found:
        return ""
    parts = [f"Attacked at {' or '.join(f'{eps:g}/255' for eps in of)}, MDDA is {text}." for text, of in found.items()]
    limits = listed([f"{budget:g}" for budget in budgets])
    return (
        f"each family in any setting that was run, or a mixture of two, where {limits} points of clean accuracy may be "
        f"given up. {' '.join(parts)}"
    )


def _kept(name: str, records: Sequence[Record], eps: float, budgets: Sequence[float]) -> str:
    """On one classifier, of how many families MDDA is ahead and behind, for each limit of points given up."""
    found = sides_at_equal_cost(records, eps)
    if not found:
        return ""

    def counts(where: int) -> str:
        told = [str(found[budget].count(where)) if budget in found else "–" for budget in budgets]
        return "none" if set(told) <= {"0", "–"} else listed(told)

    return f"ahead of {counts(1)} of {len(next(iter(found.values())))} on `{name}`, behind {counts(-1)}"


def alarm(detections: Iterable[Sequence[Detected]]) -> str:
    """How well the alarm ranks attacked pictures above clean ones, where the attacker does not know it and does: for
    each classifier and size of the run in which somebody evaded it, or of the largest."""
    detections, texts = list(detections), {}
    for eps in sorted({d.eps for found in detections for d in found if d.eps is not None}):
        for found in sorted(detections, key=lambda found: (evading(found, eps) is None, -pictures(found))):
            if text := _ranked(found, eps):
                texts.setdefault((found[0].classifier, eps), text)
    first, *others = [texts[key] for key in sorted(texts)] or [""]
    return " ".join([first, *(text[0].upper() + text[1:] for text in others)])


def _ranked(found: Sequence[Detected], eps: float) -> str:
    plain = among(found, UNAWARE, eps)
    if plain is None:
        return ""
    others = among(found, UNAWARE, eps, "squeezing")
    beside = f" (feature squeezing: {others.auroc.written(WHOLE_PERCENT)})" if others else ""
    hardest = evading(found, eps)
    known = f"; if their attacker evades it, in {hardest.auroc.written(WHOLE_PERCENT)}" if hardest else ""
    return (
        f"on `{plain.classifier}` it ranks {plain.n} pictures attacked at {eps:g}/255 above clean ones in "
        f"{plain.auroc.written(WHOLE_PERCENT)} of pairs{beside}{known}."
    )
