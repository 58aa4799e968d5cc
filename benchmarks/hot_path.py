"""Where a worker's time goes under load: by Python function, by native symbol, by instruction.

py-spy (`install_peers.py profiler`) sees Python functions and what is called from them; perf sees
symbols of the interpreter, libraries and the kernel. This machine's kernel may not hand out a
counter of instructions: then valgrind's callgrind counts them, on a worker made some 50 times
slower, and counts user space alone.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import nginx
from contender import Contender, driftgate
from load import saturate
from peers import CACHE, ready
from stream_client import stream, stream_upstream
from tables import conditions, table

_PERF_LINE = re.compile(r"^\s*([\d.]+)%\s+(\S+)\s+\[([k.])\]\s+(.+?)[\s-]*$", re.MULTILINE)


def folded(text: str, place: str) -> tuple[Counter[str], Counter[str], int]:
    """Return samples by function: at the top of the stack, anywhere in it, and their number.

    Parameters
    ----------
    text : str
        Lines of `outer (file:line);inner (file:line) COUNT`.
    place : str
        Cut off the files' names.
    """
    own: Counter[str] = Counter()
    under: Counter[str] = Counter()
    total = 0
    for line in text.splitlines():
        stack, _, number = line.rpartition(" ")
        frames = [re.sub(r":\d+\)$", ")", f).replace(place, "") for f in stack.split(";")]
        count = int(number)
        total += count
        own[frames[-1]] += count
        for frame in set(frames):
            under[frame] += count
    return own, under, total


def python_profile(
    contender: Contender, load: Callable[[], object], options: argparse.Namespace
) -> str:
    """Return the functions that took the most, by py-spy."""
    program = CACHE / "profiler/bin/py-spy"
    if not program.exists():
        return f"py-spy is not installed: no {program}; run benchmarks/install_peers.py profiler"
    with tempfile.NamedTemporaryFile("r") as out:
        command = [str(program), "record", "--pid", str(contender.serving[0]), "--format", "raw"]
        command += [
            "--rate",
            str(options.hertz),
            "--duration",
            str(options.seconds),
            "--output",
            out.name,
        ]
        command += ["--native"] if options.native else []
        _during(command, load)
        own, under, total = folded(out.read(), str(Path(__file__).parents[1]) + "/")
    shown = sorted(own, key=lambda frame: -own[frame])[: options.top]
    inner = [f for f in under if under[f] < 0.9 * total and f not in shown]
    deep = sorted(inner, key=lambda frame: -under[frame])
    rows = [[f"`{f}`", f"{own[f] / total:.1%}", f"{under[f] / total:.1%}"] for f in shown]
    rows += [[f"`{f}`", f"{own[f] / total:.1%}", f"{under[f] / total:.1%}"] for f in deep[:10]]
    return table(["function", "self", "with what it calls"], rows)


def native_profile(
    contender: Contender, load: Callable[[], object], options: argparse.Namespace
) -> str:
    """Return the symbols that took the most, by perf."""
    if shutil.which("perf") is None:
        return "perf is not installed (Debian: linux-perf)"
    with tempfile.TemporaryDirectory() as folder:
        data = f"{folder}/perf.data"
        command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(options.hertz), "-o", data]
        command += ["-p", str(contender.serving[0]), "--", "sleep", str(options.seconds)]
        _during(command, load)
        report = ["perf", "report", "-i", data, "--stdio", "--sort", "dso,symbol", "-g", "none"]
        done = subprocess.run(report, check=False, capture_output=True, text=True)
    found = _PERF_LINE.findall(re.sub(r"^#.*\n", "", done.stdout, flags=re.MULTILINE))
    kernel = sum(float(share) for share, _, space, _ in found if space == "k")
    rows = [[f"`{symbol}`", dso, f"{share}%"] for share, dso, _, symbol in found[: options.top]]
    return table(["symbol", "in", f"self (kernel {kernel:.0f}% in all)"], rows)


def instructions(options: argparse.Namespace) -> str:
    """Count the worker's instructions a request, in user space, with callgrind."""
    if shutil.which("valgrind") is None:
        return "valgrind is not installed (Debian: valgrind)"
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        upstream, _ = nginx.static(stack, Path(folder))
        wrap = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--trace-children=yes"]
        wrap += ["--trace-children-skip-by-arg=_control", f"--callgrind-out-file={folder}/out.%p"]
        home = Path(folder) / "driftgate"
        gateway = ready(driftgate(stack, home, upstream, python=options.python, wrap=wrap))
        worker = str(gateway.serving[0])
        saturate(gateway, 8, 3)
        _callgrind("--instr=on", worker)
        # valgrind translates what it runs for the first time: not a part of any request.
        saturate(gateway, 8, options.seconds)
        _callgrind("--zero", worker)
        load = saturate(gateway, 8, options.seconds)
        _callgrind("--dump", worker)
        dumps = Path(folder).glob(f"out.{worker}.*")
        totals = [re.search(r"^totals: (\d+)", dump.read_text(), re.MULTILINE) for dump in dumps]
    counted = sum(int(found[1]) for found in totals if found is not None)
    return f"{counted / load.requests:,.0f} instructions a request in user space ({load.requests})"


def _callgrind(what: str, pid: str) -> None:
    subprocess.run(["callgrind_control", what, pid], check=True, capture_output=True)


def _during(command: list[str], load: Callable[[], object]) -> None:
    """Run a profiler while load is there, which must last longer."""
    profiler = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    load()
    _, said = profiler.communicate(timeout=60)
    if profiler.returncode:
        sys.exit(f"{command[0]}: {said.decode(errors='replace')}")


def main() -> None:
    """Profile and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--hertz", type=int, default=500)
    parser.add_argument("--top", type=int, default=25)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--streams", type=int, default=0, help="paced streams instead of requests")
    parser.add_argument("--native", action="store_true", help="py-spy: name C functions too")
    parser.add_argument("--instructions", action="store_true", help="only count them")
    parser.add_argument("--python", default=sys.executable, help="that driftgate runs with")
    options = parser.parse_args()
    print(conditions(), "\n")
    if options.instructions:
        print(instructions(options))
        return
    chunks = int((options.seconds + 5) / 0.02)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if options.streams:
            upstream = stack.enter_context(stream_upstream(chunks))
        else:
            upstream, _ = nginx.static(stack, Path(folder))
        home = Path(folder) / "driftgate"
        gateway = ready(driftgate(stack, home, upstream, python=options.python))

        def load() -> object:
            if options.streams:
                return stream(gateway, options.streams, chunks)
            return saturate(gateway, options.connections, options.seconds + 4)

        saturate(gateway, options.connections, 2)
        time.sleep(1)
        print(python_profile(gateway, load, options), "\n")
        print(native_profile(gateway, load, options))


if __name__ == "__main__":
    main()
