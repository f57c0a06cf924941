"""The reference table of this machine: gradients by compiled steps, by hand, and by other libraries, in turns.

    python benchmarks/speed.py                    # one thread and two; some minutes
    python benchmarks/speed.py --quick            # the same in a quarter of the time, with wide intervals
    python benchmarks/speed.py --threads 1 --cases tiny,small
    python benchmarks/speed.py --write            # into docs/explanation/speed.md, with the plot

All that is compared takes turns within one run, so that a machine that changes its speed changes it for all. A ratio is
of medians; its interval is the middle 95 % of a bootstrap over the rounds, the same rounds for both. Every way has to
give the same loss before it is measured. What is not installed is listed as such.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from math import log
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "explanation" / "speed.md"
PLOT = ROOT / "docs" / "_static" / "speed.svg"
VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
ORDER = ("matrix", "indexprop", "numpy", "np.einsum", "opt_einsum", "torch", "jax", "autograd", "mygrad", "tensorgrad")
LIBRARIES = ("numpy", "opt_einsum", "torch", "jax", "autograd", "mygrad", "tensorgrad")
DTYPES = ("float64", "float32")
ROUNDS = 5


# --- measuring, in a process of its own -----------------------------------------------------------


def inside(wanted: Sequence[str], seconds: float, threads: int) -> list[dict[str, Any]]:
    """Every case in every precision, on as many cores as there are threads: a pool of a library's own is held too."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    import convolution
    import embedding
    import lstm
    import mlp
    import transformer

    try:
        import torch

        torch.set_num_threads(threads)
    except ImportError:
        pass
    found = []
    for program in (mlp, transformer, convolution, embedding, lstm):
        for case in program.CASES:
            if not wanted or any(word in case.name for word in wanted):
                for dtype in DTYPES:
                    print(f"{case.name}, {dtype}, {threads} threads", file=sys.stderr)
                    found.append(measure(case, dtype, seconds) | {"threads": threads})
    return found


def measure(case: Any, dtype: str, seconds: float) -> dict[str, Any]:
    """The rows of one table: medians, ratios to the products and to a rival, memory."""
    from ways import LIMIT, OWN, RIVALS

    arrays = case.draw(dtype)
    ways, missing = case.ways(arrays)
    single = {}
    expected = float(ways[OWN].call()[0])
    for name, way in ways.items():
        result = way.call()
        if not name.startswith(LIMIT) and abs(float(result[0]) - expected) > 1e-3 * abs(expected):
            raise AssertionError(f"{case.name}: the loss is {float(result[0])} by {name}, and {expected} by {OWN}")
        single[name] = timed(way.call)
    longest = max(seconds / 2, 4 * single[LIMIT])  # what takes longer, and far longer than the products, runs once
    times = taken_in_turns({name: way.call for name, way in ways.items() if single[name] <= longest}, single, seconds)
    rows: dict[str, dict[str, Any]] = {}
    for name, way in ways.items():
        found = times.get(name, [single[name]])
        rows[name] = {"median": statistics.median(found), "peak": way.memory()}
        for key, other in (("limit", LIMIT), ("rival", RIVALS.get(name, OWN))):
            if name not in (LIMIT, other) and other in ways:
                rows[name][key] = ratio(found, times.get(other, [single[other]]))
    return {"case": case.name, "dtype": dtype, "rows": rows, "missing": missing}


def timed(call: Any, number: int = 1) -> float:
    """The seconds of one call."""
    start = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - start) / number


def taken_in_turns(calls: dict[str, Any], single: dict[str, float], seconds: float) -> dict[str, list[float]]:
    """The seconds of a call in every round, each round in an order drawn anew; a round lasts milliseconds for each."""
    number = {name: max(1, round(0.002 / single[name])) for name in calls}
    times: dict[str, list[float]] = {name: [] for name in calls}
    order, drawn = list(calls), random.Random(0)
    start = time.perf_counter()
    while min(map(len, times.values())) < ROUNDS or time.perf_counter() - start < seconds:
        drawn.shuffle(order)
        for name in order:
            times[name].append(timed(calls[name], number[name]))
    return times


def ratio(one: Sequence[float], other: Sequence[float], draws: int = 1000) -> list[float]:
    """The ratio of medians, and the middle 95 % of it when rounds are drawn again, the same for both."""
    import numpy as np

    middle = statistics.median(one) / statistics.median(other)
    if len(one) != len(other) or len(one) < 3:
        return [middle]
    rounds = np.random.default_rng(0).integers(len(one), size=(draws, len(one)))
    found = np.median(np.array(one)[rounds], axis=1) / np.median(np.array(other)[rounds], axis=1)
    return [middle, *map(float, np.quantile(found, [0.025, 0.975]))]


def run(threads: int, wanted: str, seconds: float) -> list[dict[str, Any]]:
    """Every case, in a process of its own number of threads."""
    command = [sys.executable, __file__, "--inside", "--threads", f"{threads}", "--cases", wanted]
    environment = os.environ | dict.fromkeys(VARIABLES, str(threads)) | {"JAX_PLATFORMS": "cpu"}
    command += ["--seconds", str(seconds)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


# --- what is printed ------------------------------------------------------------------------------


def machine() -> str:
    """What the numbers belong to: the date, the processor, what else ran on it, and the versions."""
    names = [line.split(":")[1].strip() for line in read_lines("/proc/cpuinfo") if line.startswith("model name")]
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    load = f"load {os.getloadavg()[0]:.1f} before the run; " if hasattr(os, "getloadavg") else ""
    model = [*names, platform.processor() or platform.machine()][0]
    python = f"Python {platform.python_version()}"
    return f"{date.today()}; {model}, {os.cpu_count()} cores; {load}{', '.join([python, *found])}"


def read_lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def amount(number: float) -> str:
    for power, prefix in ((3, "G"), (2, "M"), (1, "k")):
        if number >= 1000**power:
            return f"{number / 1000**power:.3g} {prefix}B"
    return f"{number:.3g} B"


def interval(found: Sequence[float] | None) -> str:
    """A ratio with its interval, in 21 columns."""
    if not found:
        return " " * 21
    return f"{found[0]:7.2f}" + (f"{f'{found[1]:.2f}-{found[2]:.2f}':>14}" if len(found) > 1 else " " * 14)


def headed(one: dict[str, Any]) -> str:
    return f"{one['case']}, {one['dtype']}, {one['threads']} thread{'s' * (one['threads'] > 1)}"


def tables(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """One table for every case, precision and number of threads."""
    from ways import OWN, RIVALS

    for one in results:
        yield headed(one)
        yield ""
        yield f"{'':30}{'us':>9}{'/ products':>11}{'95 %':>10}{'/ rival':>11}{'95 %':>10}   {'peak':>8}  rival"
        for name, row in one["rows"].items():
            rival = RIVALS.get(name, OWN) if "rival" in row else ""
            cells = f"{name:30}{1e6 * row['median']:9.4g}{interval(row.get('limit'))}{interval(row.get('rival'))}"
            yield f"{cells}   {amount(row['peak']):>8}  {rival}".rstrip()
        for name, why in one["missing"].items():
            yield f"{name:30}{why}"
        yield ""


def overview(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Every way in every case as a multiple of the matrix products, for each precision and number of threads."""
    for threads in dict.fromkeys(one["threads"] for one in results):
        for dtype in DTYPES:
            chosen = [one for one in results if (one["threads"], one["dtype"]) == (threads, dtype)]
            short = [one["case"].removeprefix("MLP ").split(",")[0].split(" ")[0] for one in chosen]
            yield f"{dtype}, {threads} thread{'s' * (threads > 1)}: times the matrix products alone"
            yield ""
            yield f"{'':30}" + "".join(f"{name:>12}" for name in short)
            every = dict.fromkeys(name for one in chosen for name in one["rows"])
            for name in sorted(
                every, key=lambda name: next(k for k, word in enumerate(ORDER) if name.startswith(word))
            ):
                cells = [one["rows"].get(name, {}).get("limit", [0])[0] for one in chosen]
                if any(cells):
                    yield f"{name:30}" + "".join(f"{cell:12.2f}" if cell else f"{'-':>12}" for cell in cells)
            yield ""


def plot(results: Sequence[dict[str, Any]]) -> str:
    """Bars: time over the matrix products alone, one thread, float64, on a logarithmic scale, with their intervals."""
    from ways import LIMIT

    def across(value: float) -> float:
        return 220 + 90 * log(max(value, 0.5) / 0.5)

    colours = {"indexprop": "#1b6ca8", "numpy": "#7a7a7a", "torch": "#d9622b", "jax": "#3d8b5f"}
    parts, top = [], 10
    for one in results:
        if one["threads"] != results[0]["threads"] or one["dtype"] != DTYPES[0]:
            continue
        parts.append(f'<text x="10" y="{top + 14}" font-weight="bold">{headed(one)}</text>')
        top += 20
        for name, row in one["rows"].items():
            if name == LIMIT:
                continue
            value, *ends = row["limit"]
            colour = next((shade for key, shade in colours.items() if name.startswith(key)), "#a9a9a9")
            parts.append(f'<text x="210" y="{top + 12}" text-anchor="end">{name}</text>')
            parts.append(f'<rect x="220" y="{top + 2}" width="{across(value) - 220:.1f}" height="12" fill="{colour}"/>')
            if ends:
                low, high = map(across, ends)
                parts.append(f'<path d="M{low:.1f} {top + 8}H{high:.1f}" stroke="black"/>')
            parts.append(f'<text x="{5 + across(max([value, *ends])):.1f}" y="{top + 12}">{value:.2f}</text>')
            top += 17
        top += 8
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 {top}" font-family="sans-serif" font-size="11">'
        "<title>Time of one gradient over its matrix products alone; logarithmic</title>"
        f'<rect width="820" height="{top}" fill="white"/>'
    )
    return head + "".join(parts) + "</svg>\n"


def write(results: Sequence[dict[str, Any]], where: str, parts: dict[str, str]) -> None:
    """The results between the marks of the page, and the plot."""
    text = PAGE.read_text(encoding="utf-8")
    blocks = {mark: f"```text\n{part}\n```" for mark, part in parts.items()}
    for mark, part in {"machine": f"{where}.", **blocks}.items():
        before, _, rest = text.partition(f"<!-- {mark} -->\n")
        _, _, after = rest.partition("<!-- end -->\n")
        text = f"{before}<!-- {mark} -->\n\n{part}\n\n<!-- end -->\n{after}"
    PAGE.write_text(text, encoding="utf-8")
    PLOT.write_text(plot(results), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", default="1,2", help="numbers of threads (default: 1,2)")
    parser.add_argument("--cases", default="", help="parts of the names of cases, with commas (default: all)")
    parser.add_argument("--seconds", type=float, default=1.5, help="for every case and precision (default: 1.5)")
    parser.add_argument("--quick", action="store_true", help="a short run, to see that everything runs")
    parser.add_argument("--write", action="store_true", help="write the results into the documentation")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    seconds = 0.5 if arguments.quick else arguments.seconds
    if arguments.inside:
        wanted = [word for word in arguments.cases.split(",") if word]
        print(json.dumps(inside(wanted, seconds, int(arguments.threads))))
        return
    import deriving

    where = machine()
    results = [one for threads in arguments.threads.split(",") for one in run(int(threads), arguments.cases, seconds)]
    parts = {
        "overview": "\n".join(overview(results)).strip(),
        "deriving": deriving.table(deriving.LAYERS[:3] if arguments.quick else deriving.LAYERS),
        "measured": "\n".join(tables(results)).strip(),
    }
    print(where, *parts.values(), sep="\n\n")
    if arguments.write:
        write(results, where, parts)


if __name__ == "__main__":
    main()
