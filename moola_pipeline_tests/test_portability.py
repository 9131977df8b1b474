"""What can be known of macOS and Windows on Linux: no unguarded call, and which wheels there are."""

import pytest

from moola_pipeline_tests.portability import PLATFORMS, calls_missing_on, has_wheel, pins

APPLE, INTEL, WINDOWS = PLATFORMS.values()
COMPILED = [
    "talib-1.0.tar.gz",
    "talib-1.0-cp311-cp311-macosx_11_0_arm64.whl",
    "talib-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
    "talib-2.0-cp311-cp311-win_amd64.whl",
    "not-a-wheel.whl",
]


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["Darwin", "Windows"])
def test_every_call_that_a_platform_lacks_is_guarded(platform: str):
    assert calls_missing_on(platform) == []


def test_a_wheel_counts_for_its_version_and_platform_only():
    assert has_wheel(COMPILED, "1.0", APPLE)
    assert not has_wheel(COMPILED, "1.0", INTEL)
    assert not has_wheel(COMPILED, "1.0", WINDOWS)
    assert has_wheel(COMPILED, "2.0", WINDOWS)


def test_pure_python_and_the_stable_abi_count_everywhere_and_a_source_archive_nowhere():
    for platform in PLATFORMS.values():
        assert has_wheel(["pure-3.1-py3-none-any.whl"], "3.1", platform)
        assert not has_wheel(["source-3.1.tar.gz"], "3.1", platform)
    assert has_wheel(["abi-4.0-cp38-abi3-win_amd64.whl"], "4.0", WINDOWS)


def test_every_pin_has_a_name_and_one_version():
    pinned = dict(pins())
    assert len(pinned) > 100 and "torch" in pinned and not any(name.startswith("nvidia") for name in pinned)
    assert all(version[0].isdigit() for version in pinned.values())
