"""Ways to go on that part at a moment: going from one to the other leaves nothing of the first."""

from tests.model.moments import Moment
from tests.model.steps import Step, Walk

NEVER = 1 << 60
START: list[Step] = [("extend", 200, 1, 0), ("extend", 200, 1, 0)]


def walked(steps: list[Step]) -> Walk:
    walk = Walk(check_every=NEVER)
    for step in steps:
        walk.step(step)
    return walk


def branch(moment: Moment, steps: list[Step]) -> Moment:
    """Another way to go on from this moment; where it ends."""
    moment.again()
    for step in steps:
        moment.walk.step(step)
    return Moment(moment.walk)


def test_as_many_tables_but_others() -> None:
    """Two ways to go on, in which an enclave has made the same number of page tables, at other places."""
    start = Moment(walked([*START, ("create", 0, 3, 0), ("run", 16, 0, 1)]))
    here, there = [("mmap", 0, 132, 1), ("resume", 0, 0, 1)], [("mmap", 0, 132, 90), ("resume", 0, 0, 1)]
    one, other = branch(start, here), branch(start, there)
    assert len(start.walk.pair.model.enclaves[0].mmaps) == 1
    for moment, steps in ((one, there), (other, here), (one, there)):
        moment.again()
        for step in steps:
            start.walk.step(step)
        start.walk.deep()


def test_the_same_number_but_another_enclave() -> None:
    """Two ways to go on, in which the next enclave is another one: a server, a template, elsewhere."""
    start, ends = Moment(walked(START)), []
    for kind, pages in ((0, 3), (2, 2), (6, 3), (0, 0), (6, 1)):
        ends.append(branch(start, [("set_pte", 0, 3, 9)] * (kind == 6) + [("create", kind, pages, 1)]))
    use: list[Step] = [("create", 1, 3, 0), ("run", 16, 0, 1), ("call", 16, 0, 0), ("run_shadow", 16, 0, 0)]
    for at in (0, 1, 2, 3, 4, 2, 0, 4, 1, 3):
        ends[at].again()
        for step in use:
            start.walk.step(step)
        start.walk.deep()


def test_instances_are_the_same_whenever_their_template_was_looked_at() -> None:
    start = Moment(walked([*START, ("create", 6, 3, 0), ("run_shadow", 16, 0, 0), ("timer", 0, 0, 0)]))
    start.go_on(("run_shadow", 16, 0, 0))
    start.end()
    start.again()
