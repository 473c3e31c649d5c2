"""What `connect`, `producer`, `consumer` and `session` return: await it, or enter it with `async with`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Opening", "leave"]


class Entered(Protocol):
    """An async context manager that gives itself."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> bool | None: ...


R = TypeVar("R", bound=Entered)


async def leave(closing: Awaitable[None], error: BaseException | None) -> None:
    """Close something that `async with` is left of: failures nobody looked at are raised, but not in place of the application's own error."""
    try:
        await closing
    except ExceptionGroup as failed:
        if error is None:
            raise
        error.add_note(f"besides, {failed}")


class Opening(Generic[R]):
    """A thing about to be opened: `thing = await opening`, or `async with opening as thing`."""

    __slots__ = ("_make", "_made")

    def __init__(self, make: Callable[[], Coroutine[Any, Any, R]]) -> None:
        self._make = make
        self._made: R | None = None

    def __await__(self) -> Generator[Any, None, R]:
        return self._make().__await__()

    async def __aenter__(self) -> R:
        self._made = await self._make()
        return await self._made.__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        assert self._made is not None  # noqa: S101  (entered before it is left)
        return await self._made.__aexit__(kind, error, trace)
