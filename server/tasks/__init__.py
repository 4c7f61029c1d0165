"""The tasks this server knows, by name. A new task is one module and one line here."""

from server.tasks.base import Prepared, SingleRunTask, Task
from server.tasks.completion import Completion
from server.tasks.computing import Computing
from server.tasks.parted import PartedTask
from server.tasks.pointing import Pointing
from server.tasks.question_answering import QuestionAnswering
from server.tasks.reading import Reading
from server.tasks.stepwise import Search, StepwiseTask
from server.tasks.translating import Translating

TASKS: dict[str, type[Task]] = {
    task.name: task for task in (QuestionAnswering, Reading, Completion, Pointing, Computing, Translating)
}

__all__ = ["TASKS", "PartedTask", "Prepared", "Search", "SingleRunTask", "StepwiseTask", "Task"]
