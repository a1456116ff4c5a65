import pytest

from dae_pacs.capacity.workload import KINDS, Workload, mixed, read_kinds, read_mix
from dae_pacs.errors import ConfigError


def test_shares_are_spread_over_the_studies_of_an_hour() -> None:
    per_hour = mixed(12, read_mix("ct=1, dx=3"), KINDS)

    assert [(kind.name, rate) for kind, rate in per_hour] == [("ct", 3.0), ("dx", 9.0)]
    assert Workload(per_hour).per_hour_of("images") == 3 * 200 + 9 * 2


def test_a_kind_of_ones_own_takes_the_place_of_a_known_one() -> None:
    kinds = read_kinds(["ct=64x0.25x1.5", "tomo=60x5"])

    assert kinds["ct"].megabytes == pytest.approx(64 * 0.25 * 1.5)
    assert kinds["tomo"].study_megapixels == 300
    assert kinds["dx"] == KINDS["dx"]


@pytest.mark.parametrize(
    "text", ["ct", "ct=200", "ct=twox3", "=2x3", "ct=0x3", "ct=2x0", "ct=2x3x0", "ct=2x3x1x4", "ct=9999999x1"]
)
def test_a_kind_that_cant_be_read_is_explained(text: str) -> None:
    with pytest.raises(ConfigError, match="--kind"):
        read_kinds([text])


@pytest.mark.parametrize(
    ("per_hour", "mix"), [(0, "ct"), (5, "ct=0"), (5, "mri=1"), (-1, "ct"), (5, "ct=2,dx=-1")]
)
def test_a_mixture_of_nothing_or_of_unknown_kinds_is_explained(per_hour: float, mix: str) -> None:
    with pytest.raises(ConfigError, match=r"studies|Kind"):
        mixed(per_hour, read_mix(mix), KINDS)


def test_shares_that_are_no_numbers_are_explained() -> None:
    with pytest.raises(ConfigError, match="expected kinds and shares"):
        read_mix("ct=many")
