"""What an asset is made from: code, data, settings and upstream assets, and the fingerprint of them all."""

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel, ConfigDict

from moola_pipeline.code_digests import LIBRARIES, Code, SourceTree, package_tree
from moola_pipeline.instrument_data import InstrumentData
from moola_pipeline.settings import Profile
from moola_pipeline.staleness.data_digests import DataDigests
from moola_pipeline.staleness.stages import STAGES, roots_of

FINGERPRINT = "fingerprint"
MADE_FROM = "made_from"
"""Under this name a materialization holds its `Ingredients`, so that a later change can be named."""
PIPELINE_LABEL = "pipeline"
"""Market and profile: what one of them made does not stand in the folder of another."""


class Ingredients(BaseModel):
    """Everything that decides an asset.

    Attributes:
        code: Digest of each source file that counts, by its path in the package.
        libraries: Version of each library that counts.
        sources: Digests of data.
        settings: Parts of the profile, and its place.
        upstream: Data versions of assets; None for one never made.
        market: All data at that time, so that a change can be put in words; decides nothing.
    """

    model_config = ConfigDict(frozen=True)

    asset: str
    code: dict[str, str]
    libraries: dict[str, str]
    data_digests: dict[str, str]
    settings: dict[str, Any]
    upstream: dict[str, str | None]
    market: DataDigests

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides: 16 hex digits."""
        parts = self.model_dump(mode="json", exclude={"market"})
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def data_version(self) -> str:
        """What stands for the asset's content: its digest where it is known, else the fingerprint."""
        return self.market.contents.get(self.asset, self.fingerprint)


class PackageCode:
    """The code of each asset, and the versions of the libraries that it imports.

    Args:
        tree: The package's source files.
        installed: Version of each library.
    """

    def __init__(self, tree: SourceTree, installed: Callable[[str], str] = version) -> None:
        self.tree, self.installed = tree, {name: installed(name) for name in LIBRARIES.values()}

    def of_asset(self, asset: str) -> Code:
        """The code that decides an asset."""
        return self.tree.code(roots_of(asset), STAGES[asset].alone)

    def versions(self, code: Code) -> dict[str, str]:
        """Versions of the libraries that some code imports."""
        return {name: self.installed[name] for name in sorted(code.libraries)}

    def digests(self, code: Code) -> dict[str, str]:
        """Digest of each file of some code, and the versions of the libraries that it imports."""
        return code.files | self.versions(code)


@cache
def package_code() -> PackageCode:
    """The code of this package, as it is when it is first asked for."""
    return PackageCode(package_tree())


def code_version(asset: str) -> str:
    """Digest of the code that decides an asset: 12 hex digits."""
    package = package_code()
    parts = json.dumps(package.digests(package.of_asset(asset)))
    return hashlib.sha256(parts.encode()).hexdigest()[:12]


def code_digests(*roots: str) -> dict[str, str]:
    """What decides a result that some files of the package compute; see `PackageCode.digests`."""
    package = package_code()
    return package.digests(package.tree.code(roots))


def ingredients(
    asset: str,
    data_digests: DataDigests,
    settings: Mapping[str, Any],
    upstream: Mapping[str, str | None],
    package: PackageCode | None = None,
) -> Ingredients:
    """What decides an asset.

    Args:
        asset: Its name, one of `STAGES`.
        sources: The market's data.
        settings: At least the settings it depends on and its place, as plain values.
        upstream: At least the data versions it depends on; None for an asset never made.
        package: Whose code counts; None: this package's.
    """
    stage, package = STAGES[asset], package or package_code()
    code = package.of_asset(asset)
    return Ingredients(
        asset=asset,
        code=code.files,
        libraries=package.versions(code),
        data_digests={name: data_digests.digests[name] for name in stage.data_digests},
        settings={name: settings[name] for name in (PIPELINE_LABEL, *stage.settings)},
        upstream={name: upstream.get(name) for name in stage.upstream},
        market=data_digests,
    )


def all_ingredients(
    data_digests: DataDigests,
    settings: Mapping[str, Any],
    champion: str | None,
    package: PackageCode | None = None,
) -> dict[str, Ingredients]:
    """What would decide each asset if all of them were made now, in the order of the work."""
    made: dict[str, Ingredients] = {}
    for asset in STAGES:
        upstream = {name: one.data_version for name, one in made.items()} | {"champion": champion}
        made[asset] = ingredients(asset, data_digests, settings, upstream, package)
    return made


def stage_settings(market: InstrumentData, profile: Profile) -> dict[str, Any]:
    """The settings that fingerprints name."""
    return {
        PIPELINE_LABEL: f"{market.name}-{profile.name}",
        "splits": market.splits.model_dump(mode="json"),
        "stride": profile.pretrain.stride,
        "pretrain": profile.pretrain.model_dump(mode="json"),
        "finetune": profile.finetune.model_dump(mode="json"),
        "report": profile.report.model_dump(mode="json"),
    }
