"""A run's settings in words."""

from dataclasses import replace

import torch

from purifier.pipeline import Purifier
from purifier.runs import Attack, Run, Settings
from purifier.wording.runs import in_words, purifier_rows

ROF = Purifier(denoiser="rof", weight=0.03)
LEARNED = replace(ROF, denoiser="learned", bands=True)


def sentence(**settings):
    return in_words(Run(Settings(**settings), torch.zeros(1, 3, 16, 16)))


def test_the_denoiser_is_told_and_the_weight_only_where_it_counts():
    told, learned = sentence(purifier=ROF)[1], sentence(purifier=LEARNED)[1]
    assert "denoiser: ROF (total variation) of weight 0.03; own" in told and "frequencies" not in told
    assert "denoiser: learned network; own" in learned and "weight" not in learned
    assert learned.endswith("; coarser scales give low frequencies only.")
    assert "denoiser: learned network" in sentence(attack=Attack(known=LEARNED))[0]


def test_the_table_has_the_denoiser_and_what_counts_for_it():
    rof, learned = dict(purifier_rows(ROF, 0)), dict(purifier_rows(LEARNED, 0))
    assert rof["Denoiser"] == "ROF (total variation)" and learned["Denoiser"] == "learned network"
    assert set(rof) - set(learned) == {
        "Denoising weight",
        "Denoising steps",
        "Channels are denoised together",
        "Decay of noise and weight with the scale",
    }
    assert set(learned) - set(rof) == {"Decay of noise with the scale", "Coarser scales give low frequencies only"}
