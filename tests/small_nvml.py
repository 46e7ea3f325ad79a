"""A driver with a few cards, in the shape of the module ``pynvml``: what `GpuMeter` asks, and nothing besides.

Every question that a card does not support raises as the real binding does. What was asked is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


class NVMLError(Exception):
    """The binding's base class."""


class NotSupported(NVMLError):
    """The card has no such thing."""


class FunctionNotFound(NVMLError):
    """The driver is older than the question."""


class Timeout(NVMLError):
    """No event came."""


class GpuIsLost(NVMLError):
    """The card has fallen off the bus."""


@dataclass
class Card:
    """A GPU; what is None it does not support."""

    name: str | bytes = "NVIDIA H100 80GB HBM3"
    util: int = 97
    used: int = 61_000 << 20
    total: int = 81_559 << 20
    power_mw: int = 612_340
    limit_mw: int = 700_000
    temp: int = 64
    sm_mhz: int = 1755
    mem_mhz: int = 2619
    reasons: int = 0x4
    ecc: int | None = 0
    rows: tuple[int, int, int, int] | None = (1, 0, 0, 0)
    gpm: tuple[float, float, float] | None = (71.26, 38.0, 44.4)
    """SM, any tensor core, DRAM bandwidth, %."""
    lost: bool = False


@dataclass
class Driver:
    """The module."""

    cards: list[Card] = field(default_factory=lambda: [Card(), Card()])
    old: bool = False
    """Before driver 535: the clocks event reasons have their old name."""
    events: list[Any] = field(default_factory=list)
    """(card, type, data) or an error, oldest first."""
    asked: Counter[str] = field(default_factory=Counter)
    samples: int = 0
    """GPM samples that are allocated now."""

    NVMLError = NVMLError
    NVMLError_NotSupported = NotSupported
    NVMLError_FunctionNotFound = FunctionNotFound
    NVMLError_Timeout = Timeout
    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 1
    NVML_VOLATILE_ECC = 0
    NVML_SUCCESS = 0
    NVML_GPM_METRICS_GET_VERSION = 1
    NVML_GPM_METRIC_SM_UTIL = 2
    NVML_GPM_METRIC_ANY_TENSOR_UTIL = 5
    NVML_GPM_METRIC_DRAM_BW_UTIL = 10
    nvmlEventTypeXidCriticalError = 8  # noqa: N815

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """`nvmlX` is the method `_X`, counted, with the errors that hold for every question."""
        if not name.startswith("nvml"):
            raise AttributeError(name)
        answer = getattr(type(self), "_" + name.removeprefix("nvml"), None)
        if answer is None:
            raise AttributeError(name)

        def question(*arguments: Any) -> Any:
            self.asked[name] += 1
            if arguments and isinstance(arguments[0], Card) and arguments[0].lost:
                raise GpuIsLost("GPU is lost")
            said = answer(self, *arguments)
            if said is None:
                raise NotSupported("Not Supported")
            return said

        return question

    def _Init(self) -> bool:
        return True

    def _DeviceGetCount(self) -> int:
        return len(self.cards)

    def _DeviceGetHandleByIndex(self, index: int) -> Card:
        return self.cards[index]

    def _DeviceGetIndex(self, card: Card) -> int:
        return next(place for place, one in enumerate(self.cards) if one is card)

    def _DeviceGetName(self, card: Card) -> str | bytes:
        return card.name

    def _SystemGetDriverVersion(self) -> str:
        return "570.86.15"

    def _SystemGetCudaDriverVersion(self) -> int:
        return 12080

    def _DeviceGetUtilizationRates(self, card: Card) -> Any:
        return SimpleNamespace(gpu=card.util, memory=40)

    def _DeviceGetMemoryInfo(self, card: Card) -> Any:
        return SimpleNamespace(used=card.used, total=card.total)

    def _DeviceGetPowerUsage(self, card: Card) -> int:
        return card.power_mw

    def _DeviceGetEnforcedPowerLimit(self, card: Card) -> int:
        return card.limit_mw

    def _DeviceGetTemperature(self, card: Card, sensor: int) -> int:
        return card.temp

    def _DeviceGetClockInfo(self, card: Card, clock: int) -> int:
        return {self.NVML_CLOCK_SM: card.sm_mhz, self.NVML_CLOCK_MEM: card.mem_mhz}[clock]

    def _DeviceGetCurrentClocksEventReasons(self, card: Card) -> int:
        if self.old:
            raise FunctionNotFound("Function Not Found")
        return card.reasons

    def _DeviceGetCurrentClocksThrottleReasons(self, card: Card) -> int:
        return card.reasons

    def _DeviceGetTotalEccErrors(self, card: Card, kind: int, counter: int) -> int | None:
        return card.ecc

    def _DeviceGetRemappedRows(self, card: Card) -> tuple[int, int, int, int] | None:
        return card.rows

    def _GpmQueryDeviceSupport(self, card: Card) -> Any:
        return SimpleNamespace(isSupportedDevice=int(card.gpm is not None))

    def _GpmSampleAlloc(self) -> Any:
        self.samples += 1
        return SimpleNamespace(card=None)

    def _GpmSampleGet(self, card: Card, sample: Any) -> bool:
        sample.card = card
        return True

    def _GpmSampleFree(self, sample: Any) -> bool:
        self.samples -= 1
        return True

    @staticmethod
    def c_nvmlGpmMetricsGet_t() -> Any:
        """A question with room for a few metrics."""
        metrics = [SimpleNamespace(metricId=0, nvmlReturn=1, value=0.0) for _ in range(8)]
        return SimpleNamespace(version=0, numMetrics=0, sample1=None, sample2=None, metrics=metrics)

    def _GpmMetricsGet(self, question: Any) -> bool:
        said = dict(zip((2, 5, 10), question.sample2.card.gpm, strict=True))
        for one in question.metrics[: question.numMetrics]:
            one.nvmlReturn, one.value = 0, said[one.metricId]
        return True

    def _EventSetCreate(self) -> str:
        return "events"

    def _DeviceRegisterEvents(self, card: Card, kind: int, events: str) -> bool:
        return True

    def _EventSetWait_v2(self, events: str, timeout_ms: int) -> Any:
        assert timeout_ms == 0, "the agent's loop waits for no event"
        if not self.events:
            raise Timeout("Timeout")
        event = self.events.pop(0)
        if isinstance(event, NVMLError):
            raise event
        card, kind, data = event
        return SimpleNamespace(device=card, eventType=kind, eventData=data)
