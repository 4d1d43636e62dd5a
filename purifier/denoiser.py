"""A learned denoiser of dermoscopy, the purifier's default in the place of the paper's ROF. Images are (B, 3, H, W)."""

import functools
import json

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from safetensors.torch import load_file
from torch import Tensor, nn

from purifier.files import ASSETS, check_bundled, digest_of_file
from purifier.pixels import check_finite

FOLDER = ASSETS / "denoiser"
WEIGHTS = FOLDER / "model.safetensors"
WIDTHS = (32, 64, 128, 128)  # of the levels, each half as wide and high as the one before
DEPTHS = (1, 1, 2, 1)  # residual blocks of each level, going down and going up
MULTIPLE = 2 ** len(WIDTHS)  # sides are padded to a multiple of it


class Residual(nn.Module):
    """Two convolutions beside the identity. No normalisation: it would mix what it sees with the noise's strength."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) to the same shape."""
        return x + self.second(F.silu(self.first(x)))


class Denoiser(nn.Module, PyTorchModelHubMixin):
    """The clean picture from one with Gaussian noise of a known strength: a U-Net on pixels in blocks of two by two.

    It works at any size and, trained on pictures at every scale, at any scale. Where the strength is 0 it returns its
    input. It is smooth, and its gradient is its own.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS, depths: tuple[int, ...] = DEPTHS) -> None:
        super().__init__()
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.head = nn.Conv2d(3 * 4 + 1, widths[0], 3, padding=1)
        self.down = nn.ModuleList(_level(width, depth) for width, depth in zip(widths, depths, strict=True))
        self.smaller = nn.ModuleList(nn.Conv2d(width, below, 2, stride=2) for width, below in pairs)
        self.larger = nn.ModuleList(nn.ConvTranspose2d(below, width, 2, stride=2) for width, below in pairs)
        self.up = nn.ModuleList(_level(width, depth) for width, depth in zip(widths[:-1], depths[:-1], strict=True))
        self.tail = nn.Conv2d(widths[0], 3 * 4, 3, padding=1)

    def forward(self, y: Tensor, sigma: Tensor) -> Tensor:
        """``y`` (B, 3, H, W) with noise of standard deviation ``sigma`` (B,), both in units of the pixel range; what
        comes is not clamped."""
        height, width = y.shape[-2:]
        strength = sigma.reshape(-1, 1, 1, 1)
        padded = F.pad(y, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")
        x = F.pixel_unshuffle(padded - 0.5, 2)
        x = self.head(torch.cat([x, 8 * strength.expand(-1, 1, *x.shape[-2:])], dim=1)).to(self.tail.weight.dtype)
        kept = []
        for level, smaller in zip(self.down[:-1], self.smaller, strict=True):
            kept.append(level(x))
            x = smaller(kept[-1])
        x = self.down[-1](x)
        for level, larger, across in reversed(list(zip(self.up, self.larger, kept, strict=True))):
            x = level(larger(x) + across)
        noise = F.pixel_shuffle(self.tail(x), 2)[..., :height, :width]
        return y - strength * noise


def denoise(y: Tensor, sigma: float | Tensor) -> Tensor:
    """``y`` (B, 3, H, W) without its noise of standard deviation ``sigma``, one for all or (B, 1, 1, 1), by the bundled
    weights; not clamped.

    It is computed in float32, or in bfloat16 behind the first layer where the processor multiplies these
    (``multiplies_bfloat16``), and comes back in the type of ``y``. Raises ``ValueError`` for NaN and infinity.
    """
    check_finite(y=y, sigma=sigma)
    of_each = y.new_zeros((len(y), 1, 1, 1), dtype=torch.float32) + sigma
    return bundled_denoiser(str(y.device))(y.float(), of_each.float()).to(y.dtype)


@functools.cache
def bundled_denoiser(device: str) -> Denoiser:
    """The denoiser of ``assets/denoiser``, ready to use on ``device``.

    Raises ``ValueError`` where its weights are not those released.
    """
    check_bundled(FOLDER)
    with torch.device("meta"):  # so that no first weights are drawn from torch's global generator
        model = Denoiser(**json.loads((FOLDER / "config.json").read_text(encoding="utf-8")))
    model.load_state_dict(load_file(WEIGHTS), assign=True)  # from_pretrained prints, which is no line of JSON
    model = model.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # a fifth faster so
    if multiplies_bfloat16(torch.device(device)):  # three to five times faster; the head sees the picture as it is
        for name, part in model.named_children():
            part.to(torch.float32 if name == "head" else torch.bfloat16)
    return model


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the processor has instructions for products of bfloat16, which are slower than float32 without."""
    if device.type == "cpu":
        return any(torch.cpu.get_capabilities().get(name) for name in ("amx_bf16", "avx512_bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


@functools.cache
def digest_of_weights() -> str:
    """SHA-256 of the file of the bundled weights."""
    return digest_of_file(WEIGHTS)


def _level(width: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*(Residual(width) for _ in range(depth)))
