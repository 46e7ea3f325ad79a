"""The wire vocabulary: what a host's agent and its ranks write into the host's journal.

A record is one line of JSON, ``{"event": "StepEnded", "t": 1790000000.25, "step": 12, ...}``: the event's name, the
writer's wall clock ``t`` in seconds since the epoch, and the event's fields. Unknown is ``null``. A reader ignores
fields that it does not know, so that an old console can read a new agent; a field that is missing and has no default,
or has another type than the annotation says, makes the line *damaged*, which the reader counts and passes over.

Names are in the past tense. Units stand in the names. Accuracies are fractions. ``step`` is the global optimiser step,
counted from 1 over the whole run, restarts included; ``epoch`` counts from 0.

Standard library only: this file runs on the laptop and on every host.
"""

from __future__ import annotations

from dataclasses import dataclass

from remote.wire.codec import Event, vocabulary

Numbers = tuple[float | None, ...]
"""One value a GPU, in device order; None where the card does not say."""


# --- the agent -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStarted(Event):
    """The daemon on a host is up and holds the host's lease."""

    run_id: str
    pid: int
    hostname: str
    boot_id: str
    python: str
    torch: str | None
    """Version of the torch distribution found, not imported; None where there is none."""
    cpus: int
    mem_total_mib: float | None
    disk_free_mib: float | None
    gpu_names: tuple[str, ...] = ()
    """Empty on a CPU host."""
    free_port: int
    """A TCP port that was free when the agent looked: where this node would hold the rendezvous."""
    driver: str | None = None
    """Version of the NVIDIA driver."""
    cuda: str | None = None
    """The newest CUDA that the driver knows, ``12.8``."""
    nccl: str | None = None
    """Version of the NCCL distribution that torch brings, found and not imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEnded(Event):
    """The daemon ended in order."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentDied(Event):
    """The attach process found the daemon gone without an ``AgentEnded``."""

    pid: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageProgressed(Event):
    """A stage on the way to the first step (``connect``, ``ship``, ``data``, ``rendezvous``, ...) moved.

    ``done == total`` ends the stage; ``total`` is None while it is not known.
    """

    stage: str
    done: int
    total: int | None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingProgressed(Event):
    """The copy of the data set to this host moved; once a second."""

    source: str
    """``s3://bucket/prefix`` or a folder."""
    activity: str
    """``list``, ``verify`` (what is there already), ``copy``, ``wait`` (another node fills the same folder), or
    ``renew`` (its addresses have expired, and the laptop has sent no others yet)."""
    done_bytes: int
    """Of the data set, on the host's disk and, where they were there before, verified."""
    total_bytes: int | None
    bytes_per_s: float | None = None
    """Over the last ten seconds."""
    left_s: float | None = None
    detail: str = ""
    """What went wrong since the last such record and is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingEnded(Event):
    """The data set is on this host, whole and checked; or, not `ok`, why it is not."""

    source: str
    ok: bool = True
    reason: str = ""
    """One sentence."""
    files: int = 0
    total_bytes: int = 0
    fetched_bytes: int = 0
    """What was copied this time; the rest was there."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSampled(Event):
    """One look at the host's processors and memory, once a second.

    On an embedded host (`local` provider) both are of the host's own processes, and 100 % is its even share of the
    machine's cores: an eighth of a core, where sixteen hosts share two.
    """

    cpu_util_pct: float | None
    mem_used_mib: float | None
    mem_total_mib: float | None
    gpu_util_pct: Numbers = ()
    """NVML utilisation: the share of time in which any kernel ran. A hung all-reduce can read 100."""
    gpu_mem_used_mib: Numbers = ()
    gpu_mem_total_mib: Numbers = ()
    gpu_power_w: Numbers = ()
    gpu_temp_c: Numbers = ()
    gpu_sm_clock_mhz: Numbers = ()
    gpu_sm_util_pct: Numbers = ()
    """NVML GPM SM_UTIL, Hopper on; empty where the card has no GPM."""
    gpu_tensor_util_pct: Numbers = ()
    """NVML GPM ANY_TENSOR_UTIL, Hopper on."""
    gpu_mem_bw_util_pct: Numbers = ()
    """NVML GPM DRAM_BW_UTIL: share of the memory's peak bandwidth, Hopper on."""
    gpu_mem_clock_mhz: Numbers = ()
    gpu_power_limit_w: Numbers = ()
    """The limit that is enforced."""
    gpu_throttle: tuple[str | None, ...] = ()
    """Why clocks are lower than they could be: nvidia-smi's names of NVML's clocks event reasons, joined by ``+``
    (``sw_power_cap+hw_thermal_slowdown``); empty where nothing holds them back. ``gpu_idle`` is not a fault."""
    gpu_ecc_uncorrected: Numbers = ()
    """Uncorrectable memory errors since the driver was loaded; None without ECC."""
    gpu_remapped_rows: Numbers = ()
    """Rows of memory that were replaced by spare ones, over the card's life."""
    net_rx_mib_s: float | None = None
    """What the host's network cards received; None on an embedded host. RDMA (EFA) is not in it."""
    net_tx_mib_s: float | None = None
    tcp_again_pct: float | None = None
    """TCP segments that were sent again, of all that were sent: a bad link, where it is more than that of others."""
    gpu_row_remap: tuple[str | None, ...] = ()
    """``pending`` where the card wants a reset to replace a row, ``failed`` where no spare one is left, else empty."""
    disk_free_mib: float | None = None
    """Where the run's folder is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessesSampled(Event):
    """The run's busiest processes on the host, every ten seconds, the busiest first; the lists are of one length."""

    pids: tuple[int, ...]
    names: tuple[str, ...]
    """The kernel's, at most 15 characters."""
    cpu_pct: Numbers
    """Since the last such record; 100 is one core."""
    mem_mib: Numbers
    """Resident, what files back included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class XidReported(Event):
    """The NVIDIA driver reported a fault of a GPU; NVIDIA's table of Xid errors says what `xid` means."""

    gpu: int
    """NVML's index."""
    xid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandDone(Event):
    """The agent carried out, or refused, the command with this id; it will not do so again."""

    id: str
    command: str
    ok: bool = True
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseMoved(Event):
    """The host now ends itself at ``deadline_t`` (epoch seconds, the host's clock) unless it is moved again."""

    deadline_t: float
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseExpired(Event):
    """The deadline passed: the agent checkpoints, ends the trainer and releases the host."""

    deadline_t: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotNoticed(Event):
    """EC2 says that it will take this host's spot instance back."""

    action: str
    """``terminate``, ``stop`` or ``hibernate``."""
    deadline_t: float
    """When, epoch seconds, as EC2 states it: about two minutes from the notice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RebalanceRecommended(Event):
    """EC2 says that this host's spot instance is at a higher risk of being taken back."""

    notice_t: float
    """When it was said, epoch seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsDropped(Event):
    """An emit could not write (a full disk); training went on. ``count`` since the last such record."""

    count: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPrinted(Event):
    """A line that a process on the host printed; control sequences already stripped, at most 4 KiB."""

    text: str
    rank: int | None = None
    stream: str = "stdout"
    local_rank: int | None = None
    """Whose pipe it came through; which rank of the gang that is, its ``RankStarted`` says."""


# --- the gang --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerStarted(Event):
    """torchrun's agent was started on this node; ``attempt`` counts from 1 over the whole run."""

    attempt: int
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RankStarted(Event):
    """A rank has joined the gang. With the c10d rendezvous, ranks need not follow the order of the nodes."""

    rank: int
    local_rank: int
    world_size: int
    pid: int
    device: str
    """``cpu`` or ``cuda:0``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankFailed(Event):
    """A rank ended with an error or by a signal."""

    rank: int | None
    exit_code: int
    """Negative: the signal that ended it."""
    message: str
    """One line: the exception, or the signal's name."""
    t_failed: float | None = None
    """The host's clock when it failed."""
    echo: bool = False
    """True where it failed because another rank did: a connection that closed, a collective that nobody joined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerRestarted(Event):
    """torchrun restarts this node's ranks from the last checkpoint."""

    restart: int
    max_restarts: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerEnded(Event):
    """torchrun's agent on this node ended: ``succeeded``, ``failed``, or ``killed`` by our own command."""

    attempt: int
    outcome: str
    reason: str = ""


# --- training --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStarted(Event):
    """Rank 0 is about to take its first step (of this attempt)."""

    world_size: int
    model: str
    parameters: int
    classes: int
    train_images: int
    val_images: int
    total_epochs: int
    total_steps: int
    start_step: int
    """Steps already taken; the next is ``start_step + 1``. Above 0 after a resume."""
    start_epoch: int
    elapsed_s: float = 0.0
    """Training seconds that earlier attempts took up to ``start_step``."""
    precision: str = "float32"
    device_name: str = ""
    """Rank 0's GPU as its driver calls it; empty on a CPU."""
    peak_flops: float | None = None
    """The most floating-point operations a second that one such device can do in ``precision``, by its data sheet; None
    for a CPU and for a GPU that is not in the table (`remote.model.flops`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStarted(Event):
    """A phase of the schedule began (rank 0)."""

    phase: int
    epoch: int
    image_size: int
    batch_size_per_gpu: int
    global_batch_size: int
    steps_per_epoch: int
    min_scale: float
    rectangular: bool
    flops_per_image: float | None = None
    """Floating-point operations of one picture's forward and backward pass at this size; a multiply-add is two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnded(Event):
    """One optimiser step of the gang, said by rank 0, for every step."""

    step: int
    epoch: int
    epoch_step: int
    """From 1 within the epoch."""
    steps_per_epoch: int
    loss: float | None
    """Mean over the global batch; None where it was not a finite number."""
    lr: float
    step_s: float
    data_s: float
    """Seconds of ``step_s`` in which rank 0 waited for its loader."""
    img_per_s: float
    """Images a second of the whole gang in this step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankProgressed(Event):
    """Once a second from every rank: where it is and where its time went since the last such record."""

    rank: int
    step: int
    img_per_s: float
    """This rank's own images a second."""
    step_s: float
    """Mean seconds a step."""
    data_s: float
    """Mean seconds a step spent waiting for data."""
    compute_s: float | None = None
    """Mean seconds a step from having the batch to having the gradients, the exposed all-reduce included."""
    allreduce_s: float | None = None
    """Mean seconds a step, a part of ``compute_s``, in which it had nothing left to compute and waited until the
    gradients of the other ranks were in: the exposed all-reduce. 0 where there are no others."""
    optimizer_s: float | None = None
    """Mean seconds a step from having the gradients to having moved the parameters."""
    mem_used_mib: float | None = None
    """On a GPU what this rank's tensors take; on a CPU the rank's resident memory."""
    mem_reserved_mib: float | None = None
    """On a GPU what torch's allocator holds for them; None on a CPU."""
    mem_peak_mib: float | None = None
    """The most that ``mem_used_mib`` has been since the rank began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationProgressed(Event):
    """Rank 0 has evaluated ``done`` of its ``total`` images."""

    epoch: int
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochEnded(Event):
    """An epoch with its evaluation; accuracies as fractions over every held-out image, each counted once."""

    epoch: int
    step: int
    elapsed_s: float
    """Training seconds since the run's first step began, evaluations included, pauses and time between attempts not."""
    top1: float | None
    top5: float | None
    train_loss: float | None
    val_loss: float | None = None
    val_images: int | None = None
    img_per_s: float | None
    """Training images a second of the gang over the epoch, evaluation not counted."""
    image_size: int | None
    train_s: float | None = None
    eval_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetReached(Event):
    """The first evaluation at or over the target."""

    metric: str
    value: float
    target: float
    epoch: int
    step: int
    elapsed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved(Event):
    """A whole checkpoint is on this node's disk under its final name."""

    step: int
    epoch: int
    path: str
    """Relative to the run's folder on the host."""
    size_bytes: int
    sha256: str
    save_s: float
    """From the step boundary that it is of to the last byte on the disk."""
    reason: str
    """``epoch``, ``operator`` or ``stop``."""
    wait_s: float | None = None
    """The part of ``save_s`` for which training stood still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFailed(Event):
    """A checkpoint could not be written or read; training continues, or falls back to an older one."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointLoaded(Event):
    """The gang continues from this checkpoint; said by the rank that held the file."""

    step: int
    epoch: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused(Event):
    """This rank waits at the boundary after ``step``; no collective is outstanding."""

    rank: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(Event):
    """This rank continues with the step after ``step``."""

    rank: int
    step: int
    paused_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEnded(Event):
    """Rank 0 leaves the loop: ``target``, ``finished`` (all epochs done) or ``stopped`` (by command)."""

    step: int
    epoch: int
    reason: str
    elapsed_s: float


REMOTE = vocabulary(globals())
"""Every event that a host can write, by name."""
