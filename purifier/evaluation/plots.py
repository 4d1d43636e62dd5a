"""Plots of a search for settings."""

from purifier.defences import OURS
from purifier.figures import COLOURS, Figure


def plot_tradeoff(points: list[tuple[str, float, float]], attacked: str) -> Figure:
    """Accuracy under attack against clean accuracy, of (family, clean, attacked): for each family of defences its
    settings, and in bold those that no other setting of it beats at both. Further up and to the right is better."""
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axis = figure.subplots()
    families = sorted({family for family, _, _ in points}, key=lambda family: (family not in OURS, family))
    for i, family in enumerate(families):
        colour, marker = COLOURS[i % len(COLOURS)], "osD^v<>pPX*h"[i % 12]
        of_family = sorted({(clean, robust) for of, clean, robust in points if of == family})
        best = [p for p in of_family if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in of_family)]
        axis.plot(*zip(*of_family, strict=True), marker, color=colour, alpha=0.35, markersize=4, linestyle="none")
        axis.plot(
            *zip(*best, strict=True),
            marker + ("-" if i < len(COLOURS) else "--"),
            color=colour,
            label=family,
            linewidth=2.5 if family in OURS else 1,
            markersize=5,
        )
    axis.set(xlabel="accuracy on clean pictures", ylabel=f"accuracy, {attacked}")
    axis.grid(alpha=0.3)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    return figure


def plot_sensitivity(trials: list[dict]) -> Figure:
    """Of ``tune.py``'s one-at-a-time trials: accuracy clean and attacked against each setting of MDDA."""
    settings = list(dict.fromkeys(trial["setting"] for trial in trials))
    figure = Figure(figsize=(9, 2.6 * -(-len(settings) // 3)), layout="constrained")
    panels = figure.subplots(-(-len(settings) // 3), 3, sharey=True, squeeze=False).flatten()
    for panel, setting in zip(panels, settings, strict=False):
        chosen = [trial for trial in trials if trial["setting"] == setting]
        for name, style in zip(chosen[0]["accuracy"], ("o-", "s--", "^:"), strict=False):
            places = [str(trial["value"]) for trial in chosen]
            panel.plot(places, [trial["accuracy"][name] for trial in chosen], style, label=name)
        panel.set_title(setting, fontsize=9)
        panel.tick_params(axis="x", labelsize=7)
    for panel in panels[len(settings) :]:
        panel.remove()
    panels[0].legend(fontsize=8)
    figure.supylabel("accuracy", fontsize=9)
    return figure
