"""HLO is read as it is meant: on a module written by hand, whose every sum is known."""

from pathlib import Path

import pytest

from dnabert_jax.errors import JobError
from dnabert_jax.planning.hlo import (
    Collective,
    Kernel,
    Module,
    Unestimated,
    Work,
    first_group,
    num_bytes,
    parse_module,
    read_work,
)

CYCLES = 'backend_config={"window_config":{"estimated_cycles":"%d"},"aliasing":{"lists":[]}}'

# A loop of 3 trips with a loop of 2 (which says so itself) inside; fusions inside fusions; a reduce-scatter as TPUs
# fuse it; a gather spread over three fusions; a kernel; a send to another slice. CYCLES_7 stands for an estimate of 7.
TEXT = Path(__file__).with_name("by_hand.hlo").read_text()


def module(text: str = TEXT) -> Module:
    for part in text.split("CYCLES_")[1:]:
        number = part.split("\n", 1)[0]
        text = text.replace(f"CYCLES_{number}\n", CYCLES % int(number) + "\n")
    return parse_module(text)


@pytest.fixture(scope="module")
def work() -> Work:
    return read_work(module(), 8)


def test_cycles_are_summed_with_the_trips_of_loops_and_a_fusion_counts_once(work: Work) -> None:
    middle, inner_body, inner_condition, first = 3 * 100, 3 * 2 * 7, 3 * 2 * 1, 40
    assert work.cycles == middle + inner_body + inner_condition + first
    assert {(item.name, item.shape, item.times) for item in work.estimated} == {
        ("middle.1", "f32[8,128]", 3), ("work.1", "f32[8,128]", 6), ("go", "pred[]", 6), ("first", "f32[8,128]", 1),
    }  # fmt: skip
    assert next(item.op_name for item in work.estimated if item.name == "first") == "jit(step)/neg"
    alike = TEXT.replace('CYCLES_40\n', 'CYCLES_40\n  %second = f32[8,128]{1,0:T(8,128)} fusion(%first), kind=kLoop, '
                         'calls=%fused, metadata={op_name="jit(step)/neg"}, CYCLES_5\n')  # fmt: skip
    both = next(item for item in read_work(module(alike), 8).estimated if item.name == "first")
    assert (both.times, both.cycles) == (2, 45)


def test_each_collective_counts_once_with_the_bytes_of_the_whole_array(work: Work) -> None:
    assert set(work.collectives) == {
        Collective("reduce-scatter", 1, 64 * 128 * 2, (0, 1, 2, 3), overlaps=False),
        Collective("all-gather", 3, 8 * 128 * 4, (0, 1, 2, 3), overlaps=True),
        Collective("all-reduce", 1, 8 * 128 * 4, (0, 4), overlaps=True),
        Collective("collective-permute", 1, 8 * 128 * 4, tuple(range(8)), overlaps=True),
        Collective("ALL_REDUCE", 1, 16 * 128 * 2, (), overlaps=True),
    }
    assert len(work.collectives) == 5


def test_kernels_cost_what_their_author_says_or_move_their_operands_and_results(work: Work) -> None:
    assert work.kernels == (Kernel("attention_forward", 3, 500, 60),)
    (kernel,) = read_work(module(TEXT.replace('"cost_estimate"', '"no_estimate"')), 8).kernels
    assert kernel == Kernel("attention_forward", 3, 0, 8 * 128 * 4 + 8 * 128 * 2)


def test_what_has_no_estimate_is_counted_and_what_does_nothing_is_not(work: Work) -> None:
    array = 8 * 128 * 4
    assert set(work.unestimated) == {
        Unestimated("copy-start", 1, array + 4),
        Unestimated("gather_fusion", 1, array),
        Unestimated("add", 1, 3 * 4),
        Unestimated("compare", 1, 3 * 1),
    }


def test_a_loop_that_is_not_understood_is_an_error_and_not_one_trip() -> None:
    for before, after in (
        ("direction=LT", "direction=NE"),
        ("%next = s32[] add(%i.3, %one)", "%next = s32[] add(%i.3, %i.3)"),
        ("%zero = s32[] constant(0)", "%zero = s32[] constant(1)"),
    ):
        assert before in TEXT
        with pytest.raises(JobError, match="loop"):
            read_work(module(TEXT.replace(before, after)), 8)


def test_what_is_no_hlo_is_refused() -> None:
    for text in ("", "HloModule x\n", TEXT.replace("ENTRY ", ""), TEXT.replace("constant(3)", "constant(3")):
        with pytest.raises(JobError):
            module(text)
    with pytest.raises(JobError, match="<3>"):
        first_group(", replica_groups=<3>", 8)


def test_bytes_of_a_shape() -> None:
    for shape, size in (
        ("f32[]", 4),
        ("bf16[8,512,768]{2,1,0:T(8,128)(2,1)S(1)}", 8 * 512 * 768 * 2),
        ("pred[3]", 3),
        ("s4[16]{0}", 8),
        ("f8e4m3fn[10]", 10),
        ("token[]", 0),
        ("(f32[2]{0}, (u16[3], s32[]{:S(2)}), /*index=2*/c64[1])", 8 + 6 + 4 + 8),
    ):
        assert num_bytes(shape) == size


def test_the_first_group_of_each_notation() -> None:
    for notation, group in (
        ("{}", (0, 1, 2, 3, 4, 5, 6, 7)),
        ("{{0,2},{1,3}}", (0, 2)),
        ("[2,4]<=[8]", (0, 1, 2, 3)),
        ("[4,2]<=[2,4]T(1,0)", (0, 4)),
        ("mesh['a'=2,'b'=4] {'b'}", (0, 1, 2, 3)),
        ("mesh['a'=2,'b'=4] {'a'}", (0, 4)),
        ("mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'a','b'}", (0, 2, 1, 3)),
        ("mesh['a'=2,'b'=4] {'a','b':(1)2}", (0, 2, 4, 6)),
        ("mesh['a'=2,'b'=4] {'b':(2)2}", (0, 1)),
    ):
        assert first_group(f", replica_groups={notation}, dimensions={{0}}", 8) == group
        assert first_group("", 8) == tuple(range(8))
