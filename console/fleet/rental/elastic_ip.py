"""The run's Elastic IP: one public address, at node 0, through which the others are reached."""

from __future__ import annotations

import asyncio
from typing import Any

from console.fleet.aws.cloud import CloudError
from console.fleet.aws.instances import RUN_TAG, Instance
from console.fleet.rental.context import PASSING, AwsContext, Deadline


async def attach(context: AwsContext, instance: Instance) -> str:
    """The run's Elastic IP, allocated where there is none yet, now at the instance. Raises CloudError."""
    region = instance.region
    have = await _allocated(context, region)
    while have is None and context.may_appear("elastic-ip", region):
        # A console before this one asked for it, and AllocateAddress takes no token.
        await asyncio.sleep(context.patience.poll_s)
        have = await _allocated(context, region)
    if have is None:
        have = await context.create(
            region, "elastic-ip", "allocate_address", Domain="vpc", TagSpecifications=context.tagged("elastic-ip")
        )
    end = Deadline(context.patience.visible_s)
    while True:
        try:
            await context.make(
                region,
                "associate_address",
                AllocationId=have["AllocationId"],
                NetworkInterfaceId=instance.interface_id,
                AllowReassociation=True,
            )
            return str(have["PublicIp"])
        except CloudError as error:
            # Just made, and not yet known everywhere.
            if error.kind not in (*PASSING, "missing") or end.passed:
                raise
        await asyncio.sleep(context.patience.poll_s)


async def _allocated(context: AwsContext, region: str) -> dict[str, Any] | None:
    filters = [{"Name": f"tag:{RUN_TAG}", "Values": [context.run_id]}]
    answer = await context.cloud(region).call("ec2", "describe_addresses", Filters=filters)
    have: list[dict[str, Any]] = sorted(answer["Addresses"], key=lambda one: str(one["AllocationId"]))
    return have[0] if have else None
