"""The dialogs of the console: what destroys or costs is asked for in a whole sentence, with its price."""

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
"""Makes a question, once it is sure that it will be asked."""


def stop(moment: Moment) -> ChoiceDialog:
    """Before a graceful stop."""
    at = progress.progress(moment.run)
    where = "" if at.step is None else f" It is at step {count(at.step)} of {count(at.total_steps)}."
    return ChoiceDialog(
        "Stop the run?",
        [
            f"The gang saves a checkpoint, which is fetched; then the hosts are given back.{where}",
            "It can be gone on with later.",
        ],
        [Answer("x", "Stop it", "stop", danger=True), Answer("n", "Go on", "cancel")],
    )


def terminate(moment: Moment) -> Prompt:
    """Before everything is torn down; the word must be typed."""
    run, cost = moment.run, cost_(moment.run, moment.now)
    saves = "" if cost.usd_per_h is None else f" This saves {money(cost.usd_per_h)} an hour."
    last = run.checkpoints[-1] if run.checkpoints else None
    lost = "No checkpoint was saved: all training is lost."
    if last is not None:
        lost = f"Training after the checkpoint of step {count(last.step)} is lost."
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


def leave(moment: Moment) -> ChoiceDialog:
    """Before the console is left while a run goes on."""
    run, cost = moment.run, cost_(moment.run, moment.now)
    sentences = [f"The run is {run.status} on {run.nnodes} hosts."]
    if "detach" in moment.controls:
        going = "without you" if cost.usd_per_h is None else f"and costs {money(cost.usd_per_h)} an hour"
        budget = run.budget_usd
        until = "" if budget is None else f", up to its budget of {money(budget)}"
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
    return ChoiceDialog(
        "Leave the console?", sentences, [*answers, Answer("n", "Stay", "cancel")], interrupted=graceful
    )


def budget(moment: Callable[[], Moment]) -> Prompt:
    """How much the run may cost from now on; `moment` is asked again when there is an answer to judge."""
    asked = moment()
    run, now = asked.run, asked.now
    cost = cost_(run, now)
    left_s = budgets.lasts_s(run, now)
    if run.budget_usd is None:
        sentence = f"There is no budget; spent {money(cost.billed_usd)}"
    else:
        sentence = f"Budget now {money(run.budget_usd)}, spent {money(cost.billed_usd)}"
    if left_s is not None and cost.usd_per_h is not None:
        until = time_of_day(now + left_s, now)
        sentence += f"; at {money(cost.usd_per_h)}/h it lasts until {until}"
    least = budgets.least_usd(run, now)
    takes = "" if least is None else f" It must leave time to stop in order: more than {money(least)} now."

    def wrong(typed: str) -> str:
        usd = budgets.dollars(typed)
        if usd is None:
            return f"“{typed[:20]}” is no amount of dollars."
        present = moment()
        refusal = budgets.refusal(present.run, present.now, usd)
        return f"{refusal[0].upper()}{refusal[1:]}." if refusal else ""

    sentences = [f"{sentence}.", f"The new total, in dollars.{takes}"]
    return Prompt("Set another budget", sentences, placeholder="60", wrong=wrong)


def go_to(moment: Moment) -> Prompt:
    """Where to in a run's time."""
    track = moment.track
    length = clock(track.end - track.start) if track else "—"
    return Prompt(
        "Go to",
        [
            f"A time such as 3:20 (of {length}), a time back from the end such as -1:30, a share such as 50%, "
            "or the end of an epoch such as e12."
        ],
        placeholder="3:20",
        wrong=lambda typed: "" if parse_place(typed) else f"“{typed[:20]}” is no time, share or epoch.",
    )


def parse_place(typed: str) -> tuple[str, float] | None:
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
