"""`python -m pltvm` is `pltvm`."""

from pltvm.cli import main

main()
