"""The table of tasks that can be learnt. A new task is one module with a ``Learning`` and one line here."""

from __future__ import annotations

from models.computing import ComputingLearning
from models.language_learning import LanguageLearning
from models.learning import Learning
from models.point_learning import PointLearning
from models.reading_learning import ReadingLearning
from models.story_learning import StoryLearning
from models.translation_learning import TranslationLearning

LEARNING: dict[str, Learning] = {
    "qa": StoryLearning(),
    "read": ReadingLearning(),
    "translate": TranslationLearning(),
    "complete": LanguageLearning(),
    "point": PointLearning(),
    "compute": ComputingLearning(),
}
"""How each task is learnt and measured, by its name."""
