import platform
import subprocess
import sys

import pytest

from purifier.ui import memory
from purifier.ui.memory import give_back, share_arena
from tests.helpers.paths import ROOT


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what is free")
def test_what_is_free_goes_back_to_the_system():
    code = """
from purifier.ui.memory import give_back, share_arena
def resident():
    return int(open("/proc/self/statm", encoding="utf-8").read().split()[1]) * 4096 // 1_000_000
share_arena()
blocks = [bytearray(100_000) for _ in range(2000)]
blocks = blocks[-1:]  # the last lies above all that is free
kept = resident()
give_back()
print(kept - resident())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert int(done.stdout) > 150


def test_with_another_c_library_nothing_is_done(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "win32")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: 1 / 0)  # on Windows None is no library
    share_arena()
    give_back()
