"""Functions that keep their last result, also if several threads call at the same time."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from threading import Lock
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Kept = TypeVar("Kept", covariant=True)


class Once(Protocol, Generic[Arguments, Kept]):
    """A function with a memory of one result."""

    def __call__(self, *arguments: Arguments.args, **more: Arguments.kwargs) -> Kept:
        """The result for these arguments; it is made only if they changed."""

    def cache_clear(self) -> None:
        """Forget it."""


def once(function: Callable[Arguments, Result]) -> Once[Arguments, Result]:
    """Keep the last result: `lru_cache` of one, which alone lets two threads load a model."""
    kept = lru_cache(maxsize=1)(function)
    lock = Lock()

    @wraps(function)
    def guarded(*arguments: Any, **more: Any) -> Any:
        with lock:
            return kept(*arguments, **more)

    guarded.cache_clear = kept.cache_clear  # type: ignore[attr-defined]
    return cast(Once[Arguments, Result], guarded)
