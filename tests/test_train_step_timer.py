"""Where a rank's time goes: marks in a step, and who waits for whom."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import gang
import pytest
import torch
from torch import nn

from remote.model import flops, resnet
from remote.rank_env import RankEnv
from remote.train import step_timer
from remote.wire.events import PhaseStarted, RankProgressed, TrainingStarted
from remote.wire.journal import Journal
from remote.wire.layout import JOURNAL

CPU = RankEnv(rank=0, local_rank=0, world_size=1, device=torch.device("cpu"))


def test_a_step_in_parts_is_said_once_a_second(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    journal = Journal(tmp_path / JOURNAL)
    one = step_timer.Meter(CPU, journal)
    for step in range(1, 5):
        began = now
        now += 0.05  # waits for its pictures
        marks = one.marks()
        for moment, seconds in enumerate((0.0, 0.2, 0.1, 0.05)):
            now += seconds
            marks.mark(moment)
        one.stepped(marks, step, 32, now - began, 0.05)
    [said] = gang.said(tmp_path, RankProgressed)  # after the third step 1.2 s are over
    assert (said.step, said.img_per_s) == (3, pytest.approx(96 / 1.2))
    assert (said.step_s, said.data_s) == (pytest.approx(0.4), pytest.approx(0.05))
    assert (said.compute_s, said.optimizer_s) == (pytest.approx(0.3), pytest.approx(0.05))
    assert said.allreduce_s == 0.0  # nobody to wait for
    assert said.mem_used_mib is not None
    assert 0 < said.mem_used_mib <= said.mem_peak_mib + 1
    assert said.mem_reserved_mib is None


def test_what_was_measured_before_a_pause_is_forgotten(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    one = step_timer.Meter(CPU, Journal(tmp_path / JOURNAL))
    marks = one.marks()
    for moment in range(4):
        now += 0.2
        marks.mark(moment)
    one.stepped(marks, 1, 32, 0.8, 0.0)
    now += 600
    one.forget()
    marks = one.marks()
    for moment in range(4):
        marks.mark(moment)
        now += 0.4
    one.stepped(marks, 2, 32, 1.6, 0.0)
    [said] = gang.said(tmp_path, RankProgressed)
    assert said.img_per_s == pytest.approx(32 / 1.6)
    assert said.optimizer_s == pytest.approx(0.4)


def _steps(rank: int, port: int, pieces: list[int], answers: Any) -> None:
    import torch.distributed as dist

    from remote.model.learner import Learner

    os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    learner = Learner(gang.recipe(Path(), batch=4, epochs=1), RankEnv(rank, 0, 2, torch.device("cpu")), gang.CLASSES)
    learner.warm_up()
    pictures, labels = torch.zeros((4, 16, 16, 3), dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)
    learner.backward(pictures, labels)  # where DDP lays its buckets out anew, in the forward pass, all together
    learner.step(0.0, 0.9)
    order: list[str] = []
    for parameter in learner.model.parameters():
        parameter.register_post_accumulate_grad_hook(lambda parameter: order.append("gradient"))
    dist.barrier()
    marks = step_timer.Marks(cuda=False)

    def computed() -> None:
        order.append("computed")
        marks.computed()

    marks.mark(0)
    if rank == 1:
        time.sleep(1.0)  # a slow card
    learner.backward(pictures, labels, pieces, computed)
    marks.mark(2)
    marks.mark(3)
    answers.put((rank, (marks.seconds(), order)))
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.parametrize("pieces", [[4], [2, 2]], ids=["whole", "in pieces"])
def test_the_rank_that_is_early_waits_and_the_late_one_does_not(pieces):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    answers = gang.forks.Queue()
    ranks = [gang.forks.Process(target=_steps, args=(rank, port, pieces, answers)) for rank in (0, 1)]
    for rank in ranks:
        rank.start()
    found = dict(answers.get(timeout=60) for _ in ranks)
    for rank in ranks:
        rank.join(30)
    ((own, others, _), order), ((slow, waited, _), _) = found[0], found[1]
    assert order == ["gradient"] * (len(order) - 1) + ["computed"]  # after the last gradient of the last piece
    assert own + others == pytest.approx(slow + waited, abs=0.3)  # both have the gradients at the same time
    assert others > 0.5
    assert slow > 1.0
    assert waited < 0.3


def test_operations_of_a_picture():
    """By hand; and ResNet-50 at 224 px is its known 4.09 GMAC, three times but for the stem."""
    tiny = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )
    forward = 2 * (3 * 9 * 8 * 16 * 16) + 2 * 8 * 5
    backward = 2 * (3 * 9 * 8 * 16 * 16) + 2 * (2 * 8 * 5)  # the picture needs no gradient
    assert flops.flops_per_image(tiny, 16) == forward + backward
    found = flops.flops_per_image(resnet.build("resnet50", 1000, None), 224)
    assert found == pytest.approx(3 * 2 * 4.09e9 - 2 * 118e6, rel=0.01)
    assert flops.flops_per_image(nn.Linear(7, 2), 16) is None


def test_the_model_itself_is_left_alone():
    model = resnet.build("resnet-small", 5, None)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert flops.flops_per_image(model, 16)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None and parameter.device.type == "cpu" for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "half", "single"),
    [
        ("NVIDIA H100 80GB HBM3", 989, 494),
        ("NVIDIA H100 PCIe", 756, 378),
        ("NVIDIA A100-SXM4-40GB", 312, 156),
        ("NVIDIA L40S", 362, 183),
        ("NVIDIA L4", 121, 60),
        ("NVIDIA A10G", 70, 35),
        ("Tesla T4", 65, 8.1),
        ("Tesla V100-SXM2-16GB", 125, 15.7),
        ("NVIDIA GeForce RTX 9090", None, None),
        ("", None, None),
    ],
)
def test_peaks_by_the_drivers_name(name, half, single):
    for precision, tflops in ((torch.bfloat16, half), (torch.float16, half), (torch.float32, single)):
        found = flops.peak_flops(name, precision)
        assert found == (None if tflops is None else pytest.approx(tflops * 1e12))


def test_a_gang_says_what_a_picture_costs_and_no_peak_for_a_cpu(tmp_path):
    pictures = gang.picture_folder(tmp_path / "pictures", train=14, val=7)
    assert gang.run(gang.recipe(pictures, batch=7, epochs=2), tmp_path, 1) == [0]
    [started] = gang.said(tmp_path / "0", TrainingStarted)
    assert (started.device_name, started.peak_flops) == ("", None)
    small, big = (one.flops_per_image for one in gang.said(tmp_path / "0", PhaseStarted))
    assert small is not None
    assert big == pytest.approx(small * 24**2 / 16**2, rel=0.01)
