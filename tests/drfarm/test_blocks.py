"""Blocks: every subset once, groups whole, cost monotone, memory bounded."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from drfarm.blocks import MOST_S, MOST_STACK_BYTES, TARGET_S, plan_blocks
from drfarm.costs import ProbeCost
from probe import METHODS, SubsetGroup, logistic_protocol, ridge_protocol, sgd_protocol, sizes_of

PROTOCOLS = (sgd_protocol("paper"), ridge_protocol("default"), logistic_protocol("default"))
costs = st.builds(
    ProbeCost,
    n_train=st.integers(1, 200_000),
    n_test=st.integers(1, 50_000),
    width=st.just(4096),
    n_classes=st.integers(2, 1000),
    protocol=st.sampled_from(PROTOCOLS),
)
groups = st.dictionaries(
    st.tuples(st.sampled_from(METHODS), st.integers(1, 5)),
    st.sets(st.integers(1, 4096), min_size=1, max_size=12),
    max_size=12,
).map(lambda found: [SubsetGroup(method=m, seed=s, sizes=sizes_of(k)) for (m, s), k in found.items()])
CHEAP = ProbeCost(n_train=500, n_test=100, width=4096, n_classes=10, protocol=sgd_protocol("paper"))
DEAR = replace(CHEAP, n_train=1_000_000, n_classes=1000)
STACKS = [SubsetGroup(method="random", seed=s, sizes=(1, 64, 2048)) for s in (1, 2)]


def subsets(found):
    return sorted((g.method, g.seed, k) for g in found for k in g.sizes)


@given(groups, costs)
@example([], CHEAP)
@example(STACKS, CHEAP)
@example(STACKS, DEAR)
def test_every_subset_is_in_exactly_one_block(wanted, cost):
    assert subsets(g for block, _ in plan_blocks(wanted, cost) for g in block) == subsets(wanted)


@given(groups, costs)
@example(STACKS, DEAR)
def test_a_group_is_divided_only_where_it_costs_more_than_the_most(wanted, cost):
    blocks = [block for block, _ in plan_blocks(wanted, cost)]
    for group in wanted:
        parts = [g for block in blocks for g in block if (g.method, g.seed) == (group.method, group.seed)]
        if len(parts) > 1:
            too_long = cost.seconds(group.method, group.sizes) > MOST_S
            assert too_long or cost.stack_bytes(group.sizes) > MOST_STACK_BYTES


@given(groups, costs)
@example(STACKS, DEAR)
def test_a_block_is_dear_only_where_it_can_t_be_divided(wanted, cost):
    for block, seconds in plan_blocks(wanted, cost):
        divisible = cost.protocol != ridge_protocol("default") and len(block[0].sizes) > 1
        if len(block) == 1 and divisible:
            assert seconds <= MOST_S * (1 + 1e-9)
            assert cost.stack_bytes(block[0].sizes) <= MOST_STACK_BYTES
        if len(block) > 1:
            assert seconds <= TARGET_S * (1 + 1e-9)


@given(groups, costs, st.randoms(use_true_random=False))
def test_blocks_do_not_depend_on_the_order_of_the_groups(wanted, cost, shuffler):
    shuffled = list(wanted)
    shuffler.shuffle(shuffled)
    assert plan_blocks(shuffled, cost) == plan_blocks(wanted, cost)


@given(groups, costs)
def test_the_dearest_block_comes_first(wanted, cost):
    seconds = [s for _, s in plan_blocks(wanted, cost)]
    assert seconds == sorted(seconds, reverse=True)
    assert all(s > 0 for s in seconds)


@given(costs, st.sampled_from(METHODS), st.sets(st.integers(1, 4095), min_size=1, max_size=20))
def test_more_work_never_costs_less(cost, method, sizes):
    sizes = sorted(sizes)
    assert cost.seconds(method, [*sizes, 4096]) > cost.seconds(method, sizes)
    assert replace(cost, n_classes=2 * cost.n_classes).seconds(method, sizes) > cost.seconds(method, sizes)
    assert replace(cost, n_test=2 * cost.n_test).seconds(method, sizes) >= cost.seconds(method, sizes)
    assert replace(cost, n_train=2 * cost.n_train).seconds(method, sizes) >= cost.seconds(method, sizes)
    assert cost.stack_bytes([*sizes, 4096]) >= cost.stack_bytes(sizes) > 0


def test_cheap_groups_share_a_block_and_dear_ones_have_their_own():
    assert len(plan_blocks(STACKS, CHEAP)) == 1
    middling = replace(CHEAP, n_train=50_000, n_classes=100)
    assert TARGET_S < middling.seconds("random", (1, 64, 2048)) < MOST_S
    assert [[(g.method, g.seed) for g in block] for block, _ in plan_blocks(STACKS, middling)] == [
        [("random", 1)],
        [("random", 2)],
    ]


def test_weights_that_would_fill_the_memory_are_split_by_size():
    wide = ProbeCost(n_train=1000, n_test=100, width=8192, n_classes=10_000, protocol=sgd_protocol("paper"))
    group = SubsetGroup(method="random", seed=1, sizes=(1, 1000, 4000, 8192))
    blocks = plan_blocks([group], wide)
    assert len(blocks) > 1
    assert subsets(g for block, _ in blocks for g in block) == subsets([group])


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: type(p).__name__)
def test_draws_that_do_not_nest_share_no_products(protocol):
    cost = replace(CHEAP, protocol=protocol)
    assert cost.seconds("random_independent", (100, 200)) > cost.seconds("random", (100, 200))
