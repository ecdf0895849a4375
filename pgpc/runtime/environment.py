"""What the numbers of a run depend on besides config and data: threads, device, libraries and their settings."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

PACKAGES = ("pgpc", "torch", "torchvision", "timm", "numpy", "pillow", "pyarrow")
"""Packages whose versions may change what a run computes."""
_VARIABLES = (
    *("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
    *("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"),
)
"""Variables by which the libraries below torch compute otherwise, on GPUs and on CPUs, without torch saying so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """What two processes must have in common to compute the same, bit for bit, from the same config and data.

    Attributes:
        threads: Threads that an operation on the CPU is shared by. Sums are taken in an order that depends on it.
        device: Name of the GPU, or "cpu" with the instructions that it has.
        versions: Versions of Python, the packages that compute, and the libraries of the GPU.
        determinism: Settings of torch, and variables of the environment, that decide how it computes.
    """

    threads: int
    device: str
    versions: Mapping[str, str]
    determinism: Mapping[str, str]

    @classmethod
    def here(cls, device: torch.device) -> Environment:
        """Return the environment of this process.

        Args:
            device: The device that it computes on.
        """
        return cls(threads=torch.get_num_threads(), device=_name(device), versions=versions(), determinism=settings())

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Environment:
        """Return the environment that `to_json` has made this of."""
        return cls(**{name: plain[name] for name in ("threads", "device", "versions", "determinism")})

    def to_json(self) -> dict[str, Any]:
        """Return the environment as plain data."""
        return asdict(self)

    def differences(self, now: Environment) -> list[str]:
        """Return in words what another environment has otherwise, such as ``"torch 2.11.0, now 2.12.0"``.

        Threads count where the CPU computes.
        """
        pairs = {**_pairs(self.versions, now.versions), **_pairs(self.determinism, now.determinism)}
        if self.device != now.device:
            pairs = {"device": (self.device, now.device), **pairs}
        elif self.device.startswith("cpu") and self.threads != now.threads:
            pairs = {"threads": (str(self.threads), str(now.threads)), **pairs}
        return [f"{name} {before}, now {after}" for name, (before, after) in pairs.items()]


def versions() -> dict[str, str]:
    """Return the versions of Python, of `PACKAGES` and of the libraries of the GPU, as far as they are there."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    if torch.cuda.is_available():
        found |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
    return found


def settings() -> dict[str, str]:
    """Return the settings of torch, and the variables of the environment, that decide how it computes."""
    cudnn = torch.backends.cudnn
    return {
        "deterministic_algorithms": str(torch.are_deterministic_algorithms_enabled()),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn.benchmark": str(cudnn.benchmark),
        "cudnn.deterministic": str(cudnn.deterministic),
        **({"cudnn.allow_tf32": str(cudnn.allow_tf32)} if torch.cuda.is_available() else {}),
        **{name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{device.type} ({torch.backends.cpu.get_cpu_capability()})" if device.type == "cpu" else device.type


def _pairs(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return by name what two mappings have otherwise."""
    names = dict.fromkeys([*before, *now])
    pairs = {name: (before.get(name, "none"), now.get(name, "none")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
