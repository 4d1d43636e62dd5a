"""Short lessons on adversarial pictures: what each lets predict, runs, asks and claims. The page shows them.

Which prediction was right is computed from the run. A claim is checked on the bundled examples by the tests; a lesson
whose claim does not hold must be changed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from purifier.attacks import AttackSettings
from purifier.classifiers.classifier import DEFAULT, SURROGATE, load_classifier
from purifier.classifiers.taxonomy import DIAGNOSES
from purifier.pictures.files import quantise, read_image
from purifier.pipeline import Purifier
from purifier.readings import Reading, read
from purifier.runs import Attack, Run, Settings, run

NEVUS, MELANOMA, KERATOSIS = "NV", "MEL", "BKL"
Seen = dict[str, dict[str, Reading]]  # what each classifier reads, by its name, of each picture, by its name


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """``example`` is a bundled picture; ``readers`` are further classifiers to whom the pictures are shown.
    ``prediction`` is asked before the run, with three ``choices``; ``outcome`` says which of them, from 0, a run makes
    right. ``look`` is what to look at afterwards. ``claim`` says whether a run came out as the lesson says. Where
    ``shows_noise``, random noise of the attack's size is shown beside it."""

    title: str
    minutes: int
    example: str
    settings: Settings
    intro: str
    prediction: str
    choices: tuple[str, str, str]
    outcome: Callable[[Run, Seen], int]
    look: tuple[str, ...]
    question: str
    answer: str
    sources: tuple[str, ...]
    claim: Callable[[Run, Seen], bool]
    readers: tuple[str, ...] = ()
    shows_noise: bool = False


def seen_by(done: Run, names: tuple[str, ...]) -> Seen:
    """What classifiers, bundled or on the Hub, read in the pictures of a run."""
    own, pictures = done.settings.classifier, done.pictures()
    others = {
        name: dict(zip(pictures, read(load_classifier(name), *pictures.values()), strict=True))
        for name in names
        if name != own
    }
    return {own: done.readings(load_classifier(own)), **others}


def teach(lesson: Lesson, path: str) -> tuple[Run, Seen]:
    """The lesson's run on the picture at ``path``, and what is read in it."""
    settings = lesson.settings
    attacker = None if settings.attack is None else load_classifier(settings.attack.classifier)
    done = run(settings, read_image(path), load_classifier(settings.classifier), attacker)
    return done, seen_by(done, lesson.readers)


def noise_like(done: Run) -> Tensor:
    """The original with random noise of the attack's size: the same changes, each pixel's put to another place."""
    change = done.attacked - done.original
    places = torch.randperm(change[0, 0].numel(), generator=torch.Generator().manual_seed(0))
    return quantise((done.original + change.flatten(2)[..., places].reshape(change.shape)).clamp(0, 1))


def is_fooled(seen: dict[str, Reading]) -> bool:
    """Whether the attacked picture is read as something else than the original."""
    return seen["attacked"].top != seen["original"].top


def _fools_unseen(done: Run, seen: Seen) -> bool:
    change, here = done.attacked - done.original, seen[DEFAULT]
    confident = here["attacked"].probability(here["attacked"].top) > 0.9
    (of_noise,) = read(load_classifier(DEFAULT), noise_like(done))
    return is_fooled(here) and confident and change.abs().max() < 2.5 / 255 and of_noise.top == here["original"].top


def _makes_benign(done: Run, seen: Seen) -> bool:
    here = seen[DEFAULT]
    nevus = here["attacked"].top == NEVUS and here["attacked"].malignant() < 0.1
    return here["original"].top == MELANOMA and nevus


def _makes_malignant(done: Run, seen: Seen) -> bool:
    here = seen[DEFAULT]
    malignant = [here[name].malignant() for name in ("original", "attacked")]
    return (
        here["original"].top == KERATOSIS
        and here["attacked"].top == MELANOMA
        and malignant[0] < 0.1 < 0.9 < malignant[1]
    )


def _returns(done: Run, seen: Seen) -> bool:
    here = seen[DEFAULT]
    return is_fooled(here) and here["purified"].top == here["original"].top


def _costs(done: Run, seen: Seen) -> bool:
    here = seen[DEFAULT]
    before, after = (DIAGNOSES[here[name].top] for name in ("original", "purified"))
    return done.attacked is None and before.malignant and not after.malignant


def _defeats(done: Run, seen: Seen) -> bool:
    here = seen[DEFAULT]
    return is_fooled(here) and here["purified"].top != here["original"].top


def _transfers_to_its_like(done: Run, seen: Seen) -> bool:
    return [name for name in seen if is_fooled(seen[name])] == [DEFAULT, "standard"]


def _fooled_and_how_sure(done: Run, seen: Seen) -> int:
    """Not fooled, fooled and less sure than before, or fooled and surer."""
    before, after = seen[done.settings.classifier]["original"], seen[done.settings.classifier]["attacked"]
    if after.top == before.top:
        return 0
    return 2 if after.probabilities.max() > before.probabilities.max() else 1


def _how_benign(done: Run, seen: Seen) -> int:
    """Read as a nevus without a sign of malignancy, as a nevus with one, or as something else."""
    after = seen[done.settings.classifier]["attacked"]
    if after.top != NEVUS:
        return 2
    return 1 if after.malignant() > 0.1 else 0


def _how_malignant(done: Run, seen: Seen) -> int:
    """Not read as a melanoma, as one but less surely than as what it was, or as one at least as surely."""
    before, after = seen[done.settings.classifier]["original"], seen[done.settings.classifier]["attacked"]
    if after.top != MELANOMA:
        return 0
    return 2 if after.probabilities.max() >= before.probabilities.max() else 1


def _what_purified(done: Run, seen: Seen) -> int:
    """The attack's reading, the original's, or a third one."""
    here = seen[done.settings.classifier]
    if here["purified"].top == here["original"].top:
        return 1
    return 0 if here["purified"].top == here["attacked"].top else 2


def _what_is_lost(done: Run, seen: Seen) -> int:
    """Nothing, the diagnosis but not that it is malignant, or both."""
    before, after = seen[done.settings.classifier]["original"], seen[done.settings.classifier]["purified"]
    if after.top == before.top:
        return 0
    return 1 if DIAGNOSES[after.top].malignant else 2


def _how_many_others(done: Run, seen: Seen) -> int:
    """None of the others is fooled, some are, or all."""
    others = [is_fooled(read_by) for name, read_by in seen.items() if name != done.settings.classifier]
    return 2 if all(others) else int(any(others))


SZEGEDY = "C. Szegedy et al., Intriguing properties of neural networks, ICLR 2014, arXiv:1312.6199"
GOODFELLOW = (
    "I. Goodfellow, J. Shlens, C. Szegedy, Explaining and harnessing adversarial examples, ICLR 2015, arXiv:1412.6572"
)
MADRY = "A. Madry et al., Towards deep learning models resistant to adversarial attacks, ICLR 2018, arXiv:1706.06083"
FINLAYSON = (
    "S. Finlayson et al., Adversarial attacks on medical machine learning, Science 363 (2019) 1287, "
    "doi:10.1126/science.aaw4399"
)
MDDA = (
    "Y. Wang, Y. Li, Z. Shen, Y. Qiao, Reversing skin cancer adversarial examples by multiscale diffusive and "
    "denoising aggregation mechanism, Computers in Biology and Medicine 164 (2023) 107310, arXiv:2208.10373"
)
NIE = "W. Nie et al., Diffusion models for adversarial purification, ICML 2022, arXiv:2205.07460"
TSIPRAS = "D. Tsipras et al., Robustness may be at odds with accuracy, ICLR 2019, arXiv:1805.12152"
ATHALYE = (
    "A. Athalye, N. Carlini, D. Wagner, Obfuscated gradients give a false sense of security, ICML 2018, "
    "arXiv:1802.00420"
)
TRAMER = (
    "F. Tramèr, N. Carlini, W. Brendel, A. Madry, On adaptive attacks to adversarial example defenses, NeurIPS 2020, "
    "arXiv:2002.08347"
)
PAPERNOT = "N. Papernot, P. McDaniel, I. Goodfellow, Transferability in machine learning, 2016, arXiv:1605.07277"
DEMONTIS = "A. Demontis et al., Why do adversarial attacks transfer?, USENIX Security 2019, arXiv:1809.02861"

OBLIVIOUS = AttackSettings(eps=2 / 255, steps=20)

LESSONS = (
    Lesson(
        title="A change that nobody sees",
        minutes=4,
        example=f"{NEVUS}-1.png",
        settings=Settings(attack=Attack(settings=OBLIVIOUS)),
        intro=(
            "A picture of a nevus is attacked: every colour value may change by at most 2 of 255 levels. The attack "
            "knows the classifier, and goes twenty small steps in the direction in which the classifier errs soonest."
        ),
        prediction="How will the attacked picture be read?",
        choices=(
            "As a nevus still",
            "As something else, and the classifier is less sure than before",
            "As something else, and the classifier is surer than before",
        ),
        outcome=_fooled_and_how_sure,
        look=(
            "Compare the original and the attacked picture: click the attacked one and wipe. Do you see a difference?",
            "Look at the readings: another diagnosis, and more confident than before.",
            "The third picture has random noise of the same size: the attack's own changes, shuffled. It is read as "
            "before, so it is not how much was changed that fools the classifier, but where.",
        ),
        question=(
            "The attacked picture is read with nearly 100 %. Why is a high confidence no sign that a reading can be "
            "trusted?"
        ),
        answer=(
            "Confidence says how far a picture lies from the border between two diagnoses in the classifier's own "
            "view. The attack pushes the picture far across that border; the classifier has no other view to notice it "
            "with. Calibration, which makes confidence honest on ordinary pictures, says nothing about chosen ones."
        ),
        sources=(SZEGEDY, GOODFELLOW, MADRY),
        claim=_fools_unseen,
        shows_noise=True,
    ),
    Lesson(
        title="A melanoma, to be read as a nevus",
        minutes=4,
        example=f"{MELANOMA}-1.png",
        settings=Settings(attack=Attack(settings=OBLIVIOUS, target=NEVUS)),
        intro=(
            "The attacker now has an aim: a melanoma is to be read as a melanocytic nevus. This is the error that "
            "harms a patient most, because nobody would look again."
        ),
        prediction="The attack may change every colour value by 2 of 255 levels. What will it reach?",
        choices=(
            "A nevus is read, and malignant diagnoses get less than 10 % together",
            "A nevus is read, but malignant diagnoses keep more than 10 % together, which would warn a doctor",
            "Something else than a nevus is read",
        ),
        outcome=_how_benign,
        look=(
            "Before the attack the classifier recognises the melanoma.",
            "After it the bar of malignant diagnoses together is nearly empty: not melanoma alone has gone.",
            "The picture itself is the same to your eye. The patient would be sent home, and the melanoma would grow.",
        ),
        question="Who could want such a change, and where between camera and record could it be made?",
        answer=(
            "Whoever gains from a reading: an insurer or a provider who is paid by diagnosis, a sponsor whose trial "
            "needs clean lesions, or malware that only does harm. It takes access to the picture on its way from "
            "camera to classifier: an app, an archive, a network. Protecting that way is the first defence; what "
            "happens on this page is a second one."
        ),
        sources=(FINLAYSON,),
        claim=_makes_benign,
    ),
    Lesson(
        title="A benign keratosis, to be read as a melanoma",
        minutes=4,
        example=f"{KERATOSIS}-1.png",
        settings=Settings(attack=Attack(settings=OBLIVIOUS, target=MELANOMA)),
        intro=(
            "The opposite aim: a benign keratosis, which needs no treatment, is to be read as a melanoma. The attack "
            "is as small as before."
        ),
        prediction="Is this direction harder? How will the attacked picture be read?",
        choices=(
            "Not as a melanoma",
            "As a melanoma, but less surely than it was read as a keratosis",
            "As a melanoma, as surely as it was read as a keratosis, or more",
        ),
        outcome=_how_malignant,
        look=(
            "The bar of malignant diagnoses together: from nearly empty to full.",
            "All diagnoses: nothing is left of the keratosis, which the classifier had read rightly.",
            "The patient would be frightened, and cut for nothing; with many such pictures a clinic is busy with the "
            "healthy.",
        ),
        question=(
            "Doctors know that false alarms happen, and check them. Why does that not make this attack harmless?"
        ),
        answer=(
            "Each false alarm costs an excision, a scar, days of fear, and time that the ill are waiting for; whoever "
            "is paid by excision gains. And alarms that prove false again and again are believed less, so that in the "
            "end true ones are passed over: the two directions of attack help each other."
        ),
        sources=(FINLAYSON,),
        claim=_makes_malignant,
    ),
    Lesson(
        title="Purify",
        minutes=5,
        example="BCC-1.png",
        settings=Settings(attack=Attack(settings=OBLIVIOUS), purifier=Purifier()),
        intro=(
            "A basal cell carcinoma is attacked and then purified: at several scales Gaussian noise drowns the fine "
            "pattern of the attack, a denoiser takes noise and pattern away together, and the scales are mixed. The "
            "purifier knows neither the classifier nor the attack, and the attacker does not know the purifier."
        ),
        prediction="The attack will change the reading. What will be read after purification?",
        choices=(
            "What the attack made of it",
            "What the original was read as",
            "A third diagnosis",
        ),
        outcome=_what_purified,
        look=(
            "The reading of the purified picture is the original's again.",
            "Press Watch the purification in Try, and see it happen: where does the reading return?",
            "Fine lines have gone as well. Purification cannot tell them from an attack.",
        ),
        question="Why does noise help against a perturbation that was computed so carefully?",
        answer=(
            "The perturbation works because every pixel moves in exactly the direction that matters. Noise of several "
            "times its size makes that pattern a small part of a random one, and the denoiser, which keeps what looks "
            "like skin, removes both. The lesion's coarse shapes are much larger than either, and stay."
        ),
        sources=(MDDA, NIE),
        claim=_returns,
    ),
    Lesson(
        title="What it costs on clean pictures",
        minutes=4,
        example="BCC-2.png",
        settings=Settings(purifier=Purifier(denoiser="rof"), draws=1),
        intro=(
            "No attack this time. A basal cell carcinoma that the classifier recognises is purified all the same, as "
            "it would be in practice, where nobody knows which pictures were attacked. It is purified as the method's "
            "authors did, with total variation (ROF), which smooths every picture alike."
        ),
        prediction="How will the purified carcinoma be read?",
        choices=(
            "As a basal cell carcinoma, as before",
            "As another malignant or precancerous diagnosis",
            "As something benign",
        ),
        outcome=_what_is_lost,
        look=(
            "The purified carcinoma is read as something benign.",
            (
                "It is one draw of the noise. See under Evidence, with Purify many times, how often it happens."
            ),
            (
                "Under Evidence stands how many right readings purification breaks on hundreds of pictures, "
                "melanomas first."
            ),
        ),
        question=(
            "A defence that helps against attacks costs accuracy on ordinary pictures. Who pays for it, and who should "
            "decide?"
        ),
        answer=(
            "Every patient pays, because nearly all pictures were never attacked, and melanomas pay most: their thin "
            "lines and dots are what smoothing takes away. Whether that is worth it depends on how likely attacks are, "
            "and should be decided with figures on both sides of the balance, not by the developer alone. A classifier "
            "that has seen purified pictures in its training pays less, and so does a denoiser that has learned from "
            "such pictures, as that of lesson 4."
        ),
        sources=(TSIPRAS, MDDA),
        claim=_costs,
    ),
    Lesson(
        title="The attacker who knows",
        minutes=5,
        example="BCC-1.png",
        settings=Settings(attack=Attack(settings=OBLIVIOUS, known=Purifier()), purifier=Purifier()),
        intro=(
            "The carcinoma of lesson 4, and the same purifier. But now the attacker knows the purifier, and attacks "
            "classifier and purifier together, averaging over its noise at every step. It takes about a minute."
        ),
        prediction="The purifier works as it did in lesson 4. What will be read after purification?",
        choices=(
            "What the attack made of it",
            "What the original was read as",
            "A third diagnosis",
        ),
        outcome=_what_purified,
        look=(
            "The change is as small as before: at most 2 of 255 levels.",
            "The purified picture is still misread: the attack went through the purification.",
            "Under Evidence, purify it many times: the attack does not depend on the draw.",
        ),
        question="A paper reports that its defence restores 90 % of attacked pictures. What is the first thing to ask?",
        answer=(
            "Whether the attacker knew the defence. A defence that was only tested against attackers who did not know "
            "it has shown little: most such defences fell as soon as somebody attacked them knowingly. Ask also "
            "whether the attack averaged over the noise, whether more steps were tried, and whether attacks without "
            "gradients did better, which would show that the gradient was hidden and not the weakness gone."
        ),
        sources=(ATHALYE, TRAMER),
        claim=_defeats,
    ),
    Lesson(
        title="From one classifier to another",
        minutes=4,
        example=f"{NEVUS}-1.png",
        settings=Settings(attack=Attack(settings=OBLIVIOUS)),
        readers=("standard", "robust", SURROGATE),
        intro=(
            "An attack is made on one classifier, and its picture shown to three others: the one from which it was "
            "trained further, one trained on attacked pictures, and one of another architecture."
        ),
        prediction="How many of the three others will be fooled?",
        choices=(
            "None",
            "One or two",
            "All three",
        ),
        outcome=_how_many_others,
        look=(
            "The classifier from which it was trained further is fooled as well, though the attack never saw it.",
            "The one trained on attacked pictures, and the one of another architecture, read as before.",
            "It is one small attack on one picture. Stronger ones, or made on several classifiers, transfer further.",
        ),
        question="A company keeps its classifier secret. Is it safe from attacks that need its gradient?",
        answer=(
            "No. An attacker can train a classifier of the same kind on similar pictures and attack that: the more "
            "alike the two are, the better the attack transfers. Secrecy makes attacks more laborious, not impossible; "
            "and attacks that only ask the classifier for its readings need no copy at all."
        ),
        sources=(PAPERNOT, DEMONTIS),
        claim=_transfers_to_its_like,
    ),
)  # fmt: skip
