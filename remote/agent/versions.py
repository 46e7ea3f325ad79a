"""TODO docstring: remote/agent/versions.py."""

from __future__ import annotations

from importlib import metadata


def torch_version() -> str | None:
    """The installed torch's version, found without importing it; None where there is none."""
    return _version("torch")


def nccl_version() -> str | None:
    """The NCCL that PyPI's torch brings; None where torch is built otherwise, or for CPUs."""
    return next(filter(None, map(_version, ("nvidia-nccl-cu13", "nvidia-nccl-cu12", "nvidia-nccl-cu11"))), None)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
