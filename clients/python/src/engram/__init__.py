"""Client of the Engram server: ask questions, and see where the model looked.

>>> import engram
>>> client = engram.Client()
>>> answer = client.ask(["John took the milk.", "John went to the garden."], "Where is the milk?")
>>> print(answer.answer, answer.score)
>>> answer.attention.weights  # numpy, hop by fact

``AsyncClient`` has the same methods, awaited. Everything raised is an ``EngramError``.
"""

from importlib.metadata import version

from engram.async_client import AsyncClient
from engram.attention import Attention, Axis
from engram.batches import Batch, BatchResult
from engram.calls import QaOptions, QaRequest
from engram.client import Client
from engram.comparing import Comparison
from engram.completing import CompleteOptions, CompleteRequest, Completion, WordChoice, WrittenWord
from engram.computing import ComputeAnswer, ComputeOptions
from engram.errors import (
    APIStatusError,
    BatchesUnavailable,
    ConfigurationError,
    ConnectionFailed,
    DeadlineExceeded,
    EngramError,
    ExecutorLost,
    Forbidden,
    InputTooLong,
    InvalidRequest,
    ModelNotFound,
    ModelNotReady,
    NotAcceptable,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    ServerError,
    ShuttingDown,
    StorageFull,
    Timeout,
    Unauthorized,
    Unavailable,
    UnexpectedResponse,
    UnknownWords,
)
from engram.pointing import Measures, PointAnswer, PointOptions, PointRequest
from engram.reading import Candidate, Mention, ReadAnswer, ReadOptions, ReadRequest
from engram.results import Answer, Evidence, ItemError, Model, ModelVersion, ScoredAnswer, Timing
from engram.translating import Sentence, TranslatedToken, TranslateOptions, Translation

__version__ = version("engram-client")

__all__ = [
    "APIStatusError",
    "Answer",
    "AsyncClient",
    "Attention",
    "Axis",
    "Batch",
    "BatchResult",
    "BatchesUnavailable",
    "Candidate",
    "Client",
    "Comparison",
    "CompleteOptions",
    "CompleteRequest",
    "Completion",
    "ComputeAnswer",
    "ComputeOptions",
    "ConfigurationError",
    "ConnectionFailed",
    "DeadlineExceeded",
    "EngramError",
    "Evidence",
    "ExecutorLost",
    "Forbidden",
    "InputTooLong",
    "InvalidRequest",
    "ItemError",
    "Measures",
    "Mention",
    "Model",
    "ModelNotFound",
    "ModelNotReady",
    "ModelVersion",
    "NotAcceptable",
    "NotFound",
    "Overloaded",
    "PayloadTooLarge",
    "PointAnswer",
    "PointOptions",
    "PointRequest",
    "QaOptions",
    "QaRequest",
    "ReadAnswer",
    "ReadOptions",
    "ReadRequest",
    "ScoredAnswer",
    "Sentence",
    "ServerError",
    "ShuttingDown",
    "StorageFull",
    "Timeout",
    "Timing",
    "TranslateOptions",
    "TranslatedToken",
    "Translation",
    "Unauthorized",
    "Unavailable",
    "UnexpectedResponse",
    "UnknownWords",
    "WordChoice",
    "WrittenWord",
]
