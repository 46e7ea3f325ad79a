"""The first record of a run: what its profile says, so that every reader of the journal can do without it. Pure."""

from __future__ import annotations

from console import VERSION
from console.profile.schema import Profile
from console.state.events import SCHEMA, RunCreated


def run_created(profile: Profile, run_id: str) -> RunCreated:
    """The event that creates a run of this profile."""
    fleet, target = profile.fleet, profile.run.target
    return RunCreated(
        schema=SCHEMA,
        run_id=run_id,
        version=VERSION,
        profile=profile.name,
        profile_text=profile.text,
        overrides=profile.overrides,
        provider=fleet.provider,
        nnodes=fleet.nodes,
        nproc_per_node=profile.run.nproc_per_node,
        accelerator=profile.run.accelerator,
        target_metric=target.metric if target else None,
        target_value=target.value if target else None,
        instance_type=fleet.instance_type,
        usd_per_h=fleet.usd_per_h,
        usd_per_h_on_demand=fleet.usd_per_h_on_demand,
        price_note=fleet.price_note or ("simulated" if fleet.provider == "local" else ""),
        budget_usd=profile.budget.max_usd,
        budget_warn_at=profile.budget.warn_at,
        on_loss=fleet.on_loss,
        stage_from=profile.data.stage_from,
    )
