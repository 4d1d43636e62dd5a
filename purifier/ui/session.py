"""What one visitor has on the page."""

from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from purifier.classifiers.classifier import DEFAULT, Classifier, bundled_classifiers, default_device, load_classifier
from purifier.classifiers.hub import Progress, offered_repositories
from purifier.pipeline import Purifier
from purifier.readings import Reading
from purifier.runs import Attack, Run, Settings
from purifier.settings import REPOSITORY, environment
from purifier.texts import UserError


@dataclass(frozen=True, eq=False)
class Session:
    """The pictures, and how they were made."""

    original: Tensor | None = None
    is_own: bool = False  # the visitor's, and no example
    upload: Path | None = None  # the file that it came in
    truth: str | None = None  # its true diagnosis, a code of ISIC 2019's, where it is known
    attacked: Tensor | None = None
    attack: Attack | None = None  # that made it
    purified: Tensor | None = None  # the first of the draws
    purified_reading: Reading | None = None  # the mean of them all
    purifier: Purifier | None = None  # that made it
    seed: int = 0  # of its noise
    classifier: str = DEFAULT  # the last name that could be loaded
    original_reading: Reading | None = None  # by it, once it was asked for
    heat: dict[str, Tensor] | None = None  # where it looks on each picture, as grad_cam gives it, if that is shown

    @property
    def source(self) -> Tensor | None:
        """What Purify works on: the attacked picture where there is one."""
        return self.original if self.attacked is None else self.attacked

    @property
    def run(self) -> Run:
        """What was done, without the stages; there must be a picture."""
        settings = Settings(classifier=self.classifier, attack=self.attack, seed=self.seed)
        if self.purified is not None:
            settings = replace(settings, purifier=self.purifier, draws=self.purified_reading.draws)
        return Run(settings, self.original, self.attacked, self.purified, self.purified_reading, truth=self.truth)

    def unpurified(self) -> "Session":
        """Before its purification, and without the heat maps."""
        return replace(self, purified=None, purified_reading=None, heat=None)

    def read_by(self, classifier: str) -> "Session":
        """The same pictures for another classifier, before the purification."""
        return replace(self.unpurified(), classifier=classifier, original_reading=None)


def need_picture(session: Session) -> None:
    """Raises ``ValueError`` where none was chosen yet."""
    if session.original is None:
        raise UserError(
            "Choose a picture first. Pictures are deleted after ten minutes without use, and when the server restarts."
        )


def classifier_for_page(name: str, progress: Progress | None = None) -> Classifier:
    """A bundled classifier, or one from the Hub that PURIFIER_HUB allows; a visitor has no business in the server's
    folders."""
    kind, _, rest = name.strip().partition(":")
    if kind == "hf-hub":
        _check_repository(rest)
    if kind == "local-dir":
        raise UserError("Folders cannot be opened from the page. Choose a bundled classifier or 'hf-hub:owner/name'.")
    if kind != "hf-hub" and name.strip() not in (bundled := bundled_classifiers()):
        raise UserError(
            "There is no bundled classifier {name} (there are: {names}). For one of the Hugging Face Hub write "
            "'hf-hub:owner/name'.",
            name=repr(name),
            names=", ".join(bundled),
        )
    return load_classifier(name, progress, device=default_device())


def _check_repository(repository: str) -> None:
    """Raises ``ValueError`` for what is not ``owner/name`` or ``owner/name@revision``, and what PURIFIER_HUB does not
    allow."""
    if not REPOSITORY.fullmatch(repository) or ".." in repository:
        raise UserError(
            "{repository} is not a repository name: write 'hf-hub:owner/name'.", repository=repr(repository)
        )
    allowed, offered = environment().hub, offered_repositories()
    if allowed == "off":
        raise UserError("This server loads nothing from the Hub. Choose a bundled classifier.")
    if allowed == "listed" and not {repository, repository.partition("@")[0]} & set(offered):
        raise UserError(
            "This server does not load {repository} from the Hub, only: {names}.",
            repository=repr(repository),
            names=", ".join(offered),
        )
