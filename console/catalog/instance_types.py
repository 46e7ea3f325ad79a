"""EC2's GPU instance types as a table of a day: what each has, what it costs, and what comes nearest to one.

Pure. The hardware is what EC2's DescribeInstanceTypes says (a test holds the table against a copy of its answers), the
prices are those of AWS's price list for us-east-1, Linux, shared tenancy. A price of the table is the answer only where
AWS cannot be asked, and whoever shows it shows its day.
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
"""EC2's names of GPUs that others write differently."""


@dataclass(frozen=True, slots=True)
class InstanceType:
    """A type of instance; its GPUs are all of one kind."""

    name: str
    gpus: int
    gpu: str
    """As `run.accelerator` of a profile names it, for example ``A100``; empty where it has none."""
    gpu_mem_gib: float
    """Of one GPU, as EC2 states it: a card of "24 GB" has 22.4."""
    vcpus: int
    mem_gib: float
    network_gbit_s: float
    """All cards together; of a type with "up to" so much, what it sustains."""
    network_cards: int
    efa_interfaces: int
    """How many EFA interfaces it may have; 0: none."""
    usd_per_h: float | None = None
    """On demand in `price_region` on the day `PRICES_OF`; None where that is not known."""
    price_region: str = "us-east-1"
    retired: str = ""
    """Since when it cannot be rented any more; empty where it can."""
    capacity_blocks: bool = False
    """True where EC2 sells capacity blocks of it."""

    @property
    def efa(self) -> bool:
        """True where it can have EFA interfaces."""
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

        With EFA on several cards there is a plain one beside them (docs.aws.amazon.com/AWSEC2/latest/UserGuide/efa-acc-
        inst-types.html); else there is one.
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
    """True if a type could be called so."""
    return _NAME.fullmatch(text) is not None


def alike(text: str) -> list[str]:
    """Names of the table that `text` may have meant, the likeliest first; at most three."""
    return difflib.get_close_matches(text, [name for name, one in TYPES.items() if not one.retired], 3, 0.7)


# --- what comes nearest ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Nearest:
    """A type that can take another's place, and why it is proposed."""

    type: InstanceType
    reason: str


def nearest(wanted: InstanceType, offered: Collection[str] | None = None) -> tuple[Nearest, ...]:
    """What comes nearest to a type, and, where that is another, the cheapest with as many GPUs.

    Only of what `offered` names, where that is known, and of what today's PyTorch runs on. As many GPUs as `wanted`
    has or, where nothing has, the next larger number; among those the same line (P or G), the next generation, enough
    memory, the lower price.
    """
    able = [
        one
        for one in TYPES.values()
        if one.name != wanted.name
        and not one.retired
        and (one.compute_capability or 0) >= OLDEST_COMPUTE_CAPABILITY
        and (offered is None or one.name in offered)
        and one.gpus >= wanted.gpus
    ]
    if not able:
        return ()
    gpus = min(one.gpus for one in able)
    able = [one for one in able if one.gpus == gpus]

    def distance(one: InstanceType) -> tuple[float, ...]:
        generations = abs((one.compute_capability or 0) - (wanted.compute_capability or 0))
        short_gib = max(0.0, wanted.gpu_mem_gib - one.gpu_mem_gib)
        return one.name[0] != wanted.name[0], generations, short_gib, _price(one), one.vcpus

    first = min(able, key=distance)
    cheapest = min(able, key=_price)
    number = f"{gpus} GPU{'s' if gpus != 1 else ''}"
    found = [Nearest(first, f"{number} ({first.gpu}){' as it has' if gpus == wanted.gpus else ''}")]
    if cheapest.name != first.name and cheapest.usd_per_h is not None:
        found.append(Nearest(cheapest, f"the cheapest with {number} ({cheapest.gpu})"))
    return tuple(found)


def _price(one: InstanceType) -> float:
    # One without a known price comes last and is never called the cheapest.
    return one.usd_per_h if one.usd_per_h is not None else float("inf")


# --- quotas ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit on the vCPUs that an account may have running in a region."""

    code: str
    """Of Service Quotas, service ``ec2``."""
    name: str


P_ON_DEMAND: Final = Quota("L-417A185B", "Running On-Demand P instances")
P_SPOT: Final = Quota("L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests")
P5_SPOT: Final = Quota("L-C4BD4855", "All P5 Spot Instance Requests")
G_ON_DEMAND: Final = Quota("L-DB2E81BA", "Running On-Demand G and VT instances")
G_SPOT: Final = Quota("L-3819A6DF", "All G and VT Spot Instance Requests")


def quota(name: str, market: str) -> Quota | None:
    """The quota that a type counts against in a market, ``spot`` or ``on-demand``.

    None where it is not known: of types other than P and G, and of P6 on spot, whose quota AWS's documents do not name.
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
    """The type in one item of DescribeInstanceTypes, its price that of the table.

    Raises:
        KeyError: it is not of that form.
    """
    network, gpus = said["NetworkInfo"], said.get("GpuInfo", {}).get("Gpus", [])
    known = find(said["InstanceType"])
    return InstanceType(
        name=said["InstanceType"],
        gpus=sum(one["Count"] for one in gpus),
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
    """``4x 100 Gigabit`` and ``3200 Gigabit`` as they say; of ``Up to 10 Gigabit`` what the first card sustains."""
    said = re.fullmatch(r"(?:(\d+)x )?(\d+(?:\.\d+)?) Gigabit", network.get("NetworkPerformance", ""))
    if said:
        return int(said[1] or 1) * float(said[2])
    cards = network.get("NetworkCards") or [{}]
    return float(cards[0].get("BaselineBandwidthInGbps", 0.0))
