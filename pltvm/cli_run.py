"""How `pltvm run [OPTIONS] FILE …` reads its command line: what follows a host program belongs to it.

An enclave takes no arguments, so options for pltvm may come before and after it.
"""

from typing import Any

from typer.core import TyperCommand

from pltvm.host.elf import Kind, sniff


class RunCommand(TyperCommand):
    """`run`, which looks at FILE before it decides whose the rest is."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.allow_interspersed_args = False
        rest = super().parse_args(ctx, list(args))
        found = ctx.params
        if found["args"] and (found["supervisor"] or sniff(found["file"]) is Kind.ENCLAVE):
            ctx.allow_interspersed_args = True
            ctx.params.clear()
            rest = super().parse_args(ctx, list(args))
        return rest
