"""The reference table of this machine: gradients by the compiled step, by hand, and by other libraries, in turns.

    python benchmarks/speed.py                    # one thread and two; about ten minutes
    python benchmarks/speed.py --threads 1 --cases tiny,small
    python benchmarks/speed.py --write            # into docs/explanation/speed.md, with the plot

All that is compared takes turns within one run, so that a machine that changes its speed changes it for all. A ratio is
of medians; the interval is a paired bootstrap over the rounds. Every peer is checked: it has to give the same loss.
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
import tracemalloc
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "explanation" / "speed.md"
PLOT = ROOT / "docs" / "_static" / "speed.svg"
VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LIMIT = "matrix products"
LIBRARIES = ("indexprop", "numpy", "opt_einsum", "torch", "jax", "autograd", "mygrad")


def interval(one: list[float], other: list[float], draws: int = 1000) -> tuple[float, float]:
    """The middle 95 % of the ratio of medians, when rounds are drawn again, the same for both."""
    chosen = random.Random(0)
    ratios = []
    for _ in range(draws):
        rounds = chosen.choices(range(len(one)), k=len(one))
        ratios.append(
            statistics.median(one[number] for number in rounds) / statistics.median(other[number] for number in rounds)
        )
    ratios.sort()
    return ratios[draws // 40], ratios[-draws // 40]


def peak(call: Any) -> int:
    """The most memory that numpy holds at a time for one call, beyond what was there."""
    tracemalloc.start()
    call()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def measure(case: Any, dtype: str, seconds: float) -> dict[str, Any]:
    """Medians and ratios of everything that computes one gradient."""
    import numpy as np
    import torch

    import indexprop as ip

    torch.set_num_threads(int(os.environ[VARIABLES[0]]))
    arrays = case.draw(dtype)
    step = ip.compile(case.gradient)
    again = ip.compile(case.gradient, reuse_outputs=True)
    read = ip.compile(case.gradient, specialise=False)
    calls = {
        LIMIT: case.products(arrays),
        "indexprop": lambda: step(**arrays),
        "indexprop, reuse_outputs": lambda: again(**arrays),
        "indexprop, as read": lambda: read(**arrays),
    }
    for name, peer in case.peers.items():
        try:
            calls[name] = peer(arrays)
        except ImportError as error:
            print(f"  {name}: left out, {error}", file=sys.stderr)
    expected = float(step(**arrays)[0])
    for name, call in calls.items():
        if name != LIMIT:
            np.testing.assert_allclose(float(call()[0]), expected, rtol=1e-3, err_msg=name)
    times: dict[str, list[float]] = {name: [] for name in calls}
    number = {}
    for name, call in calls.items():
        call()
        start = time.perf_counter()
        call()
        number[name] = max(1, int(0.003 / (time.perf_counter() - start)))
    start = time.perf_counter()
    while time.perf_counter() - start < seconds or len(times[LIMIT]) < 5:
        for name, call in calls.items():
            before = time.perf_counter()
            for _ in range(number[name]):
                call()
            times[name].append((time.perf_counter() - before) / number[name])
    rows = {}
    for name, found in times.items():
        low, high = interval(found, times[LIMIT])
        row = {"median": statistics.median(found), "low": low, "high": high}
        row["ratio"] = row["median"] / statistics.median(times[LIMIT])
        if name != "torch eager" and name != "jax.jit":
            row["peak"] = peak(calls[name])
        rows[name] = row
    return {"case": case.name, "dtype": dtype, "rounds": len(times[LIMIT]), "rows": rows}


def run(threads: int, wanted: list[str], seconds: float) -> list[dict[str, Any]]:
    """Every case in a process of its own number of threads."""
    command = [sys.executable, __file__, "--inside", "--cases", ",".join(wanted), "--seconds", str(seconds)]
    environment = os.environ | dict.fromkeys(VARIABLES, str(threads)) | {"XLA_FLAGS": xla(threads)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [found | {"threads": threads} for found in json.loads(done.stdout.splitlines()[-1])]


def xla(threads: int) -> str:
    return "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1" if threads == 1 else ""


def inside(wanted: list[str], seconds: float) -> list[dict[str, Any]]:
    from cases import CASES

    found = []
    for case in CASES:
        if not wanted or any(word in case.name for word in wanted):
            for dtype in ("float64", "float32"):
                print(f"{case.name}, {dtype}", file=sys.stderr)
                found.append(measure(case, dtype, seconds))
    return found


# --- what is printed ------------------------------------------------------------------------------


def machine() -> str:
    """What the numbers belong to: the date, the processor, and the versions."""
    model = next(
        (line.split(":")[1].strip() for line in read_lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return f"{date.today()}; {model}, {os.cpu_count()} cores; Python {platform.python_version()}, {', '.join(found)}"


def read_lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def amount(number: float, unit: str) -> str:
    for power, prefix in ((3, "G"), (2, "M"), (1, "k")):
        if number >= 1000**power:
            return f"{number / 1000**power:.3g} {prefix}{unit}"
    return f"{number:.3g} {unit}"


def tables(results: list[dict[str, Any]]) -> str:
    """One table for every case and number of threads: medians, ratios to the products, memory."""
    lines = []
    for threads in sorted({one["threads"] for one in results}):
        for case in dict.fromkeys(one["case"] for one in results):
            both = {one["dtype"]: one for one in results if one["case"] == case and one["threads"] == threads}
            if not both:
                continue
            lines += ["", f"{case}, {threads} thread{'s' * (threads > 1)}", ""]
            head = "".join(f"{kind:>8} {'ratio':>6} {'95 %':>12}" for kind in both)
            lines.append(f"{'':25}{head} {'peak':>8}")
            for name in next(iter(both.values()))["rows"]:
                cells = ""
                for one in both.values():
                    row = one["rows"][name]
                    cells += f"{row['median'] * 1e6:8.4g} {row['ratio']:6.2f} {row['low']:5.2f}-{row['high']:<6.2f}"
                memory = next(iter(both.values()))["rows"][name].get("peak")
                lines.append(f"{name:25}{cells} {amount(memory, 'B') if memory is not None else '':>8}".rstrip())
    return "\n".join(lines).strip("\n")


def plot(results: list[dict[str, Any]]) -> str:
    """Bars: time over the matrix products alone, one thread, float64, on a logarithmic scale."""
    from math import log

    chosen = [one for one in results if one["threads"] == 1 and one["dtype"] == "float64"]
    colours = {"indexprop": "#1b6ca8", "numpy": "#7a7a7a", "torch": "#d9622b", "jax": "#3d8b5f"}
    parts, top = [], 10
    for one in chosen:
        parts.append(f'<text x="10" y="{top + 14}" font-weight="bold">{one["case"]}</text>')
        top += 20
        for name, row in one["rows"].items():
            if name in (LIMIT, "indexprop, as read"):
                continue
            width = 10 + 90 * log(max(row["ratio"], 0.5) / 0.5)
            colour = next((value for key, value in colours.items() if name.startswith(key)), "#a9a9a9")
            parts.append(f'<text x="190" y="{top + 12}" text-anchor="end">{name}</text>')
            parts.append(f'<rect x="200" y="{top + 2}" width="{width:.1f}" height="12" fill="{colour}"/>')
            parts.append(f'<text x="{205 + width:.1f}" y="{top + 12}">{row["ratio"]:.2f}</text>')
            top += 17
        top += 8
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {top}" font-family="sans-serif" font-size="11">'
        "<title>Time of one gradient over its matrix products alone; one thread, float64; logarithmic</title>"
        f'<rect width="720" height="{top}" fill="white"/>'
    )
    return head + "".join(parts) + "</svg>\n"


def write(results: list[dict[str, Any]], text: str) -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- measured -->\n")
    _, _, after = rest.partition("<!-- end -->\n")
    measured = f"<!-- measured -->\n\n{machine()}.\n\n```text\n{text}\n```\n\n<!-- end -->\n"
    PAGE.write_text(before + measured + after, encoding="utf-8")
    PLOT.write_text(plot(results), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", default="1,2", help="numbers of threads (default: 1,2)")
    parser.add_argument("--cases", default="", help="parts of the names of cases, with commas (default: all)")
    parser.add_argument("--seconds", type=float, default=4, help="for every case and precision (default: 4)")
    parser.add_argument("--write", action="store_true", help="write the results into the documentation")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    wanted = [word for word in arguments.cases.split(",") if word]
    if arguments.inside:
        print(json.dumps(inside(wanted, arguments.seconds)))
        return
    results = [one for threads in arguments.threads.split(",") for one in run(int(threads), wanted, arguments.seconds)]
    text = tables(results)
    print(machine(), text, sep="\n\n")
    if arguments.write:
        write(results, text)


if __name__ == "__main__":
    main()
