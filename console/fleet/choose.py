"""The provider of a profile, imported only when it is used: AWS's needs boto3, the local one asyncssh."""

from __future__ import annotations

from console.fleet.provider import Provider
from console.journal.directory import RunDirectory
from console.profile.schema import Profile


def provider_of(profile: Profile, directory: RunDirectory) -> Provider:
    """The provider that the profile names. Raises ProviderError if it cannot be used."""
    if profile.fleet.provider == "local":
        from console.fleet.local import LocalProvider

        return LocalProvider(profile, directory)
    if profile.fleet.provider == "static":
        from console.fleet.static import StaticProvider

        return StaticProvider(profile, directory)
    from console.fleet.rental.provider import AwsProvider

    return AwsProvider(profile, directory)
