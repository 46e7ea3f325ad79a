"""EC2's GPU instance types as a table of a day: what each has, what it costs, and which types come nearest to it.

Pure. The hardware is what EC2's DescribeInstanceTypes says (a test holds the table against a copy of its answers), the
prices are those of AWS's price list for us-east-1, Linux, shared tenancy. A price of the table is used only where AWS
cannot be asked, and is shown with its day.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

PRICES_OF: Final = "2026-09-10"
"""The day on which AWS published the price list that the table's prices are from."""
OLDEST_COMPUTE_CAPABILITY: Final = 75
"""Where PyTorch's CUDA 13 wheels begin (sm_75): a V100 (sm_70) needs an older PyTorch."""

_NAME = re.compile(r"[a-z][a-z0-9-]*\.(?:\d{0,3}xlarge|metal(?:-\d{1,3}xl)?|nano|micro|small|medium|large)")
_CAPABILITY = {
    "V100": 70,
    "T4": 75,
    "A100": 80,
    "A10G": 86,
    "L4": 89,
    "L40S": 89,
    "H100": 90,
    "H200": 90,
    "B200": 100,
    "B300": 103,
    "RTX PRO 6000": 120,
}
"""NVIDIA's compute capability, times ten (developer.nvidia.com/cuda-gpus)."""
_GPU_NAMES = {"RTX PRO Server 6000": "RTX PRO 6000"}
"""GPUs that EC2 names otherwise than their maker."""


@dataclass(frozen=True, slots=True)
class InstanceType:
    """A type of instance; its GPUs are all of one kind."""

    name: str
    gpus: int
    gpu: str
    """Name as in `run.accelerator` of a profile, for example ``A100``; empty without GPUs."""
    gpu_mem_gib: float
    """Memory of one GPU as EC2 states it: a card of "24 GB" has 22.4."""
    vcpus: int
    mem_gib: float
    network_gbit_s: float
    """All cards together; for a type with "up to" a rate, the rate that it sustains."""
    network_cards: int
    efa_interfaces: int
    """The most EFA interfaces that it can have."""
    usd_per_h: float | None = None
    """On-demand price in `price_region` on the day `PRICES_OF`; None where it is not known."""
    price_region: str = "us-east-1"
    retired: str = ""
    """Since when it can no longer be rented; empty where it can."""
    capacity_blocks: bool = False
    """True if EC2 sells capacity blocks of it."""

    @property
    def efa(self) -> bool:
        """True if it can have EFA interfaces."""
        return self.efa_interfaces > 0

    @property
    def compute_capability(self) -> int | None:
        """NVIDIA's, times ten: 80 for an A100. None for a GPU that the table does not know."""
        return _CAPABILITY.get(self.gpu)

    @property
    def price_note(self) -> str:
        """Where its price is from and of which day."""
        return f"table of {PRICES_OF}, {self.price_region}" if not self.retired else f"the last price, {self.retired}"

    def interfaces(self, efa: bool | None) -> int:
        """Network interfaces of an instance under `fleet.efa`.

        With EFA on several cards there is one without EFA beside them, else there is one
        (docs.aws.amazon.com/AWSEC2/latest/UserGuide/efa-acc-inst-types.html).
        """
        return 1 + self.efa_interfaces if self.network_cards > 1 and self.efa and efa is not False else 1


def _types() -> dict[str, InstanceType]:
    types = {row[0]: InstanceType(*row, capacity_blocks=row[0][0] == "p" and row[2] != "V100") for row in _ROWS}
    retired = InstanceType("p3.16xlarge", 8, "V100", 16, 64, 488, 25, 1, 0, 24.48, retired="retired in spring 2026")
    west = InstanceType("p6-b300.48xlarge", 8, "B300", 268.6, 192, 4096, 6400, 17, 16, 142.416, "us-west-2", "", True)
    return {**types, retired.name: retired, west.name: west}


_Row = tuple[str, int, str, float, int, float, float, int, int, float | None]
_ROWS: tuple[_Row, ...] = (
    # name, GPUs, GPU, GiB of one, vCPUs, GiB, Gbit/s, network cards, EFA interfaces, dollars an hour
    ("p3dn.24xlarge", 8, "V100", 32, 96, 768, 100, 1, 1, 31.212),
    ("p4d.24xlarge", 8, "A100", 40, 96, 1152, 400, 4, 4, 21.957642),
    ("p4de.24xlarge", 8, "A100", 80, 96, 1152, 400, 4, 4, 27.4471),
    ("p5.4xlarge", 1, "H100", 80, 16, 256, 100, 1, 1, None),
    ("p5.48xlarge", 8, "H100", 80, 192, 2048, 3200, 32, 32, 55.04),
    ("p5e.48xlarge", 8, "H200", 141, 192, 2048, 3200, 32, 32, None),
    ("p5en.48xlarge", 8, "H200", 141, 192, 2048, 3200, 16, 16, 63.296),
    ("p6-b200.48xlarge", 8, "B200", 179.1, 192, 2048, 3200, 8, 8, 113.93),
    ("g4dn.xlarge", 1, "T4", 16, 4, 16, 5, 1, 0, 0.526),
    ("g4dn.2xlarge", 1, "T4", 16, 8, 32, 10, 1, 0, None),
    ("g4dn.4xlarge", 1, "T4", 16, 16, 64, 20, 1, 0, None),
    ("g4dn.8xlarge", 1, "T4", 16, 32, 128, 50, 1, 1, None),
    ("g4dn.12xlarge", 4, "T4", 16, 48, 192, 50, 1, 1, 3.912),
    ("g4dn.16xlarge", 1, "T4", 16, 64, 256, 50, 1, 1, None),
    ("g4dn.metal", 8, "T4", 16, 96, 384, 100, 1, 1, None),
    ("g5.xlarge", 1, "A10G", 22.4, 4, 16, 2.5, 1, 0, 1.006),
    ("g5.2xlarge", 1, "A10G", 22.4, 8, 32, 5, 1, 0, 1.212),
    ("g5.4xlarge", 1, "A10G", 22.4, 16, 64, 10, 1, 0, None),
    ("g5.8xlarge", 1, "A10G", 22.4, 32, 128, 25, 1, 1, None),
    ("g5.12xlarge", 4, "A10G", 22.4, 48, 192, 40, 1, 1, 5.672),
    ("g5.16xlarge", 1, "A10G", 22.4, 64, 256, 25, 1, 1, None),
    ("g5.24xlarge", 4, "A10G", 22.4, 96, 384, 50, 1, 1, None),
    ("g5.48xlarge", 8, "A10G", 22.4, 192, 768, 100, 1, 1, 16.288),
    ("g6.xlarge", 1, "L4", 22.4, 4, 16, 2.5, 1, 0, 0.8048),
    ("g6.2xlarge", 1, "L4", 22.4, 8, 32, 5, 1, 0, None),
    ("g6.4xlarge", 1, "L4", 22.4, 16, 64, 10, 1, 0, None),
    ("g6.8xlarge", 1, "L4", 22.4, 32, 128, 25, 1, 1, None),
    ("g6.12xlarge", 4, "L4", 22.4, 48, 192, 40, 1, 1, None),
    ("g6.16xlarge", 1, "L4", 22.4, 64, 256, 25, 1, 1, None),
    ("g6.24xlarge", 4, "L4", 22.4, 96, 384, 50, 1, 1, None),
    ("g6.48xlarge", 8, "L4", 22.4, 192, 768, 100, 1, 1, 13.3504),
    ("g6e.xlarge", 1, "L40S", 44.7, 4, 32, 2.5, 1, 0, 1.861),
    ("g6e.2xlarge", 1, "L40S", 44.7, 8, 64, 5, 1, 0, None),
    ("g6e.4xlarge", 1, "L40S", 44.7, 16, 128, 20, 1, 0, None),
    ("g6e.8xlarge", 1, "L40S", 44.7, 32, 256, 25, 1, 1, 4.52856),
    ("g6e.12xlarge", 4, "L40S", 44.7, 48, 384, 100, 1, 1, 10.49264),
    ("g6e.16xlarge", 1, "L40S", 44.7, 64, 512, 35, 1, 1, 7.57719),
    ("g6e.24xlarge", 4, "L40S", 44.7, 96, 768, 200, 2, 2, 15.06559),
    ("g6e.48xlarge", 8, "L40S", 44.7, 192, 1536, 400, 4, 4, 30.1312),
    ("g7e.2xlarge", 1, "RTX PRO 6000", 96, 8, 64, 50, 1, 0, None),
    ("g7e.4xlarge", 1, "RTX PRO 6000", 96, 16, 128, 50, 1, 0, None),
    ("g7e.8xlarge", 1, "RTX PRO 6000", 96, 32, 256, 100, 1, 1, None),
    ("g7e.12xlarge", 2, "RTX PRO 6000", 96, 48, 512, 400, 1, 1, None),
    ("g7e.24xlarge", 4, "RTX PRO 6000", 96, 96, 1024, 800, 2, 2, None),
    ("g7e.48xlarge", 8, "RTX PRO 6000", 96, 192, 2048, 1600, 4, 4, None),
)
TYPES: Final = _types()
"""Every type of the table, by name."""


def find(name: str) -> InstanceType | None:
    """The type of this name; None where the table does not know it, which says nothing about EC2."""
    return TYPES.get(name)


def is_name(text: str) -> bool:
    """True if an instance type could have this name."""
    return _NAME.fullmatch(text) is not None


def alike(text: str) -> list[str]:
    """Names of the table that `text` may mean, the most similar first; at most three."""
    return difflib.get_close_matches(text, [name for name, known in TYPES.items() if not known.retired], 3, 0.7)


# --- what comes nearest ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Nearest:
    """A type that can replace another, and why it is proposed."""

    type: InstanceType
    reason: str


def nearest(wanted: InstanceType, offered: Collection[str] | None = None) -> tuple[Nearest, ...]:
    """The type that comes nearest to `wanted`, and the cheapest with as many GPUs if that is another one.

    Only types in `offered`, where that is known, and types that today's PyTorch runs on. They have as many GPUs as
    `wanted` or else the next larger number; of these the nearest is of the same line (P or G), then of the closest
    generation, has enough memory, and costs least.
    """
    able = [
        known
        for known in TYPES.values()
        if known.name != wanted.name
        and not known.retired
        and (known.compute_capability or 0) >= OLDEST_COMPUTE_CAPABILITY
        and (offered is None or known.name in offered)
        and known.gpus >= wanted.gpus
    ]
    if not able:
        return ()
    gpus = min(known.gpus for known in able)
    able = [known for known in able if known.gpus == gpus]

    def distance(known: InstanceType) -> tuple[float, ...]:
        generations = abs((known.compute_capability or 0) - (wanted.compute_capability or 0))
        short_gib = max(0.0, wanted.gpu_mem_gib - known.gpu_mem_gib)
        return known.name[0] != wanted.name[0], generations, short_gib, _price(known), known.vcpus

    first = min(able, key=distance)
    cheapest = min(able, key=_price)
    number = f"{gpus} GPU{'s' if gpus != 1 else ''}"
    found = [Nearest(first, f"{number} ({first.gpu}){' as it has' if gpus == wanted.gpus else ''}")]
    if cheapest.name != first.name and cheapest.usd_per_h is not None:
        found.append(Nearest(cheapest, f"the cheapest with {number} ({cheapest.gpu})"))
    return tuple(found)


def _price(known: InstanceType) -> float:
    # A type without a known price comes last and is never called the cheapest.
    return known.usd_per_h if known.usd_per_h is not None else float("inf")


# --- quotas ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit on the vCPUs that an account may have running in a region."""

    code: str
    """Code in Service Quotas, service ``ec2``."""
    name: str


P_ON_DEMAND: Final = Quota("L-417A185B", "Running On-Demand P instances")
P_SPOT: Final = Quota("L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests")
P5_SPOT: Final = Quota("L-C4BD4855", "All P5 Spot Instance Requests")
G_ON_DEMAND: Final = Quota("L-DB2E81BA", "Running On-Demand G and VT instances")
G_SPOT: Final = Quota("L-3819A6DF", "All G and VT Spot Instance Requests")


def quota(name: str, market: str) -> Quota | None:
    """The quota that a type counts against in a market, ``spot`` or ``on-demand``.

    None where it is not known: for types other than P and G, and for P6 on spot, whose quota AWS does not document.
    (Names and codes: docs.aws.amazon.com/general/latest/gr/ec2-service.html.)
    """
    family = re.match(r"(p|g)(\d+)", name)
    if family is None:
        return None
    if family[1] == "g":
        return G_SPOT if market == "spot" else G_ON_DEMAND
    if market != "spot":
        return P_ON_DEMAND
    generation = int(family[2])
    return P_SPOT if generation <= 4 else P5_SPOT if generation == 5 else None


# --- from EC2 --------------------------------------------------------------------------------------------------------


def from_ec2(said: Mapping[str, Any]) -> InstanceType:
    """The type in an item of a DescribeInstanceTypes answer, with the price of the table.

    Raises:
        KeyError: it is not of that form.
    """
    network, gpus = said["NetworkInfo"], said.get("GpuInfo", {}).get("Gpus", [])
    known = find(said["InstanceType"])
    return InstanceType(
        name=said["InstanceType"],
        gpus=sum(gpu["Count"] for gpu in gpus),
        gpu=_GPU_NAMES.get(gpus[0]["Name"], gpus[0]["Name"]) if gpus else "",
        gpu_mem_gib=round(gpus[0]["MemoryInfo"]["SizeInMiB"] / 1024, 1) if gpus else 0.0,
        vcpus=said["VCpuInfo"]["DefaultVCpus"],
        mem_gib=said["MemoryInfo"]["SizeInMiB"] / 1024,
        network_gbit_s=_gbit_s(network),
        network_cards=network.get("MaximumNetworkCards", 1),
        efa_interfaces=network.get("EfaInfo", {}).get("MaximumEfaInterfaces", 0) if network.get("EfaSupported") else 0,
        usd_per_h=known.usd_per_h if known else None,
        price_region=known.price_region if known else "us-east-1",
        capacity_blocks="capacity-block" in said.get("SupportedUsageClasses", ()),
    )


def _gbit_s(network: Mapping[str, Any]) -> float:
    """The rate in ``4x 100 Gigabit`` and ``3200 Gigabit``; for ``Up to 10 Gigabit`` what the first card sustains."""
    said = re.fullmatch(r"(?:(\d+)x )?(\d+(?:\.\d+)?) Gigabit", network.get("NetworkPerformance", ""))
    if said:
        return int(said[1] or 1) * float(said[2])
    cards = network.get("NetworkCards") or [{}]
    return float(cards[0].get("BaselineBandwidthInGbps", 0.0))
