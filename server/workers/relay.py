"""The supervisor's part of the control channel: orders go to the workers, and what came of them back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from server.workers.channel import Answers, Ask, Bequest, Channel, Do, Done, Failure, Message, Past

LASTING = ("load", "unload")
"""Orders that a worker which is started later must carry out too."""

COUNTING = "snapshot"
"""The order whose answers add up; a worker that is missing is stood in for by its bequest."""


@dataclass(slots=True)
class Round:
    """One order on its way through the workers; ``open`` are the places that have not answered."""

    ask: Ask
    asker: Channel
    open: set[int]
    answers: list[bytes] = field(default_factory=list)
    failure: Failure | None = None


class Relay:
    """Knows the workers by their places, the orders under way, and those of the past."""

    def __init__(self) -> None:
        self._members: dict[int, Channel] = {}
        self._bequests: dict[int, bytes] = {}
        self._rounds: dict[int, Round] = {}
        self._numbers = count()
        self._past: dict[bytes, str] = {}

    @contextmanager
    def member(self, place: int, channel: Channel) -> Iterator[None]:
        """Count a worker in for as long as it lives."""
        past = [(order, argument) for argument, order in self._past.items()]
        channel.send(Past(past, self._bequests.get(place, b"")))
        self._members[place] = channel
        try:
            yield
        finally:
            del self._members[place]
            for number in list(self._rounds):
                self._answered(number, place)

    def take(self, place: int, message: Message) -> None:
        """Handle what a worker says."""
        match message:
            case Ask():
                self._begin(place, message)
            case Done(number, answer, failure) if number in self._rounds:
                under_way = self._rounds[number]
                under_way.failure = under_way.failure or failure
                under_way.answers.append(answer)
                self._answered(number, place)
            case Bequest(counts):
                self._bequests[place] = counts
            case _:
                pass

    def _begin(self, place: int, ask: Ask) -> None:
        if ask.order in LASTING:
            # Known from the start, so that a worker which joins meanwhile does it as well.
            self._past.pop(ask.argument, None)
            self._past[ask.argument] = ask.order
        number = next(self._numbers)
        places = {each for each in self._members if ask.own or each != place}
        under_way = self._rounds[number] = Round(ask, self._members[place], places)
        if ask.order == COUNTING:
            under_way.answers += [
                counts for each, counts in self._bequests.items() if each not in self._members
            ]
        for each in places:
            self._members[each].send(Do(number, ask.order, ask.argument))
        self._finish_if_answered(number)

    def _answered(self, number: int, place: int) -> None:
        self._rounds[number].open.discard(place)
        self._finish_if_answered(number)

    def _finish_if_answered(self, number: int) -> None:
        under_way = self._rounds[number]
        if under_way.open:
            return
        del self._rounds[number]
        ask = under_way.ask
        if under_way.failure is not None and self._past.get(ask.argument) == ask.order:
            del self._past[ask.argument]
        under_way.asker.send(Answers(ask.number, under_way.answers, under_way.failure))
