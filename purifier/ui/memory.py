"""What of the server's memory is free goes back to the system. glibc keeps what each thread freed in an arena of the
thread's own; with other C libraries nothing is done."""

import ctypes
import sys
from collections.abc import Callable

M_ARENA_MAX = -8  # of malloc.h


def _of_glibc(name: str) -> Callable[..., int]:
    found = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    return found or (lambda *_: 0)


def share_arena() -> None:
    """Let threads that come share one arena, so that what one frees another can have."""
    _of_glibc("mallopt")(M_ARENA_MAX, 1)


def give_back() -> None:
    """To the system, all that is free."""
    _of_glibc("malloc_trim")(0)
