"""Pictures that hypothesis draws."""

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

few = settings(max_examples=25, derandomize=True, deadline=None, database=None)


@st.composite
def pictures(draw, least: int = 1, most: int = 40, count: int = 2) -> Tensor:
    """(1 to ``count``, 3, H, W) in [0, 1], float64 of values that float32 has too, with sides of ``least`` to ``most``
    pixels: noise of any contrast, black and white, or flat."""
    shape = (draw(st.integers(1, count)), 3, draw(st.integers(least, most)), draw(st.integers(least, most)))
    x = torch.rand(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 2**31))))
    match draw(st.sampled_from(("noise", "black and white", "flat"))):
        case "noise":
            x = 0.5 + draw(st.floats(0, 1)) * (x - 0.5)
        case "black and white":
            x = x.round()
        case "flat":
            x = x[..., :1, :1].expand(shape).contiguous()
    return x.double()
