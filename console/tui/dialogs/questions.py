"""The console's questions: before an action that destroys or costs, with its consequences and its price."""

from __future__ import annotations

from collections.abc import Callable

from textual.screen import ModalScreen

from console.billing import budget as budgets
from console.billing.cost import cost as cost_
from console.format import clock, count, money, time_of_day
from console.tui.dialogs.choice import Answer, ChoiceDialog
from console.tui.dialogs.prompt import Prompt
from console.tui.draw.moment import Moment
from console.views import progress

Asking = Callable[[], ModalScreen[str]]
"""Makes a question at the moment when it is asked."""


def stop(moment: Moment) -> ChoiceDialog:
    """Before a graceful stop."""
    at = progress.progress(moment.run)
    where = "" if at.step is None else f" The run is at step {count(at.step)} of {count(at.total_steps)}."
    return ChoiceDialog(
        "Stop the run?",
        [
            f"The workers save a checkpoint, which is fetched; then the hosts are released.{where}",
            "You can resume it later.",
        ],
        [Answer("x", "Stop", "stop", danger=True), Answer("n", "Cancel", "cancel")],
    )


def terminate(moment: Moment) -> Prompt:
    """Before all hosts are terminated; the word must be typed."""
    run, cost = moment.run, cost_(moment.run, moment.now)
    saves = "" if cost.usd_per_h is None else f" This saves {money(cost.usd_per_h)} an hour."
    last = run.checkpoints[-1] if run.checkpoints else None
    lost = "No checkpoint was saved: all training is lost."
    if last is not None:
        lost = f"Training after the checkpoint at step {count(last.step)} is lost."
    return Prompt(
        "Terminate all hosts?",
        [
            f"All {run.nnodes} hosts are terminated at once, without a checkpoint.{saves}",
            lost,
            "Type terminate to confirm.",
        ],
        placeholder="terminate",
        wrong=lambda typed: "" if typed == "terminate" else "Type terminate to confirm, Esc to cancel.",
        danger=True,
    )


def leave(moment: Moment) -> ChoiceDialog:
    """Before the console is left during a run."""
    run, cost = moment.run, cost_(moment.run, moment.now)
    sentences = [f"The run is {run.status} on {run.nnodes} hosts."]
    if "detach" in moment.controls:
        costs = "" if cost.usd_per_h is None else f" and costs {money(cost.usd_per_h)} an hour"
        budget = run.budget_usd
        until = "" if budget is None else f", up to its budget of {money(budget)}"
        sentences.append(f"Detach: the run continues without this console{costs}{until}.")
    answers = []
    if "detach" in moment.controls:
        answers.append(Answer("d", "Detach", "detach"))
    if "stop" in moment.controls:
        answers.append(Answer("x", "Stop", "stop", danger=True))
        sentences.append("Stop: it saves a checkpoint and releases the hosts (Ctrl-C again).")
    elif "terminate" in moment.controls:
        answers.append(Answer("x", "Terminate", "terminate", danger=True))
        sentences.append("Terminate: the hosts end at once (Ctrl-C again).")
    graceful = next((answer.value for answer in answers if answer.danger), None)
    return ChoiceDialog("Quit the console?", sentences, [*answers, Answer("n", "Stay", "cancel")], interrupted=graceful)


def budget(moment: Callable[[], Moment]) -> Prompt:
    """The new budget; `moment` is called again for each answer that is checked."""
    asked = moment()
    run, now = asked.run, asked.now
    cost = cost_(run, now)
    left_s = budgets.lasts_s(run, now)
    if run.budget_usd is None:
        sentence = f"No budget is set; spent {money(cost.billed_usd)}"
    else:
        sentence = f"Budget now {money(run.budget_usd)}, spent {money(cost.billed_usd)}"
    if left_s is not None and cost.usd_per_h is not None:
        until = time_of_day(now + left_s, now)
        sentence += f"; at {money(cost.usd_per_h)}/h it lasts until {until}"
    least = budgets.least_usd(run, now)
    takes = "" if least is None else f" To leave time for an orderly stop: more than {money(least)} now."

    def wrong(typed: str) -> str:
        usd = budgets.dollars(typed)
        if usd is None:
            return f'"{typed[:20]}" is not a dollar amount.'
        present = moment()
        refusal = budgets.refusal(present.run, present.now, usd)
        return f"{refusal[0].upper()}{refusal[1:]}." if refusal else ""

    sentences = [f"{sentence}.", f"The new total, in dollars.{takes}"]
    return Prompt("Change the budget", sentences, placeholder="60", wrong=wrong)


def go_to(moment: Moment) -> Prompt:
    """A moment of the run."""
    track = moment.track
    length = clock(track.end - track.start) if track else "—"
    return Prompt(
        "Go to",
        [
            f"A time such as 3:20 (of {length}), a time before the end such as -1:30, a percentage such as 50%, "
            "or the end of an epoch such as e12."
        ],
        placeholder="3:20",
        wrong=lambda typed: "" if parse_position(typed) else "Enter a time (3:20), a percentage or an epoch (e12).",
    )


def parse_position(typed: str) -> tuple[str, float] | None:
    """``("s", seconds)``, ``("-", seconds before the end)``, ``("%", share)`` or ``("e", epochs)``; else None."""
    text = typed.strip().lower()
    if text.startswith("e") and text[1:].isdecimal() and len(text) < 9:
        return "e", float(text[1:])
    if text.endswith("%"):
        share = text[:-1].strip()
        return ("%", min(1.0, float(share) / 100)) if share.isdecimal() and len(share) < 4 else None
    back = text.startswith("-")
    parts = text.removeprefix("-").split(":")
    if not 1 <= len(parts) <= 3 or not all(part.isdecimal() and len(part) < 9 for part in parts):
        return None
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + int(part)
    return "-" if back else "s", seconds
