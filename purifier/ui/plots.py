"""What the page plots of one picture, in the language spoken."""

from torch import Tensor

from purifier.figures import Figure, spectrum
from purifier.wording.language import say


def plot_spectrum(differences: dict[str, Tensor]) -> Figure:
    """The root mean square of each difference of two pictures, (1, 3, H, W), at every spatial frequency."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    axis = figure.subplots()
    for (name, difference), style in zip(differences.items(), ("C1--", "C1-", "C0:"), strict=False):
        frequencies, strength = spectrum(difference)
        axis.loglog(frequencies, 255 * strength, style, label=name, linewidth=2)
    axis.set(xlabel=say("cycles a picture"), ylabel=say("strength, in 1/255"))
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3)
    return figure
