"""Ingredients of an asset (code, libraries, data, settings, upstream assets) and their fingerprint."""

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
"""Metadata key of a materialization's `Ingredients`; changes are reported against them."""
PIPELINE_LABEL = "pipeline"
"""Market and profile, which also name the folder of the assets."""


class Ingredients(BaseModel):
    """Everything that decides an asset.

    Attributes:
        code: Digest of each relevant source file, by its path in the package.
        libraries: Version of each relevant library.
        data_digests: Digests of the relevant data.
        settings: Relevant settings, and the pipeline label.
        upstream: Data versions of upstream assets; None if never built.
        market: Digests of all data at that time, for messages only; not part of the fingerprint.
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
        """Digest of all ingredients except `market`: 16 hex digits."""
        parts = self.model_dump(mode="json", exclude={"market"})
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def data_version(self) -> str:
        """Digest of the asset's content where it is known, else the fingerprint."""
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
    """The code of this package, read once for each process."""
    return PackageCode(package_tree())


def code_version(asset: str) -> str:
    """Digest of the code that decides an asset: 12 hex digits."""
    package = package_code()
    parts = json.dumps(package.digests(package.of_asset(asset)))
    return hashlib.sha256(parts.encode()).hexdigest()[:12]


def code_digests(*roots: str) -> dict[str, str]:
    """Digests of the code behind some files of the package; see `PackageCode.digests`."""
    package = package_code()
    return package.digests(package.tree.code(roots))


def ingredients(
    asset: str,
    data_digests: DataDigests,
    settings: Mapping[str, Any],
    upstream: Mapping[str, str | None],
    package: PackageCode | None = None,
) -> Ingredients:
    """The ingredients of an asset.

    Args:
        asset: One of `STAGES`.
        data_digests: The market's data.
        settings: At least its settings and the pipeline label, as plain values.
        upstream: At least the data versions of its upstream assets; None for one never built.
        package: The code; None: this package.
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
    """The ingredients of each asset if all were built now, in the order of the pipeline."""
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
