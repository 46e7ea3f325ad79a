"""The run's Elastic IP: one public address, at node 0, through which the others are reached."""

from __future__ import annotations

import asyncio
from typing import Any

from console.fleet.aws.cloud import CloudError
from console.fleet.aws.instances import RUN_TAG, Instance
from console.fleet.rental.context import PASSING, AwsContext, Deadline


async def attach(context: AwsContext, instance: Instance) -> str:
    """Associates the run's Elastic IP, allocated if there is none, with the instance. Raises CloudError."""
    region = instance.region
    address = await _allocated(context, region)
    while address is None and context.may_appear("elastic-ip", region):
        # An earlier console requested it, and AllocateAddress takes no client token.
        await asyncio.sleep(context.patience.poll_s)
        address = await _allocated(context, region)
    if address is None:
        address = await context.create(
            region, "elastic-ip", "allocate_address", Domain="vpc", TagSpecifications=context.tagged("elastic-ip")
        )
    end = Deadline(context.patience.visible_s)
    while True:
        try:
            await context.make(
                region,
                "associate_address",
                AllocationId=address["AllocationId"],
                NetworkInterfaceId=instance.interface_id,
                AllowReassociation=True,
            )
            return str(address["PublicIp"])
        except CloudError as error:
            # Just created, and not visible everywhere yet.
            if error.kind not in (*PASSING, "missing") or end.passed:
                raise
        await asyncio.sleep(context.patience.poll_s)


async def _allocated(context: AwsContext, region: str) -> dict[str, Any] | None:
    filters = [{"Name": f"tag:{RUN_TAG}", "Values": [context.run_id]}]
    answer = await context.cloud(region).call("ec2", "describe_addresses", Filters=filters)
    addresses: list[dict[str, Any]] = sorted(answer["Addresses"], key=lambda address: str(address["AllocationId"]))
    return addresses[0] if addresses else None
