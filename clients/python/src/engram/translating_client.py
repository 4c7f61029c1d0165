"""What clients do with translators, and to compare models; ``Client`` and ``AsyncClient`` inherit it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, TypeVar, Unpack, overload

from engram import comparing, translating
from engram.calls import PictureFormat
from engram.comparing import Comparison
from engram.core import Core
from engram.exchange import Steps
from engram.results import ItemError
from engram.streaming import Stream
from engram.translating import TranslatedToken, TranslateOptions, Translation

E = TypeVar("E")
T = TypeVar("T")


class TranslatingClient(ABC):
    """Calls that wait for their answers."""

    _core: Core

    @abstractmethod
    def _perform(self, steps: Steps[T]) -> T: ...

    @abstractmethod
    def _stream(self, stream: Stream[E, T], timeout: float | None) -> Iterator[E | T]: ...

    @overload
    def translate(  # type: ignore[overload-overlap]  # a text is a sequence too
        self, text: str, *, timeout: float | None = None, **options: Unpack[TranslateOptions]
    ) -> Translation: ...
    @overload
    def translate(
        self, text: Sequence[str], *, timeout: float | None = None, **options: Unpack[TranslateOptions]
    ) -> list[Translation | ItemError]: ...
    def translate(
        self, text: str | Sequence[str], *, timeout: float | None = None, **options: Unpack[TranslateOptions]
    ) -> Translation | list[Translation | ItemError]:
        """Translate a text, or any number of them.

        >>> client.translate("A dog runs.", target="fr").text

        Args:
            text: A text of any length, which is translated sentence by sentence; or a list of them. Of a list
                up to 256 texts are one HTTP request, the results keep the order, and a text that cannot be
                translated has an ``ItemError`` in its place.
            timeout: Seconds for each HTTP request instead of the client's.
            **options: See ``TranslateOptions``.

        Raises:
            EngramError: See ``engram.errors`` for the tree.
        """
        if isinstance(text, str):
            return self._perform(self._core.run(translating.translate(text, options), timeout))
        return self._perform(translating.translate_all(self._core, text, options, timeout))

    def translate_stream(
        self, text: str, *, timeout: float | None = None, **options: Unpack[TranslateOptions]
    ) -> Iterator[TranslatedToken | Translation]:
        """Translate a text, and get each token as soon as it is settled.

        Yields:
            Tokens in the order of the translation, and at last the whole ``Translation``. Leaving the loop
            ends the request.

        Raises:
            EngramError: See ``engram.errors`` for the tree; nothing is tried again.
        """
        return self._stream(translating.translate_stream(text, options), timeout)

    def translate_picture(
        self,
        text: str,
        *,
        format: PictureFormat = "svg",
        timeout: float | None = None,
        **options: Unpack[TranslateOptions],
    ) -> bytes:
        """Translate a text and return what was looked at, drawn: a heat map for each sentence."""
        return self._perform(self._core.run(translating.translate_picture(text, options, format), timeout))

    def compare(
        self,
        task: str,
        request: Mapping[str, Any],
        models: Sequence[str] | None = None,
        *,
        timeout: float | None = None,
    ) -> Comparison:
        """Put one request to several models.

        >>> client.compare("translate", {"text": "A dog runs.", "target": "fr"})

        Args:
            task: What they do: ``"qa"``, ``"translate"``, ...
            request: What the task is asked, as in the items of ``ask_many`` and its like.
            models: Their names; without them, all that do what is asked.
            timeout: Seconds for this call instead of the client's.

        Returns:
            What each of them answered, by its name; one that failed has an ``ItemError``.

        Raises:
            EngramError: See ``engram.errors`` for the tree; the request itself is wrong, say.
        """
        return self._perform(self._core.run(comparing.compare(task, request, models), timeout))

    def compare_picture(
        self,
        task: str,
        request: Mapping[str, Any],
        models: Sequence[str] | None = None,
        *,
        format: PictureFormat = "svg",
        timeout: float | None = None,
    ) -> bytes:
        """Put one request to several models and return what they looked at, one below the other."""
        return self._perform(
            self._core.run(comparing.compare_picture(task, request, models, format), timeout)
        )


class AsyncTranslatingClient(ABC):
    """The same calls, awaited."""

    _core: Core

    @abstractmethod
    async def _perform(self, steps: Steps[T]) -> T: ...

    @abstractmethod
    def _stream(self, stream: Stream[E, T], timeout: float | None) -> AsyncIterator[E | T]: ...

    @overload
    async def translate(  # type: ignore[overload-overlap]  # a text is a sequence too
        self,
        text: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  it is the server's deadline too
        **options: Unpack[TranslateOptions],
    ) -> Translation: ...
    @overload
    async def translate(
        self,
        text: Sequence[str],
        *,
        timeout: float | None = None,  # noqa: ASYNC109  it is the server's deadline too
        **options: Unpack[TranslateOptions],
    ) -> list[Translation | ItemError]: ...
    async def translate(
        self,
        text: str | Sequence[str],
        *,
        timeout: float | None = None,  # noqa: ASYNC109  it is the server's deadline too
        **options: Unpack[TranslateOptions],
    ) -> Translation | list[Translation | ItemError]:
        """Translate a text, or any number of them; see ``Client.translate``."""
        if isinstance(text, str):
            return await self._perform(self._core.run(translating.translate(text, options), timeout))
        return await self._perform(translating.translate_all(self._core, text, options, timeout))

    def translate_stream(
        self, text: str, *, timeout: float | None = None, **options: Unpack[TranslateOptions]
    ) -> AsyncIterator[TranslatedToken | Translation]:
        """Translate a text, token by token; see ``Client.translate_stream``."""
        return self._stream(translating.translate_stream(text, options), timeout)

    async def translate_picture(
        self,
        text: str,
        *,
        format: PictureFormat = "svg",
        timeout: float | None = None,  # noqa: ASYNC109  it is the server's deadline too
        **options: Unpack[TranslateOptions],
    ) -> bytes:
        """Translate a text and return what was looked at, drawn: a heat map for each sentence."""
        call = translating.translate_picture(text, options, format)
        return await self._perform(self._core.run(call, timeout))

    async def compare(
        self,
        task: str,
        request: Mapping[str, Any],
        models: Sequence[str] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  it is the server's deadline too
    ) -> Comparison:
        """Put one request to several models; see ``Client.compare``."""
        return await self._perform(self._core.run(comparing.compare(task, request, models), timeout))

    async def compare_picture(
        self,
        task: str,
        request: Mapping[str, Any],
        models: Sequence[str] | None = None,
        *,
        format: PictureFormat = "svg",
        timeout: float | None = None,  # noqa: ASYNC109  it is the server's deadline too
    ) -> bytes:
        """Put one request to several models and return what they looked at, one below the other."""
        call = comparing.compare_picture(task, request, models, format)
        return await self._perform(self._core.run(call, timeout))
