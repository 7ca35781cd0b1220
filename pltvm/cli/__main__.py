"""`python -m pltvm.cli` is `pltvm`."""

from pltvm.cli import main

main()
