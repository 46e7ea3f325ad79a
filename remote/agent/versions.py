"""Versions of the installed torch and NCCL, read from their metadata, since an import of torch takes seconds."""

from __future__ import annotations

from importlib import metadata


def torch_version() -> str | None:
    """The installed torch's version; None where it is not installed."""
    return _version("torch")


def nccl_version() -> str | None:
    """The version of the NCCL that PyPI's torch depends on; None for other builds of torch and for CPUs."""
    return next(filter(None, map(_version, ("nvidia-nccl-cu13", "nvidia-nccl-cu12", "nvidia-nccl-cu11"))), None)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
