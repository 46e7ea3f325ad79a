"""What a host says of its GPUs, from a small driver; from none; and from a real one where the machine has it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_nvml import Card, Driver, GpuIsLost

from remote.agent.gpu import GpuMeter, Xid, clock_reasons
from remote.wire import codec
from remote.wire import events as re

ROOT = Path(__file__).resolve().parent.parent


def test_everything_that_a_card_says() -> None:
    meter = GpuMeter(Driver([Card(), Card(name=b"NVIDIA H100", reasons=0x60, rows=(2, 3, 1, 0), ecc=4)]))
    assert meter.names == ("NVIDIA H100 80GB HBM3", "NVIDIA H100")
    assert (meter.driver, meter.cuda) == ("570.86.15", "12.8")
    assert meter.read() == {
        "gpu_util_pct": (97.0, 97.0),
        "gpu_mem_used_mib": (61_000.0, 61_000.0),
        "gpu_mem_total_mib": (81_559.0, 81_559.0),
        "gpu_power_w": (612.3, 612.3),
        "gpu_power_limit_w": (700.0, 700.0),
        "gpu_temp_c": (64.0, 64.0),
        "gpu_sm_clock_mhz": (1755.0, 1755.0),
        "gpu_mem_clock_mhz": (2619.0, 2619.0),
        "gpu_throttle": ("sw_power_cap", "sw_thermal_slowdown+hw_thermal_slowdown"),
        "gpu_ecc_uncorrected": (0.0, 4.0),
        "gpu_remapped_rows": (1.0, 5.0),
        "gpu_row_remap": ("", "pending"),
        "gpu_sm_util_pct": (71.3, 71.3),
        "gpu_tensor_util_pct": (38.0, 38.0),
        "gpu_mem_bw_util_pct": (44.4, 44.4),
    }


def test_what_it_says_is_an_event_that_comes_back_from_its_line() -> None:
    event = re.HostSampled(cpu_util_pct=1.0, mem_used_mib=2.0, mem_total_mib=3.0, **GpuMeter(Driver()).read())
    assert codec.decode(json.loads(codec.encode(event, 1.0)), re.REMOTE) == event


def test_what_a_card_does_not_say_is_not_asked_again_and_takes_no_room() -> None:
    driver = Driver([Card(gpm=None, ecc=None, rows=None), Card(gpm=None, ecc=None)])
    meter = GpuMeter(driver)
    for _ in range(3):
        meter._slow_at = float("-inf")
        read = meter.read()
    assert "gpu_ecc_uncorrected" not in read
    assert not [name for name in read if name.endswith(("sm_util_pct", "tensor_util_pct", "bw_util_pct"))]
    assert read["gpu_remapped_rows"] == (None, 1.0)
    assert driver.asked["nvmlDeviceGetTotalEccErrors"] == 2
    # The second card twice a look, for the rows and for what is to come; the first once each.
    assert driver.asked["nvmlDeviceGetRemappedRows"] == 2 + 6


def test_what_changes_seldom_is_asked_seldom_and_said_always() -> None:
    driver = Driver()
    meter = GpuMeter(driver)
    first, second = meter.read(), meter.read()
    assert first["gpu_power_limit_w"] == second["gpu_power_limit_w"] == (700.0, 700.0)
    assert driver.asked["nvmlDeviceGetEnforcedPowerLimit"] == 2
    assert driver.asked["nvmlDeviceGetPowerUsage"] == 4


def test_a_card_that_is_lost_is_unknown_and_asked_again() -> None:
    driver = Driver()
    meter = GpuMeter(driver)
    driver.cards[1].lost = True
    read = meter.read()
    assert read["gpu_util_pct"] == (97.0, None)
    assert read["gpu_sm_util_pct"] == (71.3, None)
    assert driver.samples == 2
    driver.cards[1].lost = False
    assert meter.read()["gpu_util_pct"] == (97.0, 97.0)


def test_an_older_driver_is_asked_by_the_older_name() -> None:
    assert GpuMeter(Driver([Card(reasons=0x80)], old=True)).read()["gpu_throttle"] == ("hw_power_brake_slowdown",)


def test_samples_of_gpm_are_given_back() -> None:
    driver = Driver()
    meter = GpuMeter(driver)
    for _ in range(5):
        meter.read()
    assert driver.samples == 2


def test_xids_are_told_once_and_others_left() -> None:
    driver = Driver()
    meter = GpuMeter(driver)
    assert meter.xids() == []
    driver.events = [(driver.cards[1], 8, 79), (driver.cards[0], 1, 3), (driver.cards[0], 8, 48)]
    assert meter.xids() == [Xid(1, 79), Xid(0, 48)]
    assert meter.xids() == []


def test_xids_without_end_do_not_hold_up_the_agent() -> None:
    driver = Driver()
    meter = GpuMeter(driver)
    driver.events = [(driver.cards[0], 8, 31)] * 1000
    assert len(meter.xids()) == 32
    assert len(meter.xids()) == 32


def test_a_driver_that_is_gone_is_not_listened_to_any_more() -> None:
    driver = Driver()
    meter = GpuMeter(driver)
    driver.events = [(driver.cards[0], 8, 79), GpuIsLost("GPU is lost"), (driver.cards[0], 8, 1)]
    assert meter.xids() == [Xid(0, 79)]
    assert meter.xids() == []


@pytest.mark.parametrize(
    ("bits", "wanted"),
    [
        (0, ""),
        (0x1, "gpu_idle"),
        (0x4 | 0x20, "sw_power_cap+sw_thermal_slowdown"),
        (0x1000 | 0x8, "hw_slowdown+0x1000"),
    ],
)
def test_clock_reasons_are_called_as_nvidia_smi_calls_them(bits: int, wanted: str) -> None:
    assert clock_reasons(bits) == wanted


def test_the_names_are_those_of_the_binding() -> None:
    """Each bit that the installed pynvml knows has a name here."""
    pynvml = pytest.importorskip("pynvml")
    bits = {
        value
        for name, value in vars(pynvml).items()
        if name.startswith(("nvmlClocksEventReason", "nvmlClocksThrottleReason"))
        and isinstance(value, int)
        and not name.endswith(("All", "None"))
    }
    assert bits
    assert not [hex(bit) for bit in bits if "0x" in clock_reasons(bit)]


# --- no small driver -------------------------------------------------------------------------------------------------


def gpus_of(program: str) -> list[str]:
    """(why, names, what is read) of a GpuMeter in a fresh interpreter in which `program` ran before."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{program}\nfrom remote.agent.gpu import GpuMeter; m = GpuMeter(); "
            "print(m.why, m.names, m.read(), m.xids(), sep='|')",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip().split("|")


def test_without_pynvml_there_are_no_gpus_and_a_reason() -> None:
    # As on a host on which nvidia-ml-py is not installed: the import system does not find it.
    why, names, read, xids = gpus_of("import sys; sys.modules['pynvml'] = None")
    assert why == "nvidia-ml-py (pynvml) is not installed for this Python"
    assert (names, read, xids) == ("()", "{}", "[]")


def test_without_a_driver_there_are_no_gpus_and_a_reason() -> None:
    pytest.importorskip("pynvml")
    if GpuMeter().names:
        pytest.skip("this machine has GPUs")
    why, names, read, xids = gpus_of("")
    assert why.startswith("NVML: ")
    assert len(why) > len("NVML: ")
    assert (names, read, xids) == ("()", "{}", "[]")


def test_gpus_where_there_are_some() -> None:
    meter = GpuMeter()
    if not meter.names:
        pytest.skip(f"no GPUs: {meter.why}")
    read = meter.read()
    assert meter.why == ""
    assert all(len(values) == len(meter.names) for values in read.values())
    assert all(total is None or total > 1000 for total in read["gpu_mem_total_mib"])
