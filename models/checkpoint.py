"""Checkpoints: a state dict, the configuration, the words, and where the weights come from.

Only plain values and tensors are stored, so a checkpoint is read with ``weights_only=True`` and can run no
code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and all that an export needs to know about it.

    ``config`` are the fields of the family's configuration, ``words`` the vocabulary in id order without the
    reserved ids, ``answers`` the answer strings in output order, ``limits`` the sizes the network is meant
    for, ``training`` the provenance (command, options, selection, seed, data, notes) and ``metrics`` what was
    measured during training. ``tokenizer`` is the content of a ``tokenizer.json`` where words are not enough
    (``target_tokenizer`` another one where what is written is cut differently from what is read),
    ``selector`` what tells the model from others of its task (``{"task": "tour"}``).
    """

    family: str
    config: dict[str, Any]
    weights: dict[str, Tensor]
    words: list[str]
    answers: list[str]
    limits: dict[str, int]
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    tokenizer: str = ""
    selector: dict[str, str | int] = field(default_factory=dict)
    target_tokenizer: str = ""


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write the checkpoint; a kill in between leaves the previous file whole."""
    save_atomically({"format": FORMAT, **asdict(checkpoint)}, path)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no checkpoint of this format.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are no pickle can trip the unpickler anywhere
        raise ValueError(f"{path.name} is not an Engram checkpoint") from error
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise ValueError(f"{path.name} is not an Engram checkpoint of format {FORMAT}")
    return Checkpoint(**content)


def load_checkpoints(paths: Sequence[Path]) -> dict[str, Checkpoint]:
    """Read checkpoints, or those of run folders (``best.pt``), by the path that was given.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file is no checkpoint of this format.
    """
    return {str(path): load_checkpoint(path / "best.pt" if path.is_dir() else path) for path in paths}


def save_atomically(content: dict[str, Any], path: Path) -> None:
    """Write with ``torch.save`` beside the target, then rename; folders are made as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    torch.save(content, partial)
    partial.replace(path)
