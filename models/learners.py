"""The table of tasks that can be learnt. A new task is one module with a ``Learning`` and one line here."""

from __future__ import annotations

from models.language_learning import LanguageLearning
from models.learning import Learning
from models.story_learning import StoryLearning

LEARNING: dict[str, Learning] = {"qa": StoryLearning(), "complete": LanguageLearning()}
"""How each task is learnt and measured, by its name."""
