"""What the version before the modules became packages left on disks and at AWS, put where a console of today finds it.

Where things lie is written out here and not asked of the code: a console that looked elsewhere would have lost its
users' runs. See data/before_the_house/README.md.
"""

from __future__ import annotations

import gzip
import json
import lzma
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import asyncssh
from fake_cloud import FakeCloud

DATA = Path(__file__).parent / "data" / "before_the_house"
RUNS = ("ended", "stopped", "cutoff", "static", "rented", "asked")
REGION = "us-east-1"
_STATE = "/tmp/x/state/fastconsole"
"""The folder of state in which the runs were made, which `fleet.json` names."""
_PACKED: Mapping[str, Callable[[bytes], bytes]] = {".gz": gzip.decompress, ".xz": lzma.decompress}


def content(name: str) -> bytes:
    """A file of the data, unpacked."""
    for end, unpacked in _PACKED.items():
        path = DATA / f"{name}{end}"
        if path.exists():
            return unpacked(path.read_bytes())
    return (DATA / name).read_bytes()


def run_id(run: str) -> str:
    """The whole id of one of `RUNS`."""
    (folder,) = DATA.glob(f"runs/{run}-*")
    return folder.name


def runs_home() -> Path:
    """Where runs lie below the folder of state."""
    return Path(os.environ["XDG_STATE_HOME"]) / "fastconsole" / "runs"


def put(run: str, ids: Mapping[str, str] | None = None) -> Path:
    """The run's directory, as its console left it; `ids` take the place of those that AWS gave then."""
    to = runs_home() / run_id(run)
    put_folder(DATA / "runs" / run_id(run), to, ids)
    fleet = to / "fleet.json"
    fleet.write_text(fleet.read_text().replace(_STATE, str(runs_home().parent)))
    if "client_key" in fleet.read_text():
        to.joinpath("key").touch(0o600)
        to.joinpath("key").write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    (to / "checkpoints").mkdir(exist_ok=True)
    return to


def put_folder(kept: Path, to: Path, ids: Mapping[str, str] | None = None) -> None:
    """A folder of the data, unpacked, in a new place."""
    for path in sorted(kept.rglob("*")):
        if path.is_dir():
            continue
        place = to / path.relative_to(kept)
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        unpacked = _PACKED.get(path.suffix)
        place = place.with_suffix("") if unpacked else place
        text = unpacked(path.read_bytes()) if unpacked else path.read_bytes()
        for then, now in (ids or {}).items():
            text = text.replace(then.encode(), now.encode())
        place.touch(0o600)
        place.write_bytes(text)


def events(directory: Path, *kinds: str) -> list[dict[str, Any]]:
    """The records of a run's journal, of these kinds or all."""
    records = [json.loads(line) for line in (directory / "run.jsonl").read_text().splitlines()]
    return [record for record in records if record["event"] in kinds or not kinds]


def rent(cloud: FakeCloud, run: str, user_data: str = "", tags: Mapping[str, str] | None = None) -> dict[str, str]:
    """Makes what the run had at AWS once more, by the very requests; the ids of then, each with the one of now.

    `user_data`: what the instances boot with; `tags` take the place of those with their names.
    """
    client, requests = cloud.client("ec2", REGION), json.loads(content(f"{run}-requests.json"))
    text = json.dumps(requests)
    (vpc,) = set(re.findall(r"vpc-[0-9a-f]{17}", text))
    ids = {vpc: cloud.vpcs[REGION]}
    for request in requests:
        params = json.loads(_with(ids, json.dumps(request["params"])))
        for tag in params.get("Tags", ()) if request["action"] == "CreateTags" else ():
            tag["Value"] = (tags or {}).get(tag["Key"], tag["Value"])
        if request["action"] == "RunInstances":
            place = [{"Name": "vpc-id", "Values": [cloud.vpcs[REGION]]}]
            zone = params["Placement"]["AvailabilityZone"]
            subnets = client.describe_subnets(Filters=place)["Subnets"]
            (subnet,) = (one["SubnetId"] for one in subnets if one["AvailabilityZone"] == zone)
            (then,) = {one["SubnetId"] for one in params["NetworkInterfaces"]}
            ids[then] = subnet
            params = {**json.loads(_with(ids, json.dumps(params))), "UserData": user_data}
        answer = getattr(client, re.sub(r"(?<!^)(?=[A-Z])", "_", request["action"]).lower())(**params)
        if request["action"] == "CreateSecurityGroup":
            (then,) = set(re.findall(r"sg-[0-9a-f]{17}", text))
            ids[then] = answer["GroupId"]
        if request["action"] == "RunInstances":
            now = sorted(one["InstanceId"] for one in answer["Instances"])
            # In the order of their ids, as the claim has them.
            ids.update(zip(sorted(_instances(run)), now, strict=False))
            patience: Any = {"Delay": 0.1, "MaxAttempts": 100}
            client.get_waiter("instance_running").wait(InstanceIds=now, WaiterConfig=patience)
    return ids


def _instances(run: str) -> list[str]:
    """The ids that the run's console knew."""
    (kept,) = DATA.glob(f"runs/{run}-*")
    return sorted(set(re.findall(r"\bi-[0-9a-f]{17}", (kept / "fleet.json").read_text())))


def _with(ids: Mapping[str, str], text: str) -> str:
    for then, now in ids.items():
        text = text.replace(then, now)
    return text
