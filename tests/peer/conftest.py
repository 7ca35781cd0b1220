"""The variants that the suite compiles and runs: two that differ in all there is."""

import pytest

from tests.peer.build import Enclaves, Host

Variant = tuple[Host, Enclaves]

VARIANTS: tuple[Variant, ...] = (
    (Host("musl", "-O0", "soft"), Enclaves("-O2", "soft", attributes=False)),
    (Host("glibc", "-O2", "hard"), Enclaves("-O0", "hard", attributes=True)),
)


@pytest.fixture(params=VARIANTS, ids=lambda variant: f"{variant[0]}+{variant[1]}")
def variant(request: pytest.FixtureRequest) -> Variant:
    chosen: Variant = request.param
    if not chosen[0].available:
        pytest.skip("no riscv64-linux-gnu-gcc with a C library")
    return chosen


@pytest.fixture
def musl() -> Variant:
    """The variant that is there wherever ziglang is."""
    return VARIANTS[0]
