"""The defences that people use already, and MDDA's own parts, called as a Purifier is.

Images are (B, 3, H, W) in [0, 1].
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import jpeg, pad, resize

from purifier.attacks import identity, straight_through
from purifier.diffusion import diffuse
from purifier.pipeline import Purifier, blurred
from purifier.pixels import check_pixels
from purifier.seeds import split_generator
from purifier.texts import Text

Function = Callable[[Tensor, torch.Generator | None], Tensor]


@dataclass(frozen=True, kw_only=True)
class Defence:
    """What is done to a picture before it is classified. ``copies`` above 1 is a vote: the picture is defended so many
    times, with noise of its own each time, and the classifier's probabilities are averaged."""

    name: str  # the family, and the number if it has one
    family: str
    number: float | None = None
    title: str  # a Text, where it is translated
    function: Function
    random: bool = False  # draws from the generator
    exact: bool = True  # its gradient exists and is its own
    copies: int = 1

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The defended pictures; of a vote, one copy. Raises ``ValueError`` for anything but pictures (B, 3, H, W) in
        [0, 1], as the other calls do."""
        check_pixels(x, channels=3)
        return self.function(x, generator)

    def read(
        self,
        classifier: Callable[[Tensor], Tensor],
        x: Tensor,
        generator: torch.Generator | None = None,
        stand_in: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """The classifier's logits (B, K) behind the defence; of a vote, the log of the mean probabilities.

        The gradient is the defence's own or, where there is one, that of ``stand_in``; where the defence has none of
        its own, the identity's.
        """

        def defended(z: Tensor) -> Tensor:
            return self.function(z, generator)

        if stand_in is None and not self.exact:
            stand_in = identity
        return self._read(classifier, x, straight_through(defended, stand_in) if stand_in else defended)[1]

    def with_logits(
        self, classifier: Callable[[Tensor], Tensor], x: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """The defended pictures, of a vote its first copy, and the logits behind the defence as ``read`` has them."""
        return self._read(classifier, x, lambda z: self.function(z, generator))

    def _read(
        self, classifier: Callable[[Tensor], Tensor], x: Tensor, function: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        check_pixels(x, channels=3)
        first = function(x)
        logits = classifier(first)
        if self.copies == 1:
            return first, logits
        votes = [logits, *(classifier(function(x)) for _ in range(self.copies - 1))]
        mean = torch.stack([vote.log_softmax(dim=1) for vote in votes]).logsumexp(dim=0)
        return first, mean - torch.tensor(float(self.copies)).log()


def as_jpeg(x: Tensor, quality: Sequence[int]) -> Tensor:
    """Each picture written as a JPEG of its quality (1 to 100) and read again (Dziugaite, Ghahramani & Roy, 2016)."""
    pixels = (x.detach().clamp(0, 1) * 255).round().byte().cpu()
    files = [jpeg(image, q) for image, q in zip(pixels, quality, strict=True)]
    return torch.stack(files).to(x) / 255 if files else x


def bit_depth(x: Tensor, bits: int) -> Tensor:
    """Rounded to ``2 ** bits`` levels a channel (Xu, Evans & Qi, 2018)."""
    levels = 2**bits - 1
    return (x * levels).round() / levels


def by_opencv(x: Tensor, function: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """``function`` of each picture as OpenCV has it: (H, W, 3) uint8."""
    pixels = (x.detach().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    images = np.stack([function(np.ascontiguousarray(image)) for image in pixels])
    return torch.from_numpy(images).permute(0, 3, 1, 2).to(x) / 255


def non_local_means(x: Tensor, h: float, *, patch: int = 7, search: int = 15) -> Tensor:
    """OpenCV's, of colours: patches and their search in windows of so many pixels a side, ``h`` in 1/255."""
    return by_opencv(x, lambda image: cv2.fastNlMeansDenoisingColored(image, None, h, h, patch, search))


def resize_and_pad(x: Tensor, least: float, generator: torch.Generator | None) -> Tensor:
    """Each picture resized to between ``least`` and all of its size and put somewhere on grey (Xie et al., 2018)."""
    height, width = x.shape[-2:]
    out = []
    for image, noise in zip(x, split_generator(generator, len(x)), strict=True):
        share, top, left = torch.rand(3, generator=noise, device=noise.device).tolist()
        share = least + (1 - least) * share
        tall, wide = max(1, round(height * share)), max(1, round(width * share))
        top, left = round(top * (height - tall)), round(left * (width - wide))
        small = resize(image, [tall, wide], antialias=True)
        out.append(pad(small, [left, top, width - wide - left, height - tall - top], fill=0.5))
    return torch.stack(out).clamp(0, 1)


def smoothed(x: Tensor, sigma: float) -> Tensor:
    """A Gaussian of ``sigma`` pixels."""
    return blurred(x, sigma, max(1, round(3 * sigma)))


def noisy(x: Tensor, sigma: float, generator: torch.Generator | None) -> Tensor:
    """Diffused once, kept in [0, 1]."""
    return diffuse(x, sigma, split_generator(generator, len(x))).clamp(0, 1)


VOTES = 8  # copies of the noisy vote
MOST_DRAWS = 64  # that are averaged, of any defence
BILATERAL_SIDE, BILATERAL_SIGMA = 7, 3  # pixels


@dataclass(frozen=True, kw_only=True)
class Family:
    """Defences that differ in one number, which their name ends with: ``jpeg30``.

    ``function(x, number, generator)`` is the defence. ``values`` are what ``purifier tune`` tries of the numbers
    between ``low`` and ``high``; ``default`` is the best it found.
    """

    short: str  # without the number
    title: str  # with a place for it
    function: Callable[[Tensor, float, torch.Generator | None], Tensor]
    low: float
    high: float
    default: float
    values: tuple[float, ...]
    random: bool = False
    exact: bool = True
    copies: int = 1
    whole: bool = False  # the number is a whole one
    odd: bool = False  # and odd: the side of a window
    of_mdda: bool = False  # MDDA with settings of its own, see ``OF_MDDA``


FAMILIES: dict[str, Family] = {
    "jpeg": Family(
        short="JPEG", title="JPEG of quality {number:g}",
        function=lambda x, quality, g: as_jpeg(x, [int(quality)] * len(x)), exact=False,
        whole=True, low=1, high=100, default=20, values=(5, 10, 15, 20, 25, 30, 40, 50, 60, 75, 85, 95),
    ),
    "bits": Family(
        short="fewer bits", title="{number:g}-bit colour channels",
        function=lambda x, bits, g: bit_depth(x, int(bits)), exact=False,
        whole=True, low=1, high=8, default=1, values=(1, 2, 3, 4, 5, 6),
    ),
    "median": Family(
        short="median", title="median, {number:g} pixels a side", exact=False,
        function=lambda x, side, g: by_opencv(x, lambda image: cv2.medianBlur(image, int(side))),
        odd=True, whole=True, low=3, high=31, default=7, values=(3, 5, 7, 9, 11),
    ),
    "gaussian": Family(
        short="Gaussian", title="Gaussian of {number:g} pixels",
        function=lambda x, sigma, g: smoothed(x, sigma),
        low=0.1, high=20, default=2, values=(0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3),
    ),
    "nlm": Family(
        short="non-local means", title="non-local means, h {number:g}/255", exact=False,
        function=lambda x, h, g: non_local_means(x, h),
        low=1, high=60, default=8, values=(4, 6, 8, 12, 16),
    ),
    "bilateral": Family(
        short="bilateral filter", title="bilateral, {number:g}/255", exact=False,
        function=lambda x, sigma, g: by_opencv(
            x, lambda image: cv2.bilateralFilter(image, BILATERAL_SIDE, sigma, BILATERAL_SIGMA)
        ),
        low=1, high=255, default=80, values=(10, 20, 30, 40, 50, 60, 80, 100),
    ),
    "resize": Family(
        short="random resize", title="random resize from {number:g} % and pad", random=True,
        function=lambda x, percent, g: resize_and_pad(x, percent / 100, g),
        low=10, high=100, default=50, values=(40, 50, 60, 70, 80, 90),
    ),
    "noise": Family(
        short="diffusion only", title="diffusion only, {number:g}/255",
        function=lambda x, sigma, g: noisy(x, sigma / 255, g), random=True,
        low=0, high=255, default=24, values=(2, 4, 8, 12, 16, 24, 32),
    ),
    "vote": Family(
        short="vote of diffused copies", title=f"vote of {VOTES} diffused copies, {{number:g}}/255",
        random=True, copies=VOTES,
        function=lambda x, sigma, g: noisy(x, sigma / 255, g),
        low=0, high=255, default=24, values=(4, 8, 16, 24, 32),
    ),
    "rof": Family(
        short="ROF at one scale", title="ROF at one scale, weight {number:g}",
        function=lambda x, weight, g: Purifier(denoiser="rof", scales=(1.0,), blocks=1, sigma=0.0, weight=weight)(x),
        low=0, high=1, default=0.08, values=(0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12),
    ),
    "noisy-rof": Family(
        short="MDDA at one scale", title="MDDA at one scale, weight {number:g}",
        function=lambda x, weight, g: Purifier(
            denoiser="rof", scales=(1.0,), blocks=2, sigma=8 / 255, weight=weight
        )(x, g),
        random=True, of_mdda=True,
        low=0, high=1, default=0.06, values=(0.01, 0.02, 0.03, 0.04, 0.06, 0.08),
    ),
    "pyramid": Family(
        short="pyramid only", title="pyramid only, {number:g} blocks",
        function=lambda x, blocks, g: Purifier(
            denoiser="rof", scales=(1.0, 0.5, 0.25), blocks=int(blocks), sigma=0.0, weight=0.0, own=0.5
        )(x),
        whole=True, low=1, high=8, default=4, values=(1, 2, 3, 4),
    ),
}  # fmt: skip
# MDDA in any of its settings, as one family: for families compared at equal cost. See ``Record.is_peer``.
OURS = {"mdda": "MDDA", "mdda-rof": Text("MDDA with ROF"), "mdda-learned": Text("MDDA with the learned denoiser")}
OF_MDDA = (*OURS, *(kind for kind, family in FAMILIES.items() if family.of_mdda))


def split_name(name: str) -> tuple[str, float | None, int | None]:
    """The family that a defence's name begins with, its number, and how many copies vote, where it says so:
    ``noise24x8``. Of ``mdda:`` with settings, the family and the copies."""
    if name.startswith("mdda:"):
        copies = re.search(r"x(\d+)$", name)
        return "mdda", None, copies and int(copies[1])
    kind, number, copies = re.fullmatch(r"(.*?)(\d+(?:\.\d+)?)?(?:x(\d+))?", name).groups()
    return kind, None if number is None else float(number), None if copies is None else int(copies)


def get_defence(
    name: str, purifier: Purifier | None = None, families: Mapping[str, Family] = MappingProxyType(FAMILIES)
) -> Defence:
    """``none``, ``mdda`` or a name of ``families`` with a number or, without one, its default: ``jpeg30``.

    ``mdda`` has ``purifier``'s settings, ``mdda-rof`` and ``mdda-learned`` what suits that denoiser; ``mdda10`` is
    weaker or stronger, with noise of 10/255 and a weight in proportion; ``mdda:blocks=1,sigma=8`` has these changed,
    see ``changed``. With ``x4`` at its end a defence that draws noise is a vote of so many copies: ``mddax4``.

    Raises ``ValueError`` for other names and for numbers out of range.
    """
    kind, number, copies = split_name(name)
    if copies is None:
        return _one(name, kind, number, purifier, families)
    one = _one(name.removesuffix(f"x{copies}"), kind, number, purifier, families)
    if not one.random or one.copies > 1:
        raise ValueError(f"{one.name} is no defence that draws noise and could vote: leave the x{copies} out.")
    if not 1 < copies <= MOST_DRAWS:
        raise ValueError(f"A vote has 2 to {MOST_DRAWS} copies, and not {copies}.")
    title = Text("{defence}, mean of {copies} draws", defence=one.title, copies=copies)
    return replace(one, name=f"{one.name}x{copies}", title=title, copies=copies)


def changed(purifier: Purifier, settings: str) -> Purifier:
    """``purifier``, or where a denoiser is named the defaults with that, with settings as a name has them,
    ``blocks=1,sigma=8,scales=1+0.5``: noise in 1/255, scales joined by ``+``, ``true`` or ``false``. Raises
    ``ValueError`` for what is none."""
    known, values = asdict(purifier), {}
    for setting in settings.split(","):
        name, _, text = setting.partition("=")
        if name not in known:
            raise ValueError(f"MDDA has no setting {name!r}. It has {', '.join(known)}.")
        try:
            values[name] = _value(name, text, type(known[name]))
        except ValueError as error:
            raise ValueError(f"{text!r} is no value of MDDA's {name}.") from error
    return Purifier(**values) if "denoiser" in values else replace(purifier, **values)


def _value(name: str, text: str, kind: type) -> object:
    if name == "sigma":
        return float(text) / 255
    if kind is tuple:
        return tuple(float(part) for part in text.split("+"))
    if kind is bool:
        return bool(("false", "true").index(text))
    return kind(text)


def _one(
    name: str, kind: str, number: float | None, purifier: Purifier | None, families: Mapping[str, Family]
) -> Defence:
    if name == "none":
        return Defence(name=name, family=name, title=Text("nothing"), function=lambda x, generator: x)
    if kind in OURS:
        title = OURS[kind]
        if kind == "mdda":
            purifier = purifier or Purifier()
        else:
            purifier = Purifier(denoiser=kind.removeprefix("mdda-"))
        if ":" in name:
            settings = name.removeprefix("mdda:")
            purifier, title = changed(purifier, settings), Text("MDDA, {settings}", settings=settings)
        elif number is not None:
            if purifier.sigma == 0:
                raise ValueError(f"{name!r} multiplies noise, and these settings have none.")
            sigma = number / 255
            weight = purifier.weight * sigma / purifier.sigma if purifier.denoiser == "rof" else purifier.weight
            purifier = replace(purifier, sigma=sigma, weight=weight)
            title = Text("{defence}, noise {number:g}/255", defence=title, number=number)
        return Defence(name=name, family=kind, number=number, title=title, function=purifier, random=purifier.sigma > 0)
    if kind not in families:
        known = ", ".join(f"{kind}{family.default:g}" for kind, family in families.items())
        raise ValueError(f"There is no defence {name!r}. There are none, mdda and, with numbers of your own, {known}.")
    family = families[kind]
    value = family.default if number is None else number
    if not family.low <= value <= family.high:
        raise ValueError(f"The number of {kind} must lie between {family.low} and {family.high}, and is {value:g}.")
    if family.whole and value % 1:
        raise ValueError(f"The number of {kind} must be a whole one, and is {value:g}.")
    if family.odd and value % 2 != 1:
        raise ValueError(f"A median takes an odd number of pixels a side, and not {value:g}.")
    return Defence(
        name=f"{kind}{value:g}",
        family=kind,
        number=value,
        title=Text(family.title, number=value),
        random=family.random,
        exact=family.exact,
        copies=family.copies,
        function=lambda x, generator: family.function(x, value, generator),
    )
