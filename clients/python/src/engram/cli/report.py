"""What the command prints: one answer with its heat table, many answers, models, words."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer
from rich import box
from rich.columns import Columns
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from engram.cli.failures import sentence
from engram.cli.heat import heat_table, readable
from engram.results import Answer, Evidence, ItemError, Model

MARKED_WEIGHT = 0.1
"""Evidence with a smaller weight is listed by the server, and not marked here."""


def write_json(payload: Any) -> None:
    """Write one line of JSON."""
    typer.echo(json_line(payload))


def json_line(payload: Any) -> str:
    """Return a payload as JSON that standard output can show."""
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(payload, ensure_ascii=not utf8)


def show_answer(console: Console, question: str, answer: Answer, show_all: bool) -> None:
    """Print an answer, its score, and the hops over the sentences."""
    mark = _mark(console)
    console.print()
    console.print(Text(readable(question), style="dim"))
    head = Text.assemble((readable(answer.answer), "bold green"), "  ", (f"{answer.score:.3f}", "bold"))
    others = [other for other in answer.alternatives if other.answer != answer.answer][:3]
    if others:
        listed = ", ".join(f"{readable(other.answer)} {other.score:.3f}" for other in others)
        head.append(f"   then {listed}", style="dim")
    console.print(head)
    marked = _strong(answer.evidence)
    if answer.attention is not None and len(answer.attention.axes) == 2:
        places = {item.index for item in marked}
        console.print(heat_table(answer.attention, answer.hops, places, mark, show_all))
    elif marked:
        console.print(Padding(_evidence_table(marked), (1, 0), expand=False))
    console.print(_footnote(answer, f"{mark} evidence" if marked else ""), style="dim")


@dataclass(frozen=True, slots=True)
class Row:
    """What is shown of one of many answers; ``score`` is empty where there is none."""

    question: str
    answer: str
    score: str
    evidence: str


def row_of(question: str, result: Answer | ItemError) -> Row:
    """Return what is shown of one of many answers, which is little beside the answer."""
    if isinstance(result, ItemError):
        return Row(readable(question), "failed", "", readable(sentence(result.as_exception())))
    evidence = "\n".join(f"{item.index + 1}. {readable(item.text)}" for item in _strong(result.evidence))
    return Row(readable(question), readable(result.answer), f"{result.score:.3f}", evidence)


def show_answers(console: Console, rows: Iterable[Row]) -> None:
    """Print one row per question."""
    table = Table("question", "answer", "score", "evidence", box=box.SIMPLE_HEAD, pad_edge=False)
    table.columns[2].justify = "right"
    for row in rows:
        answer = Text(row.answer, style="bold green" if row.score else "bold red")
        table.add_row(
            Text(row.question), answer, row.score, Text(row.evidence, style="" if row.score else "red")
        )
    console.print(table)


def show_models(console: Console, models: Sequence[Model]) -> None:
    """Print one row per model."""
    table = Table("model", "task", "state", "runs on", "limits", box=box.SIMPLE_HEAD, pad_edge=False)
    table.columns[0].min_width = max((len(f"{model.name}:1") for model in models), default=0)
    for model in models:
        name = Text.assemble(
            (model.name, "bold"), (f":{', '.join(model.versions)}" if model.versions else "", "dim")
        )
        state = Text(model.state, style="green" if model.state == "ready" else "red")
        limits = ", ".join(f"{limit} {value:,}" for limit, value in model.limits.items())
        table.add_row(name, model.task, state, f"{model.runtime} {model.device}".strip(), Text(limits))
        if model.reason:
            table.add_row("", "", "", "", Text(readable(model.reason), style="red"))
    console.print(table)


def show_words(console: Console, words: Sequence[str]) -> None:
    """Print words in columns on a terminal, else one per line."""
    if console.is_terminal:
        console.print(Columns([Text(readable(word)) for word in words], column_first=True, padding=(0, 2)))
    else:
        typer.echo("\n".join(words))


def payload_of(question: str, result: Answer | ItemError) -> Mapping[str, Any]:
    """Return one of many results as JSON, with its question."""
    body = {"error": result.raw} if isinstance(result, ItemError) else result.raw
    return {"question": question, **body}


def _strong(evidence: Sequence[Evidence]) -> list[Evidence]:
    return [item for item in evidence if item.weight >= MARKED_WEIGHT]


def _evidence_table(evidence: Sequence[Evidence]) -> Table:
    table = Table.grid(padding=(0, 2))
    for item in evidence:
        table.add_row(f"{item.weight:.2f}", Text(str(item.index + 1), style="dim"), Text(readable(item.text)))
    return table


def _footnote(answer: Answer, legend: str) -> Text:
    timing = answer.timing_ms
    parts = [legend, str(answer.model or ""), f"{timing.total:.1f} ms in the server" if timing else ""]
    return Text("   ".join(filter(None, parts)))


def _mark(console: Console) -> str:
    return "*" if console.options.ascii_only else "●"
