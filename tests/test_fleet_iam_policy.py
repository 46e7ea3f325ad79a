"""The IAM policy: it allows what the program calls, under the conditions that keep it to what is ours, and no more."""

from __future__ import annotations

import ast
import fnmatch
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore
import botocore.session
import pytest

from console.fleet.aws.instances import NODE_TAG, RUN_TAG
from console.fleet.aws.tags import HOST_KEY_TAG, LOGIN_TAG, MANIFEST_TAG, MARK_TAG

ROOT = Path(__file__).parent.parent
POLICY = ROOT / "profiles" / "aws-iam-policy.json"
SERVICES = {
    "ec2": "ec2",
    "ec2-instance-connect": "ec2-instance-connect",
    "pricing": "pricing",
    "service-quotas": "servicequotas",
    "ssm": "ssm",
    "sts": "sts",
}
"""botocore's name of a service, and IAM's."""
S3 = {"get_object": "s3:GetObject", "head_bucket": "s3:ListBucket", "list_objects_v2": "s3:ListBucket"}
"""IAM has names of its own for S3's operations (Service Authorization Reference, Amazon S3)."""
NEEDS_NONE = {"sts:GetCallerIdentity"}
"""Who one is, one may always ask."""
NOT_CALLED = {
    "iam:CreateServiceLinkedRole",  # EC2 does it in the user's name, for the first spot instance of an account
}


def statements() -> list[dict[str, Any]]:
    policy = json.loads(POLICY.read_text())
    assert policy["Version"] == "2012-10-17"
    found: list[dict[str, Any]] = policy["Statement"]
    return found


def allowed(statement: dict[str, Any]) -> list[str]:
    actions = statement["Action"]
    return [actions] if isinstance(actions, str) else actions


def operations() -> dict[str, str]:
    """boto3's names of operations, with IAM's of the action."""
    session = botocore.session.Session()
    found = dict(S3)
    for service, prefix in SERVICES.items():
        for operation in session.get_service_model(service).operation_names:
            found[botocore.xform_name(operation)] = f"{prefix}:{operation}"
    return found


def texts() -> Iterator[str]:
    """Texts in the source that asks AWS; of one that is put together, its beginning with a star."""
    files = [
        *(ROOT / "console/fleet").rglob("*.py"),
        *(ROOT / "console/discovery").rglob("*.py"),
        ROOT / "console/catalog/prices.py",
        ROOT / "console/live/presigned.py",
    ]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                yield f"{node.values[0].value}*"


def called() -> set[str]:
    known, found = operations(), set()
    for text in texts():
        if text in known:
            found.add(known[text])
        elif text.endswith("_*"):
            # ``authorize_security_group_{way}``: two words, one text.
            found |= {action for name, action in known.items() if fnmatch.fnmatchcase(name, f"{text[:-1]}*gress")}
    return found


def test_what_is_called_is_found_in_the_source() -> None:
    # Were nothing found, the tests below would say nothing.
    assert {
        "ec2:RunInstances",
        "ec2:TerminateInstances",
        "ec2:AuthorizeSecurityGroupEgress",
        "ec2:DescribeSpotPriceHistory",
        "pricing:GetProducts",
        "s3:GetObject",
        "s3:ListBucket",
        "servicequotas:GetServiceQuota",
        "ssm:GetParameter",
        "sts:GetCallerIdentity",
    } <= called()


def test_everything_that_is_called_is_allowed() -> None:
    patterns = [pattern for statement in statements() for pattern in allowed(statement)]
    missing = [
        action
        for action in sorted(called() - NEEDS_NONE)
        if not any(fnmatch.fnmatchcase(action, pattern) for pattern in patterns)
    ]
    assert missing == []


def test_nothing_else_is_allowed() -> None:
    actions = {action for statement in statements() for action in allowed(statement) if "*" not in action}
    assert actions - called() == NOT_CALLED
    wild = {action for statement in statements() for action in allowed(statement) if "*" in action}
    assert wild == {"ec2:Describe*"}


def test_of_s3_one_bucket_can_be_read_and_nothing_written() -> None:
    found = [one for one in statements() if any(action.startswith("s3:") for action in allowed(one))]
    assert [(allowed(one), one["Resource"]) for one in found] == [
        (
            ["s3:GetObject", "s3:ListBucket"],
            ["arn:aws:s3:::THE-DATA-SETS-BUCKET", "arn:aws:s3:::THE-DATA-SETS-BUCKET/*"],
        )
    ]


def test_all_statements_allow_and_are_named() -> None:
    found = statements()
    assert {statement["Effect"] for statement in found} == {"Allow"}
    names = [statement["Sid"] for statement in found]
    assert len(set(names)) == len(names)
    assert all(name.isalnum() for name in names)
    # IAM's limit for a managed policy, white space not counted.
    assert len("".join(POLICY.read_text().split())) < 6144


@pytest.mark.parametrize(
    "action",
    sorted(
        {
            "ec2:AssociateAddress",
            "ec2:AuthorizeSecurityGroupIngress",
            "ec2:DeleteNetworkInterface",
            "ec2:DeletePlacementGroup",
            "ec2:DeleteSecurityGroup",
            "ec2:DeleteVolume",
            "ec2:ReleaseAddress",
            "ec2:RevokeSecurityGroupIngress",
            "ec2:TerminateInstances",
            "ec2-instance-connect:SendSSHPublicKey",
        }
    ),
)
def test_only_what_bears_the_runs_tag_is_changed_or_ended(action: str) -> None:
    found = [statement for statement in statements() if action in allowed(statement)]
    assert [statement["Condition"] for statement in found] == [{"Null": {f"aws:ResourceTag/{RUN_TAG}": "false"}}]


def test_instances_are_launched_with_the_runs_tag_only() -> None:
    launches = [statement for statement in statements() if "ec2:RunInstances" in allowed(statement)]
    tagged = [one for one in launches if f"aws:RequestTag/{RUN_TAG}" in one.get("Condition", {}).get("Null", {})]
    assert [sorted(kind.split(":")[-1].split("/")[0] for kind in one["Resource"]) for one in tagged] == [
        ["instance", "network-interface", "spot-instances-request", "volume"]
    ]
    free = {kind for one in launches if "Condition" not in one for kind in one["Resource"]}
    assert not any("instance/" in kind or "security-group/" in kind for kind in free)


def test_tags_are_put_on_what_is_made_and_a_number_on_our_instances() -> None:
    conditions = [one["Condition"] for one in statements() if "ec2:CreateTags" in allowed(one)]
    made = {"ec2:AllocateAddress", "ec2:CreatePlacementGroup", "ec2:CreateSecurityGroup", "ec2:RunInstances"}
    assert conditions == [
        {"StringEquals": {"ec2:CreateAction": sorted(action.removeprefix("ec2:") for action in made)}},
        {
            "Null": {f"aws:ResourceTag/{RUN_TAG}": "false"},
            "ForAllValues:StringEquals": {"aws:TagKeys": [MANIFEST_TAG, MARK_TAG, HOST_KEY_TAG, LOGIN_TAG, NODE_TAG]},
        },
    ]
