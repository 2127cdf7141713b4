"""Groups in each of XLA's notations, and the time of collectives on tori whose links can be counted by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from dnabert_jax.errors import JobError
from dnabert_jax.parallel.chips import Chip, chip_named
from dnabert_jax.planning.hlo import first_group
from dnabert_jax.planning.plan import Interconnect


@pytest.mark.parametrize(
    ("notation", "group"),
    [
        ("", (0, 1, 2, 3, 4, 5, 6, 7)),
        (", replica_groups={}, dimensions={0}", (0, 1, 2, 3, 4, 5, 6, 7)),
        (", replica_groups={{0,2},{1,3}}, dimensions={0}", (0, 2)),
        (", replica_groups=[2,4]<=[8], dimensions={0}", (0, 1, 2, 3)),
        (", replica_groups=[4,2]<=[2,4]T(1,0), dimensions={0}", (0, 4)),
        (", replica_groups=mesh['a'=2,'b'=4] {'b'}, dimensions={0}", (0, 1, 2, 3)),
        (", replica_groups=mesh['a'=2,'b'=4] {'a'}, dimensions={0}", (0, 4)),
        (", replica_groups=mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'a','b'}, to_apply=%add", (0, 2, 1, 3)),
        (", replica_groups=mesh['a'=2,'b'=4] {'a','b':(1)2}, to_apply=%add", (0, 2, 4, 6)),
        (", replica_groups=mesh['a'=2,'b'=4] {'b':(2)2}, to_apply=%add", (0, 1)),
    ],
)
def test_the_first_group_of_each_notation(notation: str, group: tuple[int, ...]) -> None:
    assert first_group(notation, 8) == group


def test_an_unknown_notation_is_an_error() -> None:
    with pytest.raises(JobError, match="<3>"):
        first_group(", replica_groups=<3>", 8)


def slice_of(name: str, *extent: int, slices: int = 1) -> tuple[Interconnect, Chip]:
    """A slice with its devices in the order of their places, the last axis fastest."""
    chip = chip_named(name)
    assert chip is not None
    places = [SimpleNamespace(coords=list(place)) for place in np.ndindex(*extent)]
    return Interconnect(chip, places, slices), chip


@pytest.mark.parametrize(
    ("name", "extent", "group", "links"),
    [
        ("v5e", (16, 16, 1), range(256), 4),  # two rings
        ("v5e", (16, 16, 1), range(16), 2),  # one of them
        ("v5e", (16, 16, 1), range(8), 1),  # half of one: a line, at whose end one link comes in
        ("v5e", (8, 16, 1), range(128), 3),  # a line and a ring
        ("v5e", (4, 4, 1), range(16), 2),  # two lines
        ("v4", (4, 4, 4), range(64), 6),
        ("v5p", (2, 2, 1), range(4), 2),
        ("v5p", (4, 4, 2), range(32), 3),  # no whole cube, no ring
        ("v5e", (4, 4, 1), [3], 1),
    ],
)
def test_links_of_a_group(name: str, extent: tuple[int, ...], group: range, links: int) -> None:
    assert slice_of(name, *extent)[0].links(list(group)) == links


def test_time_is_bytes_by_bandwidth() -> None:
    network, chip = slice_of("v5e", 16, 16, 1)
    size, pod = 10**9, list(range(256))
    gathered = size * 255 / 256 / (4 * chip.link_bandwidth)
    assert network.seconds("all-gather", size, pod) == pytest.approx(gathered)
    assert network.seconds("reduce-scatter", size, pod) == pytest.approx(gathered)
    assert network.seconds("all-reduce", size, pod) == pytest.approx(2 * gathered)
    assert network.seconds("all-reduce", size, [7]) == 0
    assert network.seconds("collective-permute", size, pod) == pytest.approx(size / chip.link_bandwidth)


def test_between_slices_the_network_of_the_data_centre_counts() -> None:
    network, chip = slice_of("v5e", 4, 4, 1, slices=4)
    alone = 10**9 / (chip.dcn_bandwidth or 0)
    assert network.seconds("ALL_REDUCE", 10**9, ()) == pytest.approx(2 * 3 / 4 * alone)
    assert network.seconds("ALL_GATHER", 10**9, ()) == pytest.approx(3 * alone)
    assert slice_of("v4", 2, 2, 1, slices=2)[0].seconds("ALL_REDUCE", 10**9, ()) is None
