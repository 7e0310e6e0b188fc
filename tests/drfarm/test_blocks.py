"""Blocks: every subset once, stacks whole, cost monotone."""

from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from drfarm.blocks import MOST_S, TARGET_S, ProbeCost, plan_blocks
from probe import METHODS, Subset, sgd_protocol

costs = st.builds(
    ProbeCost,
    n_train=st.integers(1, 200_000),
    width=st.just(4096),
    n_classes=st.integers(2, 1000),
    protocol=st.just(sgd_protocol("paper")),
)
subsets = st.sets(
    st.builds(Subset, method=st.sampled_from(METHODS), seed=st.integers(1, 5), n_neurons=st.integers(1, 4096)),
    max_size=60,
)
CHEAP = ProbeCost(n_train=500, width=4096, n_classes=10, protocol=sgd_protocol("paper"))
DEAR = replace(CHEAP, n_train=1_000_000, n_classes=1000)
STACK = {Subset(method="random", seed=s, n_neurons=k) for s in (1, 2) for k in (1, 64, 2048)}


def stack(subset: Subset) -> tuple[str, int]:
    return subset.method, subset.seed


@given(subsets, costs)
@example(set(), CHEAP)
@example(STACK, CHEAP)
@example(STACK, DEAR)
def test_every_subset_is_in_exactly_one_block(wanted, cost):
    found = [s for block, _ in plan_blocks(wanted, cost) for s in block]
    assert sorted(found) == sorted(wanted)


@given(subsets, costs)
@example(STACK, DEAR)
def test_a_stack_is_divided_only_where_it_costs_more_than_the_most(wanted, cost):
    blocks = [block for block, _ in plan_blocks(wanted, cost)]
    for key in {stack(s) for s in wanted}:
        sizes = [s.n_neurons for s in wanted if stack(s) == key]
        if sum(any(stack(s) == key for s in block) for block in blocks) > 1:
            assert cost.seconds(sizes) > MOST_S


@given(subsets, costs)
@example(STACK, DEAR)
def test_a_block_is_dear_only_where_it_can_t_be_divided(wanted, cost):
    for block, seconds in plan_blocks(wanted, cost):
        if len(block) > 1:
            assert seconds <= MOST_S * (1 + 1e-9)
        if len({stack(s) for s in block}) > 1:
            assert seconds <= TARGET_S * (1 + 1e-9)


@given(subsets, costs, st.randoms(use_true_random=False))
def test_blocks_do_not_depend_on_the_order_of_the_subsets(wanted, cost, shuffler):
    shuffled = sorted(wanted)
    shuffler.shuffle(shuffled)
    assert plan_blocks(shuffled, cost) == plan_blocks(wanted, cost)


@given(subsets, costs)
def test_the_dearest_block_comes_first(wanted, cost):
    seconds = [s for _, s in plan_blocks(wanted, cost)]
    assert seconds == sorted(seconds, reverse=True)
    assert all(s > 0 for s in seconds)


@given(costs, st.lists(st.integers(1, 4096), min_size=1, max_size=20), st.integers(1, 4096))
def test_more_work_never_costs_less(cost, sizes, size):
    assert cost.seconds([*sizes, size]) > cost.seconds(sizes)
    assert replace(cost, n_train=2 * cost.n_train).seconds(sizes) > cost.seconds(sizes)
    assert replace(cost, n_classes=2 * cost.n_classes).seconds(sizes) > cost.seconds(sizes)
    assert cost.seconds([k + 1 for k in sizes]) > cost.seconds(sizes)


def test_cheap_stacks_share_a_block_and_dear_ones_have_their_own():
    assert len(plan_blocks(STACK, CHEAP)) == 1
    middling = replace(CHEAP, n_train=50_000, n_classes=100)
    assert TARGET_S < middling.seconds((1, 64, 2048)) < MOST_S
    assert [{stack(s) for s in block} for block, _ in plan_blocks(STACK, middling)] == [
        {("random", 1)},
        {("random", 2)},
    ]
