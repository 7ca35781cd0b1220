"""The package's own build: makes the native core first (`pltvm.build.core`), which goes into the wheel."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def _builder(root: str) -> ModuleType:
    """`pltvm.build.core`, without the package, of which nothing is installed here."""
    spec = importlib.util.spec_from_file_location("core", Path(root) / "pltvm" / "build" / "core.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class NativeCore(BuildHookInterface[Any]):
    """Builds the library in place; a wheel with it is for one platform and any Python."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        builder = _builder(self.root)
        library = Path(self.root) / "pltvm" / "_core.so"
        try:
            builder.build(library)
        except builder.CoreError as error:
            self.app.display_warning(str(error))
            return
        build_data["artifacts"].append("pltvm/_core.so")
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-linux_x86_64"
