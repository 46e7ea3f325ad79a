"""Samples of a host's NVIDIA GPUs from NVML, and from its GPM where the card has it (since Hopper).

NVML's utilisation is the share of time in which any kernel ran; a hung all-reduce reads 100. GPM's SM, tensor and
memory activity say how busy the chip was, and are read where ``nvmlGpmQueryDeviceSupport`` says yes. What a card does
not support is None, and is not asked for again. Without pynvml or a driver there are no GPUs here, and `why` says which
of the two is missing.

Standard library and pynvml only.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from remote.wire.events import Numbers

MIB = 1024 * 1024
SLOW_S = 10.0
"""Interval for values that do not change with the load: power limit, ECC errors, remapped rows."""
_MAX_XIDS = 32
"""Faults taken at once: a card that falls off the bus can report without end."""

CLOCK_REASONS: Final = {
    0x001: "gpu_idle",
    0x002: "applications_clocks_setting",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal_slowdown",
    0x040: "hw_thermal_slowdown",
    0x080: "hw_power_brake_slowdown",
    0x100: "display_clocks_setting",
    0x200: "board_limit",
    0x400: "reliability",
}
"""Bits of ``nvmlDeviceGetCurrentClocksEventReasons`` (nvml.h, nvmlClocksEventReason*), named as nvidia-smi does."""

Texts = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Xid:
    """A fault that the driver reported: NVIDIA's table of Xid errors says what the number means."""

    gpu: int
    xid: int


class GpuMeter:
    """All GPUs of the host."""

    def __init__(self, nvml: Any = None) -> None:
        """`nvml`: an object with the functions of ``pynvml``; by default that module."""
        self.names: tuple[str, ...] = ()
        self.why = ""
        """Why there are no GPUs; empty where there are some."""
        self.driver: str | None = None
        self.cuda: str | None = None
        """The newest version of CUDA that the driver supports."""
        self._handles: list[Any] = []
        self._gpm: dict[int, Any] = {}
        self._mute: set[tuple[Callable[..., Any], int]] = set()
        self._slow: dict[str, Numbers | Texts] = {}
        self._slow_at = float("-inf")
        self._events: Any = None
        if nvml is None:
            try:
                nvml = importlib.import_module("pynvml")
            except ImportError:
                self.why = "nvidia-ml-py (pynvml) is not installed for this Python"
                return
        self._nvml: Any = nvml
        try:
            nvml.nvmlInit()
            count = nvml.nvmlDeviceGetCount()
            self._handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
            self.names = tuple(_text(nvml.nvmlDeviceGetName(handle)) for handle in self._handles)
        except nvml.NVMLError as error:
            self.why = f"NVML: {error}"
            self._handles = []
            return
        self._read_driver()
        for index, handle in enumerate(self._handles):
            if self._has_gpm(handle):
                self._gpm[index] = self._first_gpm_sample(handle)
        self._listen()

    def _read_driver(self) -> None:
        driver = self._ask(lambda: self._nvml.nvmlSystemGetDriverVersion())
        self.driver = None if driver is None else _text(driver)
        cuda = self._ask(lambda: self._nvml.nvmlSystemGetCudaDriverVersion())
        self.cuda = None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}"

    # --- samples ---

    def read(self) -> dict[str, Any]:
        """The GPU fields of a ``HostSampled``; empty where there are no GPUs."""
        if not self._handles:
            return {}
        values: dict[str, Any] = {
            "gpu_util_pct": self._each(self._util_pct),
            "gpu_power_w": self._each(self._power_w),
            "gpu_temp_c": self._each(self._temp_c),
            "gpu_sm_clock_mhz": self._each(self._sm_clock_mhz),
            "gpu_mem_clock_mhz": self._each(self._mem_clock_mhz),
            "gpu_throttle": self._each(self._throttle),
        }
        memory = self._each(self._memory_mib)
        values["gpu_mem_used_mib"] = tuple(None if mib is None else mib[0] for mib in memory)
        values["gpu_mem_total_mib"] = tuple(None if mib is None else mib[1] for mib in memory)
        if time.monotonic() - self._slow_at >= SLOW_S:
            self._slow_at = time.monotonic()
            self._slow = {
                "gpu_power_limit_w": self._each(self._power_limit_w),
                "gpu_ecc_uncorrected": self._each(self._ecc_uncorrected),
                "gpu_remapped_rows": self._each(self._remapped_rows),
                "gpu_row_remap": self._each(self._row_remap),
            }
        values |= self._slow
        if self._gpm:
            activity = [self._activity(index, handle) for index, handle in enumerate(self._handles)]
            values["gpu_sm_util_pct"] = tuple(sm for sm, _, _ in activity)
            values["gpu_tensor_util_pct"] = tuple(tensor for _, tensor, _ in activity)
            values["gpu_mem_bw_util_pct"] = tuple(bandwidth for _, _, bandwidth in activity)
        # A value that no card has is left out of the journal.
        known = {name: each for name, each in values.items() if any(value is not None for value in each)}
        return {"gpu_util_pct": values["gpu_util_pct"], **known}

    def xids(self) -> list[Xid]:
        """The faults since the last call; returns at once."""
        found: list[Xid] = []
        while self._events is not None and len(found) < _MAX_XIDS:
            try:
                data = self._nvml.nvmlEventSetWait_v2(self._events, 0)
                if data.eventType == self._nvml.nvmlEventTypeXidCriticalError:
                    found.append(Xid(int(self._nvml.nvmlDeviceGetIndex(data.device)), int(data.eventData)))
            except self._nvml.NVMLError as error:
                if not isinstance(error, self._nvml.NVMLError_Timeout):
                    # The card or the driver is gone: what was found is kept, and nothing more is asked.
                    self._events = None
                break
        return found

    def _listen(self) -> None:
        events = self._ask(lambda: self._nvml.nvmlEventSetCreate())
        xid = getattr(self._nvml, "nvmlEventTypeXidCriticalError", None)
        for handle in self._handles if events is not None and xid is not None else ():
            try:
                self._nvml.nvmlDeviceRegisterEvents(handle, xid, events)
                self._events = events
            except self._nvml.NVMLError:
                continue

    def _each(self, question: Callable[[Any], Any]) -> tuple[Any, ...]:
        """An answer from each card; one that does not support the question is not asked again."""
        answers: list[Any] = []
        for index, handle in enumerate(self._handles):
            answer = None
            if (question, index) not in self._mute:
                try:
                    answer = question(handle)
                except (self._nvml.NVMLError_NotSupported, self._nvml.NVMLError_FunctionNotFound, AttributeError):
                    # AttributeError: an older pynvml does not have the function either.
                    self._mute.add((question, index))
                except self._nvml.NVMLError:
                    pass
            answers.append(answer)
        return tuple(answers)

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except (self._nvml.NVMLError, AttributeError):
            return None

    # --- questions to a card ---

    def _util_pct(self, handle: Any) -> float:
        return float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu)

    def _memory_mib(self, handle: Any) -> tuple[float, float]:
        memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        return round(memory.used / MIB, 1), round(memory.total / MIB, 1)

    def _power_w(self, handle: Any) -> float:
        return round(self._nvml.nvmlDeviceGetPowerUsage(handle) / 1000, 1)

    def _temp_c(self, handle: Any) -> float:
        return float(self._nvml.nvmlDeviceGetTemperature(handle, self._nvml.NVML_TEMPERATURE_GPU))

    def _sm_clock_mhz(self, handle: Any) -> float:
        return float(self._nvml.nvmlDeviceGetClockInfo(handle, self._nvml.NVML_CLOCK_SM))

    def _mem_clock_mhz(self, handle: Any) -> float:
        return float(self._nvml.nvmlDeviceGetClockInfo(handle, self._nvml.NVML_CLOCK_MEM))

    def _throttle(self, handle: Any) -> str:
        nvml = self._nvml
        # The name since driver 535; the older function is the same.
        ask = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
        try:
            bits = int(ask(handle) if ask else nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
        except nvml.NVMLError_FunctionNotFound:
            bits = int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
        return clock_reasons(bits)

    def _power_limit_w(self, handle: Any) -> float:
        return round(self._nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000, 1)

    def _ecc_uncorrected(self, handle: Any) -> float:
        nvml = self._nvml
        return float(
            nvml.nvmlDeviceGetTotalEccErrors(handle, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC)
        )

    def _remapped_rows(self, handle: Any) -> float:
        corrected, uncorrected, _, _ = self._nvml.nvmlDeviceGetRemappedRows(handle)
        return float(corrected + uncorrected)

    def _row_remap(self, handle: Any) -> str:
        _, _, pending, failed = self._nvml.nvmlDeviceGetRemappedRows(handle)
        return "failed" if failed else "pending" if pending else ""

    def _has_gpm(self, handle: Any) -> bool:
        support = self._ask(lambda: self._nvml.nvmlGpmQueryDeviceSupport(handle))
        return support is not None and bool(support.isSupportedDevice)

    def _first_gpm_sample(self, handle: Any) -> Any:
        return self._ask(lambda: self._gpm_sample(handle))

    def _gpm_sample(self, handle: Any) -> Any:
        sample = self._nvml.nvmlGpmSampleAlloc()
        try:
            self._nvml.nvmlGpmSampleGet(handle, sample)
        except self._nvml.NVMLError:
            self._nvml.nvmlGpmSampleFree(sample)
            raise
        return sample

    def _activity(self, index: int, handle: Any) -> Numbers:
        """(SM utilisation, any tensor core utilisation, DRAM bandwidth utilisation) in % since the last sample."""
        before, nvml = self._gpm.get(index), self._nvml
        after = self._ask(lambda: self._gpm_sample(handle)) if before is not None else None
        if after is None:
            return None, None, None
        metrics = (
            nvml.NVML_GPM_METRIC_SM_UTIL,
            nvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL,
            nvml.NVML_GPM_METRIC_DRAM_BW_UTIL,
        )
        question = nvml.c_nvmlGpmMetricsGet_t()
        question.version = nvml.NVML_GPM_METRICS_GET_VERSION
        question.numMetrics = len(metrics)
        question.sample1, question.sample2 = before, after
        for number, metric in enumerate(metrics):
            question.metrics[number].metricId = metric
        answered = self._answered(lambda: nvml.nvmlGpmMetricsGet(question))
        self._ask(lambda: nvml.nvmlGpmSampleFree(before))
        self._gpm[index] = after
        if not answered:
            return None, None, None
        answers = question.metrics[: len(metrics)]
        return tuple(round(answer.value, 1) if answer.nvmlReturn == nvml.NVML_SUCCESS else None for answer in answers)

    def _answered(self, question: Callable[[], Any]) -> bool:
        try:
            question()
        except (self._nvml.NVMLError, AttributeError):
            return False
        return True


def clock_reasons(bits: int) -> str:
    """The reasons for lowered clocks, names joined by ``+``; empty where there is none."""
    named = [name for bit, name in CLOCK_REASONS.items() if bits & bit]
    rest = bits & ~sum(CLOCK_REASONS)
    return "+".join([*named, hex(rest)] if rest else named)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
