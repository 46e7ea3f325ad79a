"""How a net learns: the optimisers, the mean of the weights, precision, BlurPool; and all of it in real gangs."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import gang
import pytest
import torch
from torch import nn

from remote.model import blurpool, optimizer, precision, resnet
from remote.model.ema import Ema
from remote.model.optimizer import Lars
from remote.train import checkpoint
from remote.wire.events import EpochEnded, LogPrinted, StepEnded, TrainingStarted


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 5))


def give_gradients(model: nn.Module, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=random)


# --- LARS ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nesterov", [False, True])
def test_lars_moves_each_layer_by_its_own_ratio(nesterov):
    """Against the formula, parameter by parameter, over three steps with a rate that changes."""
    model, momentum, decay, trust = small_net(), 0.9, 0.01, 0.02
    lars = Lars(optimizer.parameter_groups(model, decay), momentum, nesterov, trust)
    expected = [parameter.detach().clone() for parameter in model.parameters()]
    buffers = [torch.zeros_like(parameter) for parameter in expected]
    for step, lr in enumerate((0.5, 1.0, 0.2)):
        give_gradients(model, step)
        for group in lars.param_groups:
            group["lr"] = lr
        for weight, buffer, parameter in zip(expected, buffers, model.parameters(), strict=True):
            matrix = weight.ndim > 1
            gradient, ratio = parameter.grad.clone(), 1.0
            if matrix:
                ratio = trust * weight.norm() / (gradient.norm() + decay * weight.norm())
                gradient += decay * weight
            buffer.mul_(momentum).add_(gradient)
            weight -= lr * ratio * (gradient + momentum * buffer if nesterov else buffer)
        lars.step()
    for weight, parameter in zip(expected, model.parameters(), strict=True):
        assert torch.allclose(weight, parameter, rtol=1e-5, atol=1e-6)


def test_lars_moves_a_matrix_of_zeros_and_none_by_more_than_its_gradient():
    model = nn.ModuleList([nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)])
    nn.init.zeros_(model[0].weight)
    before = [layer.weight.detach().clone() for layer in model]
    model[0].weight.grad = torch.ones(4, 4)
    model[1].weight.grad = torch.full((4, 4), 1e-12)  # a ratio of millions, were it not for the limit
    lars = Lars(optimizer.parameter_groups(model, 0.0), momentum=0.0)
    lars.param_groups[0]["lr"] = 2.0
    lars.step()
    assert torch.equal(model[0].weight, torch.full((4, 4), -2.0))
    assert torch.allclose(before[1] - model[1].weight, torch.full((4, 4), 2e-12), atol=1e-7)
    assert torch.equal(before[2], model[2].weight)


def test_lars_decays_a_matrix_without_gradient_at_the_plain_rate():
    """The trust ratio of a zero gradient would be trust / decay, whatever the weights are: 0.01 here."""
    model = torch.nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        model.weight.fill_(4.0)
    model.weight.grad = torch.zeros_like(model.weight)
    lars = Lars(optimizer.parameter_groups(model, 0.1), momentum=0.0, trust=0.001)
    lars.param_groups[0]["lr"] = 0.5
    lars.step()
    assert torch.allclose(model.weight, torch.full((2, 3), 4.0 - 0.5 * 0.1 * 4.0))


def test_lars_reads_nothing_back_from_the_device():
    """Tensors on the meta device have shapes and no numbers: to read one is an error."""
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    lars = Lars(optimizer.parameter_groups(model, 0.1), momentum=0.9, nesterov=True)
    for parameter in model.parameters():
        parameter.grad = torch.empty_like(parameter)
    lars.step()
    with pytest.raises(RuntimeError, match="meta"):
        model[0].weight.norm().item()


# --- the mean of the weights -----------------------------------------------------------------------------------------


def test_the_mean_moves_every_few_steps():
    model = small_net()
    ema = Ema(model, decay=0.9, every=3, global_batch=64)
    assert not any(parameter.requires_grad for parameter in ema.net.parameters())
    mean = {name: value.detach().clone() for name, value in model.named_parameters()}
    for step in range(1, 200):
        with torch.no_grad():
            for value in model.parameters():
                value += 0.01 * step
        ema.stepped()
        if step % 3 == 0:
            n = step // 3
            decay = min(0.9**3, n / (9 + n))
            for name, value in model.named_parameters():
                mean[name] = decay * mean[name] + (1 - decay) * value.detach()
        if step == 2:
            assert torch.equal(ema.net[0].weight, mean["0.weight"])
    for name, value in ema.net.named_parameters():
        assert torch.allclose(value, mean[name], rtol=1e-4), name
    assert not torch.allclose(ema.net[0].weight, model[0].weight)

    again = Ema(small_net(), decay=0.9, every=3, global_batch=64)
    again.load(copy.deepcopy(ema.state()))
    assert again.steps == 199
    assert torch.equal(again.net[3].weight, ema.net[3].weight)
    again.load(None)
    assert again.steps == 0
    assert torch.equal(again.net[3].weight, small_net()[3].weight)


@pytest.mark.parametrize("group", [None, 4])
def test_the_means_statistics_are_those_of_its_own_activations(group):
    """Of the pictures last seen, all of them, whatever the running ones of the trained net are."""
    model = resnet.build("resnet-small", 5, group)
    ema = Ema(model, decay=0.9, every=1, global_batch=512)
    batches = [torch.randint(0, 256, (8, 16, 16, 3), dtype=torch.uint8) for _ in range(6)]
    buffer = torch.empty_like(batches[0])
    for batch in batches:
        buffer.copy_(batch)  # a loader's memory, which it fills again
        ema.saw(buffer)
    norm = ema.net.stem[1]
    norm.running_mean.fill_(7)
    ema.measure(lambda pictures: ema.net(pictures.permute(0, 3, 1, 2).float()))
    kept = torch.cat(batches[-4:]).permute(0, 3, 1, 2).float()  # 2,048 pictures are four batches of 512
    activations = ema.net.stem[0](kept)
    assert torch.allclose(norm.running_mean, activations.mean((0, 2, 3)), rtol=1e-3, atol=1e-2)
    assert norm.momentum == model.stem[1].momentum
    assert torch.equal(model.stem[1].running_mean, torch.zeros(32))
    before = norm.running_var.clone()
    ema.forget()
    ema.measure(lambda pictures: pytest.fail("there is nothing to measure on"))
    assert torch.equal(norm.running_var, before)


# --- precision -------------------------------------------------------------------------------------------------------


def test_what_a_net_computes_in(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    assert precision.of("auto", cpu) == torch.float32
    assert precision.of("bf16", cpu) == torch.bfloat16
    # torch says that a V100 has bf16 unless it is asked about emulation.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla V100-SXM2-16GB")
    assert precision.of("auto", gpu) == torch.float16
    assert precision.of("fp32", gpu) == torch.float32
    with pytest.raises(ValueError, match=r"run\.precision is bf16, which the GPU Tesla V100-SXM2-16GB does not"):
        precision.of("bf16", gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert precision.of("auto", gpu) == torch.bfloat16


# --- BlurPool --------------------------------------------------------------------------------------------------------


def test_blurs_stand_before_strided_convolutions_and_keep_names():
    model = resnet.build("resnet18", classes=7)
    plain = resnet.build("resnet18", classes=7)
    plain.load_state_dict(model.state_dict())
    assert blurpool.add_to(model) == 6  # a 3x3 and the way past it in three of the four stages; not the stem
    assert type(model.conv1) is nn.Conv2d
    assert model.state_dict().keys() == plain.state_dict().keys()
    pictures = torch.randn(2, 3, 32, 32)
    model.eval(), plain.eval()
    blurred, sharp = model(pictures), plain(pictures)
    assert blurred.shape == sharp.shape
    assert not torch.allclose(blurred, sharp)


def test_a_blur_leaves_planes_and_takes_checkers():
    conv = nn.Conv2d(16, 4, 1, stride=2, bias=False)
    model = nn.Sequential(conv)
    blurpool.add_to(model)
    plane = torch.ones(1, 16, 8, 8)
    assert torch.allclose(model(plane)[..., 1:-1, 1:-1], conv(plane)[..., 1:-1, 1:-1], atol=1e-6)
    checkers = (torch.arange(8)[:, None] + torch.arange(8)[None]) % 2 * 2.0 - 1
    assert model(checkers.expand(1, 16, 8, 8))[..., 1:-1, 1:-1].abs().max() < 1e-6
    assert conv(checkers.expand(1, 16, 8, 8)).abs().max() > 0.1


# --- in gangs --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return gang.picture_folder(tmp_path_factory.mktemp("pictures"), train=24, val=8)


@pytest.fixture(scope="module")
def plain(folder, tmp_path_factory):
    """Two ranks, two epochs of three steps, in fp32."""
    root = tmp_path_factory.mktemp("plain")
    assert gang.run(gang.recipe(folder, batch=4), root, 2) == [0] * 2
    return root / "0"


def losses(folder: Path) -> list[float]:
    return [step.loss for step in gang.said(folder, StepEnded)]


def learnt(folder: Path) -> dict:
    found = checkpoint.load_newest(folder, lambda path, reason: pytest.fail(reason))
    assert found is not None
    return checkpoint.unpack(found[1])


@pytest.mark.parametrize(
    ("wanted", "gradients", "within"), [("bf16", "bf16", 0.05), ("fp16", "fp16", 0.02), ("fp32", "bf16", 0.02)]
)
def test_two_ranks_in_half_precision_learn_nearly_the_same(folder, plain, tmp_path, wanted, gradients, within):
    recipe = gang.recipe(folder, batch=4, precision=wanted, gradient_precision=gradients)
    assert gang.run(recipe, tmp_path, 2) == [0] * 2
    exact, rough = losses(plain), losses(tmp_path / "0")
    assert rough == pytest.approx(exact, rel=within)
    assert rough != exact
    [started] = gang.said(tmp_path / "0", TrainingStarted)
    assert started.precision == {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}[wanted]
    assert bool(learnt(tmp_path / "0")["scaler"]) == (wanted == "fp16")
    [said] = gang.said(tmp_path / "0", LogPrinted)
    assert said.text == f"optimizer SGD, compute {wanted}, gradients {gradients}"


def test_everything_at_once_goes_on_bit_for_bit(folder, tmp_path):
    """LARS, the mean of the weights, BlurPool, momentum by phase and a cosine: stopped and gone on with."""
    recipe = gang.recipe(
        folder, batch=4, epochs=2, optimizer="lars", trust_coefficient=0.02, nesterov=True, ema_decay=0.8, ema_every=2,
        blurpool=True, label_smoothing=0.1, gradient_precision="bf16",
    )  # fmt: skip
    phases = tuple(
        replace(phase, shape="cosine", momentum_start=0.95, momentum_end=0.85, lr_start=1.0) for phase in recipe.phases
    )
    recipe = replace(recipe, phases=phases)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert gang.run(recipe, whole, 2) == [0] * 2
    assert gang.run(replace(recipe, max_steps=4), parts, 2) == [0] * 2
    assert gang.run(recipe, parts, 2) == [0] * 2
    assert losses(parts / "0") == losses(whole / "0")
    state, again = learnt(whole / "0"), learnt(parts / "0")
    for name in ("model", "ema"):
        theirs, ours = (one["model"] if name == "model" else one["ema"]["model"] for one in (again, state))
        # All but statistics: a checkpoint averages the net's over the ranks, and the mean's are measured on fewer
        # pictures soon after a restart.
        other = [key for key, value in ours.items() if not torch.equal(value, theirs[key])]
        assert [key for key in other if "running" not in key and "num_batches" not in key] == []
    assert state["ema"]["steps"] == 6
    mean, weights = state["ema"]["model"]["fc.weight"], state["model"]["fc.weight"]
    assert not torch.allclose(mean, weights)
    [said] = gang.said(whole / "0", LogPrinted)
    assert said.text.startswith("optimizer LARS (trust coefficient 0.02, Nesterov), compute fp32, gradients bf16, ")
    assert "EMA of the weights (decay 0.8 a step)" in said.text
    assert "(changes the architecture of resnet-small)" in said.text
    assert gang.said(whole / "0", TrainingStarted)[0].model == "resnet-small+blurpool"

    # What is evaluated is the mean, and a checkpoint of another architecture is refused.
    model = resnet.build("resnet-small", gang.CLASSES)
    blurpool.add_to(model)
    model.load_state_dict(state["ema"]["model"])
    assert gang.run(replace(recipe, blurpool=False), parts, 2) == [1] * 2
    assert "is of resnet-small+blurpool on imagefolder" in (parts / "0/stderr").read_text()


def test_a_mean_can_begin_in_the_middle_of_a_run(folder, plain, tmp_path):
    recipe = gang.recipe(folder, batch=4)
    assert gang.run(replace(recipe, max_steps=2), tmp_path, 2) == [0] * 2
    assert gang.run(replace(recipe, ema_decay=0.5, ema_every=1), tmp_path, 2) == [0] * 2
    assert losses(tmp_path / "0") == losses(plain)
    assert learnt(tmp_path / "0")["ema"]["steps"] == 4
    assert gang.said(tmp_path / "0", EpochEnded)[-1].val_loss != gang.said(plain, EpochEnded)[-1].val_loss


def test_a_model_without_strided_convolutions_takes_no_blur(folder, tmp_path):
    recipe = gang.recipe(folder, batch=4, model="squeezenet1_1", blurpool=True)
    assert gang.run(recipe, tmp_path, 1) == [1]
    assert "run.blurpool is true, and squeezenet1_1 has no strided convolution" in (tmp_path / "0/stderr").read_text()
