"""Watch what processes hold in memory over a long run, draw it, and say how fast it grows."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import psutil

SAMPLE_S = 1.0
OURSELVES = "clients, load and broker"  # the broker keeps what it was told up to a bound
BIND_S = 10.0  # a gap of this length between samples ends a line
COLOURS = ("#0b62c4", "#c2410c", "#15803d", "#7c3aed", "#b91c1c", "#0e7490", "#a16207", "#4b5563")
OTHERS = "#b8bec6"
WIDTH, HEIGHT, LEFT, BOTTOM = 960, 420, 60, 40
Sample = tuple[float, float]  # seconds since the run began, MiB


@dataclass
class Memory:
    """Hold what every process of ours held of its own, not shared, by name and process."""

    began: float = field(default_factory=time.monotonic)
    samples: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))
    faults: list[tuple[float, str]] = field(default_factory=list)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look every second until the end."""
        task = asyncio.create_task(self._watch(), name="memory")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def mark(self, fault: str) -> None:
        """Note what was done to the platform now."""
        self.faults.append((time.monotonic() - self.began, fault))

    def growth(self, warm_up_s: float) -> dict[str, tuple[float, float]]:
        """Return MiB a minute, and MiB in all by that line, of each process that has lived well beyond its warm-up."""
        found = {}
        for name, samples in self.samples.items():
            settled = [one for one in samples if one[0] >= samples[0][0] + warm_up_s]
            if len(settled) >= 2 and settled[-1][0] - settled[0][0] >= warm_up_s:
                seconds, mib = np.array(settled).T
                a_second = float(np.polyfit(seconds, mib, 1)[0])
                found[name] = (60 * a_second, a_second * (seconds[-1] - seconds[0]))
        return found

    async def _watch(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(SAMPLE_S)

    def _look(self) -> None:
        own = psutil.Process()
        sums: dict[str, float] = defaultdict(float)
        for process in (own, *own.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                memory = process.memory_info()
                sums[name_of(process, own)] += (memory.rss - memory.shared) / 2**20
        now = time.monotonic() - self.began
        for name, mib in sums.items():
            self.samples[name].append((now, mib))


def name_of(process: psutil.Process, own: psutil.Process) -> str:
    """Return what a process is; one of ours with its number, as each begins anew."""
    if process.pid == own.pid:
        return OURSELVES
    command = process.cmdline()
    if "-m" in command:
        return f"{command[command.index('-m') + 1]} {process.pid}"
    return process.name().partition(":")[0]


def draw(memory: Memory, title: str) -> str:
    """Return the memory of all processes over time as SVG, with a mark where a fault was made."""
    lines = {name: samples for name, samples in memory.samples.items() if len(samples) > 1}
    last = max(samples[-1][0] for samples in lines.values())
    highest = 50 * (1 + max(mib for samples in lines.values() for _, mib in samples) // 50)

    def place(second: float, mib: float) -> str:
        x = LEFT + (WIDTH - LEFT - 220) * second / last
        return f"{x:.1f},{HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 40) * mib / highest:.1f}"

    parts = [_text(LEFT, 22, title, 15)]
    for mib in np.linspace(0, highest, 6):
        left, right = place(0, mib), place(last, mib)
        parts += [_line([left, right], "#ddd", 1), _text(4, float(left.split(",")[1]) + 4, f"{mib:.0f} MiB", 11)]
    for second, fault in memory.faults:
        top, foot = place(second, highest), place(second, 0)
        parts.append(f"<g><title>{second:.0f} s: {fault}</title>{_line([top, foot], '#f1b5a8', 1)}</g>")
    by_life = sorted(lines.items(), key=lambda one: one[1][0][0] - one[1][-1][0])
    for number, (name, samples) in enumerate(by_life):
        colour = COLOURS[number] if number < len(COLOURS) else OTHERS
        parts += [_line([place(*one) for one in run], colour, 1.6) for run in unbroken(samples)]
        if number < len(COLOURS):
            parts.append(_text(WIDTH - 210, 50 + 18 * number, f"{name}: {samples[-1][1]:.0f} MiB", 11, colour))
    if len(by_life) > len(COLOURS):
        words = f"grey: {len(by_life) - len(COLOURS)} that lived shorter"
        parts.append(_text(WIDTH - 210, 50 + 18 * len(COLOURS), words, 11))
    parts.append(_text(LEFT, HEIGHT - 12, f"0 to {last:.0f} s; a red line: a fault (point at it to read which)", 11))
    inside = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n{inside}\n</svg>\n'
    )


def unbroken(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Split samples where the process was away."""
    runs = [[samples[0]]]
    for before, after in pairwise(samples):
        if after[0] - before[0] > BIND_S:
            runs.append([])
        runs[-1].append(after)
    return runs


def _line(points: Sequence[str], colour: str, width: float) -> str:
    return f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, words: str, size: int, colour: str = "#222") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{colour}">{words}</text>'
