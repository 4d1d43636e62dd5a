"""The tab 'About': method, classifiers, limits, privacy, citation, versions."""

import gradio as gr
import torch

from purifier import __version__
from purifier.classifiers import MODELS, bundled_classifiers, default_device, digest_of

DELIMITERS = [{"left": "$$", "right": "$$", "display": True}, {"left": "$", "right": "$", "display": False}]
METHOD = r"""
## What this is

A classifier of dermoscopic pictures, attacks that make it err by changes nobody sees, and a purifier that takes them
out again. It is made for research and teaching. **It is not a medical device.**

## Can I rely on it?

- **Not on the classifier.** It is small, was trained for this demonstration, and misses melanomas that nobody
  attacked; how many stands below its results. A benign reading must never delay a biopsy.
- **Not on the purifier.** It brings back what the classifier read before, right or wrong, often but not always, and it
  changes some right readings of pictures that nobody attacked. Simple defences such as JPEG come near it; where it is
  ahead and where not, **Robustness** says in words and figures.
- **Least of all against an attacker who knows it**: that one defeats it.
- **Who would attack?** Somebody must be able to change the picture between camera and classifier: a party with an
  interest in a reading (insurance, trials, reimbursement), or malware on the way (Finlayson et al. 2019, Science 363).
  The purifier is for such digital changes, not for ink on skin.

## The method

MDDA, multiscale diffusive and denoising aggregation (Wang, Li, Shen & Qiao 2023), as re-implemented here from its
public description. A picture $x$ with values from 0 to 1 is resampled to the scales $s$ of a pyramid, $X_s = R_s(x)$.
Each of $N$ blocks then does three things at every scale:

- **diffuse**: $Y_s = X_s + \sigma\varepsilon$ with $\varepsilon \sim \mathcal N(0, I)$, fresh each time;
- **denoise**: $Z_s = \arg\min_u \tfrac12 \lVert u - Y_s \rVert^2 + \lambda\,\mathrm{TV}(u)$, the total variation of
  Rudin, Osher & Fatemi (1992), solved on its dual by accelerated projected gradient (Beck & Teboulle 2009);
- **aggregate**: $X_s = a Z_s + (1-a)\,\mathrm{mean}_{s'} R_{s' \to s}(Z_{s'})$ over the next finer and next coarser
  scale.

At the end all scales come back to the picture's size and are averaged. The purifier works with any classifier as it is;
the default one here has seen purified pictures in its training, so that purification costs it less than it costs
`standard`, which has not. On the page $\sigma$ is the noise, $\lambda$
the denoising weight, $N$ the number of blocks; $a$ is `own` in the Python package. Nothing in it is learned, and it
does not know the classifier.

## What attackers know

An *oblivious* attacker knows the classifier and not the purifier. An *adaptive* one knows both and attacks through
the purifier, averaging over its noise (expectation over transformation, Athalye et al. 2018). Purification alone does
not stop the second: see **Robustness**, and the switch under *More about the attack*.
"""
LIMITS = """
## Limits

- **Skin tone.** Most pictures that the classifiers learned from show light skin. How they do on dark skin was not
  measured.
- **Devices and places.** The pictures come from few clinics and dermatoscopes; other lenses, lights and cameras
  change the readings.
- **Artefacts.** Hairs, rulers, ink, bubbles and dark corners go along with some diagnoses in the training pictures,
  and a classifier may read those.
- **Eight diagnoses.** Whatever is none of them is read as one of them.
- **Purification smooths.** It can take away what a diagnosis depends on; the *How often?* tab shows what it does to
  pictures that nobody attacked, and **Robustness** how often it turns a melanoma benign.

## Data and licences

Training and measuring: HAM10000 (Tschandl et al. 2018), MSK (Codella et al. 2018) and BCN_20000 (Combalia et al.
2019), as in ISIC 2019, CC BY-NC 4.0. The weights and the examples, which a generative model drew, are CC BY-NC 4.0;
the code is Apache-2.0.

## Privacy

A picture that you open stays on this server for about a day, with the name of no one, and is used for nothing else;
what the file says besides the picture (place, camera) is not kept. Nothing is sent elsewhere.

## Cite

Y. Wang, Y. Li, Z. Shen, Y. Qiao, *Reversing skin cancer adversarial examples by multiscale diffusive and denoising
aggregation mechanism*, Computers in Biology and Medicine 164 (2023) 107310, arXiv:2208.10373.
"""


def add_about() -> None:
    gr.Markdown(METHOD, latex_delimiters=DELIMITERS)
    gr.Markdown(LIMITS)
    gr.Markdown("## The classifiers' cards")
    for name in bundled_classifiers():
        with gr.Accordion(name, open=False):
            gr.Markdown(card(name))
    gr.Markdown(
        f"## Versions\n\nLesion Purifier {__version__}, torch {torch.__version__}, on {default_device().type}. Weights "
        "(SHA-256): " + ", ".join(f"{name} `{digest_of(MODELS / name)[:12]}`" for name in bundled_classifiers()) + "."
    )


def card(name: str) -> str:
    """A bundled classifier's model card without its front matter, its headings two levels further down."""
    text = (MODELS / name / "README.md").read_text().split("---\n", 2)[2]
    return "".join(f"##{line}" if line.startswith("#") else line for line in text.splitlines(keepends=True))
