"""What processes cost, as the kernel counts it.

In: process ids. Out: processor seconds and memory. Source: proc(5).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Of several processes together.

    Attributes:
        cpu_s: user and system time, with children that have ended.
        peak_mb: the most memory since `forget_peaks`, each process by itself.
        now_mb: memory now.
    """

    cpu_s: float = 0.0
    peak_mb: float = 0.0
    now_mb: float = 0.0


def usage(pids: Iterable[int]) -> Usage:
    """What these processes have used so far; one that has ended counts nothing."""
    cpu = peak = now = 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        except OSError:
            continue
        cpu += sum(int(ticks) for ticks in fields[11:15]) / _TICKS
        memory = dict(line.split(":", 1) for line in status.splitlines() if line.startswith("Vm"))
        peak += int(memory["VmHWM"].split()[0]) / 1024
        now += int(memory["VmRSS"].split()[0]) / 1024
    return Usage(cpu, peak, now)


def forget_peaks(pids: Iterable[int]) -> None:
    """Begin to look for the most memory from now on."""
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="utf-8")
