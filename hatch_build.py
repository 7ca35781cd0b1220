"""The package's own build: makes the native core and the layouts of structs, which are part of the wheel.

With PLTVM_TARGET, one of `pltvm.build.core.TARGETS`, the wheel is for that machine. An editable install has
these files in the source folder; for a wheel they are made elsewhere, and the source folder is not changed.
"""

import importlib.util
import os
import re
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

_OLDEST_GLIBC = 17  # 2.17, of manylinux2014: the oldest that pip supports


class Natives(BuildHookInterface[Any]):
    """Sets the tags of wheels: with the library for one platform and any Python; without it for any
    platform."""

    def dependencies(self) -> list[str]:
        """Return ziglang, if it is the only compiler."""
        core = self._builder("core")
        return [core.ZIGLANG] if self._target or not core.system_compiler() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        core, layout = self._builder("core"), self._builder("layout")
        package, target = Path(self.root) / "pltvm", self._target
        self._scratch = tempfile.TemporaryDirectory(prefix="pltvm-")
        into = package if version == "editable" else Path(self._scratch.name)
        made = layout.build_all(into, package)
        try:
            made[core.NAME] = core.build(into / core.NAME, target, package)
        except core.CoreError as error:
            if target:
                self.app.abort(f"pltvm: {error}")
            self.app.display_warning(f"pltvm will work without its native core, and be slower: {error}")
        else:
            build_data["pure_python"] = False
            platform = core.TARGETS[target].wheel if target else _platform(made[core.NAME])
            build_data["tag"] = f"py3-none-{platform}"
        if version != "editable":
            build_data["force_include"] |= {str(path): f"pltvm/{name}" for name, path in made.items()}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        self._scratch.cleanup()

    @property
    def _target(self) -> str:
        return os.environ.get("PLTVM_TARGET", "")

    def _builder(self, name: str) -> ModuleType:
        """Load a file of `pltvm.build` without the package, whose dependencies are not installed here."""
        path = Path(self.root) / "pltvm" / "build" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


def _platform(library: Path) -> str:
    """Return the platform of a library made here: on Linux with the oldest glibc that has what it needs."""
    own = list(platform_tags())
    asked = [int(minor) for minor in re.findall(rb"\0GLIBC_2\.(\d+)", library.read_bytes())]
    needed = f"manylinux_2_{max([_OLDEST_GLIBC, *asked])}_"
    return next((tag for tag in own if tag.startswith(needed)), own[0])
