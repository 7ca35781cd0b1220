"""Races of one run: `pltvm run --races`."""

from collections.abc import Callable, Sequence

from pltvm.explore.accesses import Accesses
from pltvm.explore.findings import told
from pltvm.explore.races import races_of
from pltvm.explore.subject import Enclaves
from pltvm.host.api import OnOutput
from pltvm.host.schedule import Policy
from pltvm.host.together import Results
from pltvm.machine import Machine
from pltvm.view.enclave import Enclave


def races_in(
    machine: Machine,
    enclaves: Sequence[Enclave],
    policy: Callable[[], Policy],
    timeout: float | None,
    on_output: OnOutput | None,
) -> tuple[Results, list[list[str]]]:
    """The results of a run, and each race of it as two texts: what was touched where, with the stack.

    The run is made twice, as pages are told apart first, of which the second one is heard of; and once more
    for each stack. `policy` makes that of a run. Raises KeyboardInterrupt.
    """
    subject, accesses = Enclaves(machine, enclaves), Accesses(machine)
    before = subject.run(policy(), around=lambda turns: accesses.watching(turns, log=False), timeout=timeout)
    if before.end == "time limit":  # then nobody knows how the second one would have gone
        return before, []
    results = subject.run(
        policy(), around=lambda turns: accesses.watching(turns, log=True), on_output=on_output
    )
    races = races_of(accesses.log().rows, len(enclaves))
    return results, [told(subject, race, results.steps) for race in races]
