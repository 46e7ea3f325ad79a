"""The machine image: by SSM's public parameters, whose names contain versions, or by owner and name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from console.fleet.aws.cloud import Cloud, CloudError
from console.fleet.provider import ProviderError

_PARAMETER = "/aws/service/deeplearning/ami/{architecture}/{name}/latest/ami-id"
_CANDIDATES = (
    "oss-nvidia-driver-gpu-pytorch-2.11-ubuntu-24.04",
    "oss-nvidia-driver-gpu-pytorch-2.10-ubuntu-24.04",
    "oss-nvidia-driver-gpu-pytorch-2.9-ubuntu-24.04",
    "oss-nvidia-driver-gpu-pytorch-2.8-ubuntu-24.04",
    "oss-nvidia-driver-gpu-pytorch-2.7-ubuntu-22.04",
)
"""AWS's deep learning images, the best first. Names up to 2.9 are from the release notes of 2026; later ones follow the
pattern, and a name that does not exist costs nothing: all are requested in one call."""
_NAMES = {
    "x86_64": "Deep Learning OSS Nvidia Driver AMI GPU PyTorch * (Ubuntu *",
    "arm64": "Deep Learning ARM64 AMI OSS Nvidia Driver GPU PyTorch * (Ubuntu *",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A machine image."""

    image_id: str
    name: str
    root_device: str
    root_gib: int
    """The smallest root volume that holds it."""


async def find_image(cloud: Cloud, wanted: str | None, architecture: str) -> Image:
    """The image that the profile names (``ami-...`` or an SSM parameter), or AWS's newest for deep learning.

    Raises:
        CloudError
        ProviderError: there is none of that name in the region, or it is for another processor.
    """
    region = await cloud.region()
    if wanted is not None and wanted.startswith("ami-"):
        return await _described(cloud, wanted, architecture, f"fleet.image: there is no image {wanted} in {region}")
    if wanted is not None:
        name = wanted if wanted.startswith("/") else _PARAMETER.format(architecture=architecture, name=wanted)
        missing = f"fleet.image: there is no SSM parameter {name} in {region}; an image id (ami-...) is accepted too"
        try:
            said = await cloud.call("ssm", "get_parameter", Name=name)
        except CloudError as error:
            if error.code in ("ParameterNotFound", "ValidationException"):
                raise ProviderError(missing) from None
            raise
        return await _described(cloud, said["Parameter"]["Value"], architecture, missing)
    return await _default(cloud, architecture)


async def _default(cloud: Cloud, architecture: str) -> Image:
    region = await cloud.region()
    names = [_PARAMETER.format(architecture=architecture, name=candidate) for candidate in _CANDIDATES]
    try:
        said = await cloud.call("ssm", "get_parameters", Names=names)
        found = {parameter["Name"]: parameter["Value"] for parameter in said["Parameters"]}
    except CloudError as error:
        # Without permission to read parameters, images may still be listed.
        if error.kind != "permission":
            raise
        found = {}
    for name in names:
        if name in found:
            gone = f"SSM's {name} names image {found[name]}, which {region} does not have; set fleet.image"
            return await _described(cloud, found[name], architecture, gone)
    pattern = _NAMES.get(architecture, _NAMES["x86_64"])
    filters = [
        {"Name": "name", "Values": [pattern]},
        {"Name": "state", "Values": ["available"]},
        {"Name": "architecture", "Values": [architecture]},
    ]
    images = await cloud.pages("ec2", "describe_images", "Images", Owners=["amazon"], Filters=filters)
    if not images:
        raise ProviderError(f"no AWS deep learning image was found in {region}; set fleet.image to an ami-...")
    return _image_of(max(images, key=lambda image: str(image.get("CreationDate", ""))))


async def _described(cloud: Cloud, image_id: str, architecture: str, missing: str) -> Image:
    try:
        images = (await cloud.call("ec2", "describe_images", ImageIds=[image_id]))["Images"]
    except CloudError as error:
        if error.kind == "missing" or error.code == "InvalidAMIID.Unavailable":
            raise ProviderError(missing) from None
        raise
    if not images:
        raise ProviderError(missing)
    made_for = images[0].get("Architecture", architecture)
    if made_for != architecture:
        raise ProviderError(f"fleet.image: {image_id} is for {made_for} and the instance type is {architecture}")
    return _image_of(images[0])


def _image_of(said: dict[str, Any]) -> Image:
    root = said.get("RootDeviceName") or "/dev/sda1"
    sizes = [
        mapping.get("Ebs", {}).get("VolumeSize", 0)
        for mapping in said.get("BlockDeviceMappings", ())
        if mapping.get("DeviceName") == root
    ]
    return Image(
        image_id=said["ImageId"], name=said.get("Name", ""), root_device=root, root_gib=int(max(sizes, default=0) or 0)
    )
