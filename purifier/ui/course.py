"""What was predicted in the lessons. It lasts while the page is open: purifier/ui/forgetting.py leaves it where a class
talks for longer than pictures are kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Course:
    """By the number of the lesson, from 0: which choice was made before its run, and which came true."""

    predicted: Mapping[int, int] = field(default_factory=dict)
    happened: Mapping[int, int] = field(default_factory=dict)

    def predict(self, lesson: int, choice: int) -> "Course":
        """The first choice counts; a later one changes nothing."""
        return replace(self, predicted={lesson: choice, **self.predicted})

    def reveal(self, lesson: int, choice: int) -> "Course":
        """``choice`` came true."""
        return replace(self, happened={**self.happened, lesson: choice})

    def marks(self, count: int) -> list[bool | None]:
        """Whether each of ``count`` lessons was predicted rightly; None where that is not known yet."""
        known = self.predicted.keys() & self.happened.keys()
        return [self.predicted[i] == self.happened[i] if i in known else None for i in range(count)]
