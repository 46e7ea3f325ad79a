"""The learner: the model with its DDP wrapper, the optimiser, the precision, and the running mean of the weights.

The trainer gives it batches and rates and does not see gradients; it knows nothing of epochs, files and events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from inspect import signature
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from remote.model import blurpool, optimizer, precision, resnet
from remote.model.ema import Ema
from remote.rank_env import RankEnv
from remote.wire.job import Recipe

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Of ImageNet's training pictures, channels scaled to 0..1 (torchvision's figures)."""
UNSYNCED_BUFFERS: dict[str, Any] = (
    {"forward_sync_buffers": False}
    if "forward_sync_buffers" in signature(DistributedDataParallel.__init__).parameters
    else {"broadcast_buffers": False}
)
"""Keyword for DDP, `forward_sync_buffers` since torch 2.13. A broadcast of the running statistics at each step costs a
collective and keeps only those of rank 0; they are averaged before they are used instead
(`Learner.average_statistics`)."""


class Learner:
    """A rank's replica of the net that the gang trains. Made once the process group is there."""

    def __init__(self, recipe: Recipe, env: RankEnv, classes: int) -> None:
        self.recipe = recipe
        self.env = env
        cuda = env.device.type == "cuda"
        if cuda:
            torch.backends.cudnn.benchmark = True
        self.precision = precision.of(recipe.precision, env.device)
        torch.manual_seed(recipe.seed)  # every rank starts the same net; DDP would copy rank 0's in any case
        self.model = resnet.build(recipe.model, classes, recipe.batch_norm_group)
        self.blurs = blurpool.add_to(self.model) if recipe.blurpool else 0
        if recipe.blurpool and not self.blurs:
            raise ValueError(f"run.blurpool is true, and {recipe.model} has no strided convolution to blur before")
        # Pictures arrive in channels_last anyway; on two CPU cores it makes a step 1.1 to 1.9 times as fast.
        self.model.to(env.device).to(memory_format=torch.channels_last)
        compiled = recipe.compile != "off"
        self.ddp = DistributedDataParallel(
            self.model,
            device_ids=[env.local_rank] if cuda else None,
            **UNSYNCED_BUFFERS,
            gradient_as_bucket_view=True,
            # Every step uses every parameter. A compiled DDP is split at its buckets, which a static graph forbids.
            static_graph=not compiled,
        )
        if env.world_size > 1:
            precision.send_gradients_in(recipe.gradient_precision, self.ddp)
        self.net: Callable[[Tensor], Tensor] = self.ddp
        if compiled:
            # One program for each size of picture: dynamic shapes are slower, and there are few sizes.
            self.net = torch.compile(self.ddp, mode=recipe.compile, dynamic=False)
        self.optimizer = optimizer.make(self.model, recipe)
        self.ema: Ema | None = None
        if recipe.ema_decay:
            batch = min(phase.batch_size_per_gpu for phase in recipe.phases) * env.world_size
            self.ema = Ema(self.model, recipe.ema_decay, recipe.ema_every, batch)
        self.scaler = torch.amp.GradScaler(env.device.type, enabled=self.precision == torch.float16)
        self.loss = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
        self.mean = torch.tensor(MEAN, device=env.device).view(1, 3, 1, 1) * 255
        self.std = torch.tensor(STD, device=env.device).view(1, 3, 1, 1) * 255

    def described(self) -> str:
        """The optimizer, the precisions and what else is out of the ordinary, for the run's log."""
        recipe = self.recipe
        details = [f"trust coefficient {recipe.trust_coefficient:g}"] if recipe.optimizer == "lars" else []
        details += ["Nesterov"] if recipe.nesterov else []
        parts = [
            f"optimizer {recipe.optimizer.upper()}" + (f" ({', '.join(details)})" if details else ""),
            f"compute {precision.name_of(self.precision)}",
            f"gradients {recipe.gradient_precision}",
        ]
        if self.ema is not None:
            parts.append(f"evaluation of an EMA of the weights (decay {recipe.ema_decay:g} a step)")
        if recipe.compile != "off":
            parts.append(f"torch.compile ({recipe.compile})")
        if self.blurs:
            parts.append(f"BlurPool before {self.blurs} convolutions (changes the architecture of {recipe.model})")
        return ", ".join(parts)

    @property
    def parameters(self) -> int:
        """How many there are."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def warm_up(self) -> None:
        """Backward passes over blank pictures, whose gradients are discarded.

        DDP rebuilds its buckets after the first backward pass, which changes the order in which gradients are summed.
        After that a resumed run sums its first step as the uninterrupted run did, bit for bit.
        """
        phases = self.recipe.phases
        sizes = [(phase.image_size, phase.batch_size_per_gpu) for phase in phases]
        # Two, since the second forward pass rebuilds the buckets. A compiled net compiles each size now, and not at
        # the switch to it.
        passes = [sizes[0]] * 2 if self.recipe.compile == "off" else [*dict.fromkeys(sizes), sizes[0]]
        for side, batch in passes:
            blank = torch.zeros((batch, side, side, 3), dtype=torch.uint8)
            try:
                self.backward(blank, torch.zeros(batch, dtype=torch.int64))
            except torch._dynamo.exc.TorchDynamoException as error:
                why = " ".join(str(error).split())[:300]
                raise ValueError(f"torch.compile failed ({why}); run.compile = 'off' trains without it") from error
            self.optimizer.zero_grad()
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
        if self.ema is not None:
            self.ema.forget()

    # --- steps ---

    def backward(
        self,
        pictures: Tensor,
        labels: Tensor,
        sizes: Sequence[int] | None = None,
        computed: Callable[[], None] | None = None,
    ) -> Tensor:
        """Gradients, averaged over the ranks, into the parameters; returns this rank's mean loss.

        `pictures` are uint8 [n, h, w, 3] and `labels` int64 [n], both on the host. They go through the net in pieces
        of the given `sizes`, by default in one piece. `computed` is called when this rank's own gradients are there,
        whether or not those of the others are.
        """
        sizes = sizes or [len(pictures)]
        labels = labels.to(self.env.device, non_blocking=True)
        total = torch.zeros((), device=self.env.device)
        for number, (some, theirs) in enumerate(zip(pictures.split(sizes), labels.split(sizes), strict=True), 1):
            last = number == len(sizes)
            some = some.to(self.env.device, non_blocking=True)
            if self.ema is not None:
                self.ema.saw(some)
            with nullcontext() if last else self.ddp.no_sync():
                with self.autocast():
                    loss: Tensor = self.loss(self.net(self.normalised(some)), theirs)
                    if len(sizes) > 1:
                        loss = loss * (len(theirs) / len(labels))
                scaled = self.scaler.scale(loss)
                if last and computed is not None:
                    scaled.register_hook(at_the_end(computed))
                scaled.backward()
            total += loss.detach()
        return total

    def step(self, lr: float, momentum: float) -> None:
        """Updates the parameters by their gradients, and clears these."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
            group["momentum"] = momentum
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.ema is not None:
            self.ema.stepped()

    def normalised(self, pictures: Tensor) -> Tensor:
        """uint8 [n, h, w, 3] on any device to float [n, 3, h, w] on the device, in channels_last."""
        moved = pictures.to(self.env.device, non_blocking=True).permute(0, 3, 1, 2)
        return (moved.float() - self.mean) / self.std

    def autocast(self) -> Any:
        """Mixed precision where the device has it."""
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.env.device.type, self.precision)

    # --- evaluation and checkpoints ---

    @property
    def evaluated(self) -> nn.Module:
        """The net that is evaluated: the mean of the weights where there is one."""
        return self.ema.net if self.ema is not None else self.model

    def scores(self, pictures: Tensor) -> Tensor:
        """float32 [n, classes] of `evaluated`, in the mode that the caller set, for uint8 [n, h, w, 3]."""
        with self.autocast():
            scores: Tensor = self.evaluated(self.normalised(pictures))
        return scores.float()

    def average_statistics(self) -> None:
        """Averages BatchNorm's running statistics over the ranks, each of which has seen other pictures."""
        if self.ema is not None:
            with self.autocast():
                self.ema.measure(lambda pictures: self.evaluated(self.normalised(pictures)))
        nets = [self.model] if self.ema is None else [self.model, self.ema.net]
        buffers = [buffer for net in nets for name, buffer in net.named_buffers() if "running" in name]
        if not buffers:
            return
        flat = torch.cat([buffer.reshape(-1) for buffer in buffers])
        dist.all_reduce(flat)
        flat /= self.env.world_size
        for buffer, mean in zip(buffers, flat.split([buffer.numel() for buffer in buffers]), strict=True):
            buffer.copy_(mean.view_as(buffer))

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: the live tensors, not copies."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
            "scaler": self.scaler.state_dict(),
        }
        return state if self.ema is None else state | {"ema": self.ema.state()}

    def load(self, state: dict[str, Any]) -> None:
        """Loads what `state` returned, on any device."""
        self.model.load_state_dict(state["model"])
        groups = self.optimizer.state_dict()["param_groups"]  # the recipe's hyperparameters, not the checkpoint's
        self.optimizer.load_state_dict({"state": state["optimizer"], "param_groups": groups})
        self.scaler.load_state_dict(state["scaler"])
        if self.ema is not None:
            self.ema.load(state.get("ema"))


def at_the_end(computed: Callable[[], None]) -> Callable[[Tensor], None]:
    """A hook for a loss: has autograd call `computed` once it has launched its last kernel.

    DDP queues its wait for the other ranks in the same way, later; autograd calls in the order of queueing. Unlike a
    communication hook of DDP's, this is one call a step and not one a bucket, and such a hook can still be set.
    """

    def begun(gradient: Tensor) -> None:
        torch.autograd.Variable._execution_engine.queue_callback(computed)

    return begun
