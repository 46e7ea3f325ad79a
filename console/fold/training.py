"""Training: steps, epochs, pauses, checkpoints."""

from __future__ import annotations

from dataclasses import replace

from console.fold.changes import arm, changed, when, with_activity, with_alert, with_line, with_own_node, without_alerts
from console.state import events as ce
from console.state.events import Record
from console.state.run import CRITICAL, Checkpoint, Epoch, Point, Run
from console.state.series import Series
from console.state.status import LAUNCHING, NODE_PAUSED, NODE_TRAINING, PAUSED, STOPPING, TRAINING
from remote.wire import events as re


@arm(re.TrainingStarted)
def _training_started(run: Run, record: Record, event: re.TrainingStarted) -> Run:
    points = run.points
    if len(points) and points[-1].step > event.start_step:
        # The checkpoint is older than the last step seen: those steps are taken again.
        points = Series(point for point in points if point.step <= event.start_step)
    kept = sum(epoch.event.step <= event.start_step for epoch in run.epochs)
    return changed(
        run,
        training=event,
        status=TRAINING if run.live and run.status != STOPPING else run.status,
        points=points,
        epochs=run.epochs[:kept],
        first_error=None,
        first_error_t=None,
        evaluation=None,
        paused_since_t=None,
    )


@arm(re.PhaseStarted)
def _phase_started(run: Run, record: Record, event: re.PhaseStarted) -> Run:
    return changed(run, phase=event)


@arm(re.StepEnded)
def _step_ended(run: Run, record: Record, event: re.StepEnded) -> Run:
    point = Point(event.step, record.received_t, event.loss, event.lr, event.img_per_s, _peak_share(run, event))
    nan = event.loss is None and run.step is not None and run.step.loss is not None
    run = changed(
        run,
        # Also where the line that said so is lost, or the log is of a kind that has no such line.
        status=TRAINING if run.status == LAUNCHING else run.status,
        step=event,
        points=run.points.append(point),
        first_step_t=record.received_t if run.first_step_t is None else run.first_step_t,
        last_step_t=record.received_t,
    )
    if not len(run.activities) or run.activities[-1].cause not in ("train", "end"):
        run = with_activity(run, "train", when(record))
    if nan:
        text = f"the loss of step {event.step} is not a number; what is learnt since the last checkpoint may be lost"
        return with_alert(run, record, "loss", text, CRITICAL, "nan")
    # `None` may be the form of a foreign log that tells no loss.
    return run if event.loss is None else without_alerts(run, record, lambda alert: alert.id == "nan")


def _peak_share(run: Run, event: re.StepEnded) -> float | None:
    """The model's own operations, forward and backward, over the data sheet's of all the gang's GPUs: model FLOPs
    utilisation (MFU; Chowdhery et al. 2022, "PaLM", appendix B)."""
    training, phase = run.training, run.phase
    if training is None or phase is None or not phase.flops_per_image or not training.peak_flops:
        return None
    return event.img_per_s * phase.flops_per_image / (training.peak_flops * max(1, training.world_size))


@arm(re.EvaluationProgressed)
def _evaluation_progressed(run: Run, record: Record, event: re.EvaluationProgressed) -> Run:
    return changed(run, evaluation=event)


@arm(re.EpochEnded)
def _epoch_ended(run: Run, record: Record, event: re.EpochEnded) -> Run:
    return changed(
        run,
        status=TRAINING if run.status == LAUNCHING else run.status,
        epochs=(*run.epochs, Epoch(event, record.received_t, when(record))),
        evaluation=None,
    )


@arm(re.TargetReached)
def _target_reached(run: Run, record: Record, event: re.TargetReached) -> Run:
    return changed(run, target=event)


@arm(re.TrainingEnded)
def _training_ended(run: Run, record: Record, event: re.TrainingEnded) -> Run:
    return with_activity(changed(run, finished=event, evaluation=None), "end", when(record))


@arm(re.Paused)
def _paused(run: Run, record: Record, event: re.Paused) -> Run:
    run = with_own_node(run, record, status=NODE_PAUSED)
    if event.rank != 0 or not run.live:
        return run
    run = with_activity(changed(run, status=PAUSED, paused_since_t=record.received_t), "pause", when(record))
    return with_line(run, record, f"paused after step {event.step}")


@arm(re.Resumed)
def _resumed(run: Run, record: Record, event: re.Resumed) -> Run:
    run = with_own_node(run, record, status=NODE_TRAINING)
    if event.rank != 0:
        return run
    run = changed(run, status=TRAINING if run.status == PAUSED else run.status, paused_since_t=None)
    if len(run.activities) and run.activities[-1].cause == "pause":
        run = with_activity(run, "train", when(record))
    return with_line(run, record, f"resumed after {event.paused_s:.1f} s")


@arm(re.CheckpointSaved)
def _checkpoint_saved(run: Run, record: Record, event: re.CheckpointSaved) -> Run:
    if record.node is None:
        return run
    saved = Checkpoint(
        step=event.step,
        epoch=event.epoch,
        node=record.node,
        path=event.path,
        size_bytes=event.size_bytes,
        sha256=event.sha256,
        save_s=event.save_s,
        wait_s=event.wait_s,
    )
    run = changed(run, checkpoints=(*run.checkpoints[-3:], saved))
    return run if event.reason == "epoch" else with_line(run, record, f"checkpoint of step {event.step} saved")


@arm(re.CheckpointFailed)
def _checkpoint_failed(run: Run, record: Record, event: re.CheckpointFailed) -> Run:
    return with_alert(run, record, "checkpoint", f"{event.path}: {event.reason}")


@arm(re.CheckpointLoaded)
def _checkpoint_loaded(run: Run, record: Record, event: re.CheckpointLoaded) -> Run:
    return with_line(run, record, f"resumed from the checkpoint of step {event.step}")


@arm(ce.CheckpointFetched)
def _checkpoint_fetched(run: Run, record: Record, event: ce.CheckpointFetched) -> Run:
    checkpoints = tuple(
        replace(saved, fetched=event.path, fetch_s=event.fetch_s) if saved.step == event.step else saved
        for saved in run.checkpoints
    )
    return with_line(changed(run, checkpoints=checkpoints), record, f"checkpoint of step {event.step} fetched")
