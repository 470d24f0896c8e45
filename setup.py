"""What pyproject.toml cannot say: the native engine is compiled when the package is built or installed."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

NATIVE = Path("rnn_sweep", "engines", "native")


def _load_build() -> ModuleType:
    """The module that compiles, without the package around it, whose dependencies are not there yet."""
    spec = importlib.util.spec_from_file_location("native_build", NATIVE / "build.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{NATIVE / 'build.py'} is missing")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up here
    spec.loader.exec_module(module)
    return module


class BuildNative(build_ext):
    """Compile each variant, in place for an editable installation. Without a compiler the torch engine serves."""

    def run(self) -> None:
        """Compile; never fail."""
        try:
            failure = _load_build().build(self._folder).failure
        except OSError as error:
            failure = str(error)
        if failure:
            self.warn(f"the native engine was not built: {failure}; the torch engine serves")

    def get_source_files(self) -> list[str]:
        """What a source distribution needs."""
        return [str(file) for file in sorted((NATIVE / "src").iterdir())]

    def get_outputs(self) -> list[str]:
        """What was built."""
        return list(self.get_output_mapping()) if self.editable_mode else [str(f) for f in self._files]

    def get_output_mapping(self) -> dict[str, str]:
        """Where a file would be in a wheel -> where it is, for an editable installation."""
        built = Path(self.build_lib) / NATIVE / "lib"
        return {str(built / f.name): str(f) for f in self._files} if self.editable_mode else {}

    @property
    def _folder(self) -> Path:
        return (Path() if self.inplace or self.editable_mode else Path(self.build_lib)) / NATIVE / "lib"

    @property
    def _files(self) -> list[Path]:
        return sorted(f for f in self._folder.glob("*") if f.is_file())


class BuildModules(build_py):
    """Put ``conf/`` into the wheel as ``rnn_sweep.conf``; an editable installation reads it where it is."""

    def run(self) -> None:
        """Copy it beside the modules."""
        super().run()
        if not self.editable_mode:
            conf = Path(self.build_lib) / "rnn_sweep" / "conf"
            shutil.copytree("conf", conf, dirs_exist_ok=True)
            (conf / "__init__.py").write_text('"""The configuration; Hydra asks for this file."""\n')


class NativeWheel(bdist_wheel):
    """A wheel for one platform and every Python: the library is loaded by ctypes."""

    def get_tag(self) -> tuple[str, str, str]:
        """Python, ABI, platform."""
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[Extension("rnn_sweep.engines.native.lib", [])],  # makes the wheel one of a platform
    cmdclass={"build_py": BuildModules, "build_ext": BuildNative, "bdist_wheel": NativeWheel},
)
