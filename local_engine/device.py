"""Which device computes: what this build of llama.cpp can use on this machine."""

import ctypes
import os
from dataclasses import dataclass
from typing import Any

from local_engine.native import library


@dataclass(slots=True, frozen=True)
class Device:
    """Where the engine computes.

    Attributes
    ----------
    name : str
        Such as ``"cpu"`` or ``"CUDA0"``; the first accelerator when layers are offloaded.
    offload : bool
        Whether this build can move layers to an accelerator and one is there.
    gpu_layers : int
        Layers to move: 0 without an accelerator, -1 for all.
    threads : int
        CPU threads.
    backends : tuple of str
        Every device the build sees, "name (description)".
    """

    name: str
    offload: bool
    gpu_layers: int
    threads: int
    backends: tuple[str, ...]


def choose_device(*, gpu_layers: int, threads: int | None) -> Device:
    """Return the device to use: an accelerator if the build and the machine have one.

    Raises
    ------
    EngineUnavailable
    """
    llama = library()
    found = _backends(llama)
    accelerators = [name for name, _ in found if name != "CPU"]
    offload = bool(llama.llama_supports_gpu_offload()) and bool(accelerators) and gpu_layers != 0
    return Device(
        name=accelerators[0] if offload else "cpu",
        offload=offload,
        gpu_layers=gpu_layers if offload else 0,
        # Its threads wait for each other at every layer by spinning: one that has no core of its
        # own stops them all (2 on a busy 2-core machine: 4 tokens/s; 1 thread there: 97).
        threads=threads or max(1, available_cores() - 1),
        backends=tuple(f"{name} ({text})" for name, text in found),
    )


def available_cores() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _backends(llama: Any) -> list[tuple[str, str]]:
    llama.llama_backend_init()
    # llama-cpp-python wraps no ggml device call; its library is linked to the one that has them.
    ggml = llama._lib  # noqa: SLF001  # pylint has no public name for the handle either.
    ggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    ggml.ggml_backend_dev_get.restype = ctypes.c_void_p
    ggml.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    names = []
    for word in ("name", "description"):
        function = getattr(ggml, f"ggml_backend_dev_{word}")
        function.restype = ctypes.c_char_p
        function.argtypes = [ctypes.c_void_p]
        names.append(function)
    devices = [ggml.ggml_backend_dev_get(i) for i in range(ggml.ggml_backend_dev_count())]
    return [(names[0](d).decode(), names[1](d).decode()) for d in devices]
