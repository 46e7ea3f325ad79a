"""The dialogs of the console: what destroys or costs is asked for in a whole sentence, with its price."""

from __future__ import annotations

from collections.abc import Callable

from textual.screen import ModalScreen

from console import views
from console.tui.moment import Moment
from console.tui.screens.dialog import Answer, Dialog
from console.tui.screens.prompt import Prompt

Asking = Callable[[], ModalScreen[str]]
"""Makes a question, once it is sure that it will be asked."""


def stop(moment: Moment) -> Dialog:
    """Before a graceful stop."""
    at = views.progress(moment.run)
    where = "" if at.step is None else f" It is at step {views.count(at.step)} of {views.count(at.total_steps)}."
    return Dialog(
        "Stop the run?",
        [
            f"The gang saves a checkpoint, which is fetched; then the hosts are given back.{where}",
            "It can be gone on with later.",
        ],
        [Answer("x", "Stop it", "stop", danger=True), Answer("n", "Go on", "cancel")],
    )


def terminate(moment: Moment) -> Prompt:
    """Before everything is torn down; the word must be typed."""
    run, cost = moment.run, views.cost(moment.run, moment.now)
    saves = "" if cost.usd_per_h is None else f" This saves {views.money(cost.usd_per_h)} an hour."
    last = run.checkpoints[-1] if run.checkpoints else None
    lost = "No checkpoint was saved: all training is lost."
    if last is not None:
        lost = f"Training after the checkpoint of step {views.count(last.step)} is lost."
    return Prompt(
        "Terminate all hosts?",
        [
            f"All {run.nnodes} hosts end at once, without a checkpoint.{saves}",
            lost,
            "Type the word terminate to do it.",
        ],
        placeholder="terminate",
        wrong=lambda typed: "" if typed == "terminate" else "Type terminate to do it, Esc to change nothing.",
        danger=True,
    )


def leave(moment: Moment) -> Dialog:
    """Before the console is left while a run goes on."""
    run, cost = moment.run, views.cost(moment.run, moment.now)
    sentences = [f"The run is {run.status} on {run.nnodes} hosts."]
    if "detach" in moment.controls:
        going = "without you" if cost.usd_per_h is None else f"and costs {views.money(cost.usd_per_h)} an hour"
        budget = run.budget_usd
        until = "" if budget is None else f", up to its budget of {views.money(budget)}"
        sentences.append(f"Detached, it goes on {going}{until}.")
    answers = []
    if "detach" in moment.controls:
        answers.append(Answer("d", "Detach", "detach"))
    if "stop" in moment.controls:
        answers.append(Answer("x", "Stop it", "stop", danger=True))
        sentences.append("Stopped, it saves a checkpoint and gives the hosts back; Ctrl-C again does this.")
    elif "terminate" in moment.controls:
        answers.append(Answer("x", "Terminate", "terminate", danger=True))
        sentences.append("Terminated, the hosts end at once; Ctrl-C again does this.")
    graceful = next((answer.value for answer in answers if answer.danger), None)
    return Dialog("Leave the console?", sentences, [*answers, Answer("n", "Stay", "cancel")], interrupted=graceful)


def go_to(moment: Moment) -> Prompt:
    """Where to in a log."""
    play = moment.play
    length = views.clock(play.end - play.start) if play else "—"
    return Prompt(
        "Go to",
        [f"A time such as 3:20 (the log is {length} long), a share such as 50%, or the end of an epoch such as e12."],
        placeholder="3:20",
        wrong=lambda typed: "" if parse_place(typed) else f"“{typed[:20]}” is no time, share or epoch.",
    )


def parse_place(typed: str) -> tuple[str, float] | None:
    """``("s", seconds)``, ``("%", share)`` or ``("e", epochs)``; None for anything else."""
    text = typed.strip().lower()
    if text.startswith("e") and text[1:].isdecimal() and len(text) < 9:
        return "e", float(text[1:])
    if text.endswith("%"):
        share = text[:-1].strip()
        return ("%", min(1.0, float(share) / 100)) if share.isdecimal() and len(share) < 4 else None
    parts = text.split(":")
    if not 1 <= len(parts) <= 3 or not all(part.isdecimal() and len(part) < 9 for part in parts):
        return None
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + int(part)
    return "s", seconds
