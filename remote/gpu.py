"""A look at a host's NVIDIA GPUs through NVML, and through its GPM where the card has it (Hopper on).

NVML's utilisation is the share of time in which any kernel ran; a hung all-reduce reads 100. GPM's SM and tensor
activity say how busy the chip was, and are asked for where ``nvmlGpmQueryDeviceSupport`` says yes. What a card does
not tell is None. Without pynvml or a driver there are no GPUs here, and `why` says which of the two it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from remote.events import Numbers

MIB = 1024 * 1024


class GpuMeter:
    """All GPUs of the host."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.why = ""
        """Why there are none; empty where there are some."""
        self._handles: list[Any] = []
        self._gpm: dict[int, Any] = {}
        try:
            import pynvml
        except ImportError:
            self.why = "nvidia-ml-py (pynvml) is not installed for this Python"
            return
        self._nvml: Any = pynvml
        try:
            pynvml.nvmlInit()
            count = pynvml.nvmlDeviceGetCount()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
            names = [pynvml.nvmlDeviceGetName(handle) for handle in self._handles]
            self.names = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)
        except pynvml.NVMLError as error:
            self.why = f"NVML: {error}"
            self._handles = []
            return
        for index, handle in enumerate(self._handles):
            support = self._ask(pynvml.nvmlGpmQueryDeviceSupport, handle)
            if support is not None and support.isSupportedDevice:
                self._gpm[index] = self._ask(self._gpm_sample, handle)

    def read(self) -> dict[str, Numbers]:
        """The GPU fields of a ``HostSampled``; empty where there are no GPUs."""
        if not self._handles:
            return {}
        nvml = self._nvml
        each: dict[str, Callable[[Any], float]] = {
            "gpu_util_pct": lambda handle: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu),
            "gpu_mem_used_mib": lambda handle: nvml.nvmlDeviceGetMemoryInfo(handle).used / MIB,
            "gpu_mem_total_mib": lambda handle: nvml.nvmlDeviceGetMemoryInfo(handle).total / MIB,
            "gpu_power_w": lambda handle: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
            "gpu_temp_c": lambda handle: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            "gpu_sm_clock_mhz": lambda handle: float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
        }
        values: dict[str, Numbers] = {
            name: tuple(self._ask(question, handle) for handle in self._handles) for name, question in each.items()
        }
        if self._gpm:
            activity = [self._activity(index, handle) for index, handle in enumerate(self._handles)]
            values["gpu_sm_util_pct"] = tuple(one[0] for one in activity)
            values["gpu_tensor_util_pct"] = tuple(one[1] for one in activity)
        return values

    def _ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return question(*arguments)
        except self._nvml.NVMLError:
            return None

    def _gpm_sample(self, handle: Any) -> Any:
        sample = self._nvml.nvmlGpmSampleAlloc()
        self._nvml.nvmlGpmSampleGet(handle, sample)
        return sample

    def _activity(self, index: int, handle: Any) -> tuple[float | None, float | None]:
        """(SM utilisation %, any tensor core utilisation %) since the last look."""
        before, nvml = self._gpm.get(index), self._nvml
        after = self._ask(self._gpm_sample, handle) if before is not None else None
        if after is None:
            return None, None
        question = nvml.c_nvmlGpmMetricsGet_t()
        question.version = nvml.NVML_GPM_METRICS_GET_VERSION
        question.numMetrics = 2
        question.sample1, question.sample2 = before, after
        question.metrics[0].metricId = nvml.NVML_GPM_METRIC_SM_UTIL
        question.metrics[1].metricId = nvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL
        answer = self._ask(nvml.nvmlGpmMetricsGet, question)
        self._ask(nvml.nvmlGpmSampleFree, before)
        self._gpm[index] = after
        if answer is None:
            return None, None
        said = [one.value if one.nvmlReturn == nvml.NVML_SUCCESS else None for one in question.metrics[:2]]
        return said[0], said[1]
