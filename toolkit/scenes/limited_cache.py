"""Values by key within a limit of memory: those not asked for longest go first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class LimitedCache(Generic[Key, Value]):
    """Values by key, for many threads; those not asked for longest are dropped first."""

    def __init__(self, limit_bytes: int) -> None:
        """Start empty; ``limit_bytes`` is the most memory that values may take."""
        self._values: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._limit, self._size, self._lock = limit_bytes, 0, threading.Lock()

    def take(self, key: Key) -> Value | None:
        """Return a value if it is there; it stays."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def keep(self, key: Key, value: Value, n_bytes: int) -> None:
        """Add a value of so many bytes, unless there is one."""
        with self._lock:
            if key in self._values:
                return
            self._values[key] = value, n_bytes
            self._size += n_bytes
            while self._size > self._limit:
                _, (_, dropped) = self._values.popitem(last=False)
                self._size -= dropped

    def drop(self, key: Key) -> None:
        """Forget a value, if it is there."""
        with self._lock:
            _, dropped = self._values.pop(key, (None, 0))
            self._size -= dropped
