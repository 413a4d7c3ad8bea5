"""The extension modules: one for each .pyx file. Everything else is in pyproject.toml.

PYSTACK_BUILD       release (default), debug, coverage, sanitize or fuzz
PYSTACK_WERROR      1: warnings of Cython and of the C compiler are errors
PYSTACK_KEEP_GOING  1: a module that does not build does not stop the others
PYSTACK_MODULES     the globs of the sources to build, separated by spaces
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MODULES = "pystack/**/*.pyx"
# Sources that need an operating system: glob -> sys.platform.
ONLY_ON = {"pystack/device/tun*.pyx": "linux"}

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "embedsignature": True,
}

# The core casts packed structs onto packet bytes, hence no strict aliasing.
COMMON_FLAGS = ["-fno-strict-aliasing"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"]
MODES = {
    "release": ["-O2", "-g0"],
    "debug": ["-O0", "-g", "-UNDEBUG", "-U_FORTIFY_SOURCE"],
    "coverage": ["-O0", "-g0", "-U_FORTIFY_SOURCE"],
    "sanitize": ["-O0", "-g1", "-UNDEBUG", "-U_FORTIFY_SOURCE", *SANITIZERS],
    "fuzz": ["-O1", "-g1", "-UNDEBUG", "-U_FORTIFY_SOURCE", *SANITIZERS],
}
# tests/fuzz/coverage.c has what is called at each branch; only tools/fuzz --guided loads it.
TRACED, TRACE = Path("pystack/core"), ["-fsanitize-coverage=trace-pc"]
COVERAGE_MACROS = [("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")]

MODE = os.environ.get("PYSTACK_BUILD") or "release"
if MODE not in MODES:
    sys.exit(f"PYSTACK_BUILD={MODE}: not one of {', '.join(MODES)}")
WERROR = os.environ.get("PYSTACK_WERROR") == "1"
KEEP_GOING = os.environ.get("PYSTACK_KEEP_GOING") == "1"
JOBS = os.cpu_count() or 1

WERROR_FLAGS = ["-Wall", "-Wextra", "-Werror"]

# Objects and modules of one mode and one Python, kept between builds.
BUILD = Path("build") / MODE / str(sys.implementation.cache_tag)
# The C that Cython makes is the same for every Python and every mode but coverage.
LINE_TRACE = MODE == "coverage"
GENERATED = Path("build") / ("cython-coverage" if LINE_TRACE else "cython")


def sources() -> list[Path]:
    """The .pyx files asked for that this platform can build, by name."""
    os.chdir(ROOT)
    globs = os.environ.get("PYSTACK_MODULES", MODULES).split()
    found = {path for glob in globs for path in Path().glob(glob)}
    foreign = {
        path
        for glob, platform in ONLY_ON.items()
        if sys.platform != platform
        for path in Path().glob(glob)
    }
    return sorted(found - foreign)


def module_name(source: Path) -> str:
    """pystack/core/stack.pyx -> pystack.core.stack, tests/native/ring.pyx -> native.ring."""
    parts = source.with_suffix("").parts
    return ".".join(parts[1:] if parts[0] == "tests" else parts)


class Module(Extension):
    """One .pyx file."""

    __hash__ = object.__hash__  # cythonize keeps a set of those that failed


def module(source: Path) -> Module:
    flags: list[str] = []
    if sys.platform != "win32":
        flags = COMMON_FLAGS + MODES[MODE] + (WERROR_FLAGS if WERROR else [])
        flags = flags + (TRACE if MODE == "fuzz" and TRACED in source.parents else [])
    return Module(
        module_name(source),
        [str(source)],
        include_dirs=["."],
        define_macros=COVERAGE_MACROS if MODE == "coverage" else [],
        extra_compile_args=flags,
        extra_link_args=SANITIZERS if MODE in ("sanitize", "fuzz") else [],
        optional=KEEP_GOING,
    )


@contextmanager
def build_lock():
    """One build at a time in this tree."""
    Path("build").mkdir(exist_ok=True)
    with open("build/.lock", "w") as lock:
        try:
            import fcntl
        except ImportError:  # not POSIX
            pass
        else:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class BuildExt(build_ext):
    """Cythonize out of the tree; keep the objects of each mode apart; build in parallel."""

    def run(self) -> None:
        with build_lock():
            self.parallel = JOBS
            self.build_temp = str(BUILD / "objects")
            if self.inplace:
                self.build_lib = str(BUILD / "modules")
            self.forget_other_options()
            self.cythonize()
            super().run()

    def forget_other_options(self) -> None:
        """Start afresh where the last build had other options than this one."""
        from Cython import __version__ as cython

        forget_unless(BUILD, f"{MODES[MODE]} {COMMON_FLAGS} {COVERAGE_MACROS} {WERROR}\n")
        forget_unless(GENERATED, f"{cython} {DIRECTIVES}\n")

    def cythonize(self) -> None:
        """Translate .pyx to C; with KEEP_GOING, leave out what does not translate."""
        from Cython.Build import cythonize
        from Cython.Compiler import Options

        Options.warning_errors = WERROR
        translated = cythonize(
            self.extensions,
            build_dir=str(GENERATED),
            include_path=["."],
            compiler_directives={**DIRECTIVES, "linetrace": LINE_TRACE},
            nthreads=JOBS,
            force=WERROR,
            quiet=True,
            exclude_failures=KEEP_GOING,
        )
        c_files = {ext.name: ext for ext in translated}
        self.extensions = [ext for ext in self.extensions if ext.name in c_files]
        for ext in self.extensions:
            ext.pyx = ext.sources[0]
            ext.sources = c_files[ext.name].sources
            ext.depends = c_files[ext.name].depends

    def copy_extensions_to_source(self) -> None:
        """Put each module beside its source by rename, so that running programs keep theirs."""
        for ext in self.extensions:
            built = Path(self.build_lib, self.get_ext_filename(ext.name))
            if not built.exists():
                continue
            target = Path(ext.pyx).parent / built.name
            if target.exists() and is_copy(built, target):
                continue
            fresh = target.with_suffix(".new")
            shutil.copy2(built, fresh)
            fresh.replace(target)
            if LINE_TRACE:  # Cython.Coverage looks for the C beside the module
                shutil.copy2(ext.sources[0], Path(ext.pyx).with_suffix(".c"))
        Path(f"build/inplace-{sys.implementation.cache_tag}").write_text(MODE)


def forget_unless(directory: Path, options: str) -> None:
    """Empty a directory whose contents were made with other options."""
    stamp = directory / "options"
    if not stamp.exists() or stamp.read_text() != options:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        stamp.write_text(options)


def is_copy(a: Path, b: Path) -> bool:
    """Whether b is a copy2 of a."""
    a_stat, b_stat = a.stat(), b.stat()
    return (a_stat.st_mtime_ns, a_stat.st_size) == (b_stat.st_mtime_ns, b_stat.st_size)


class BuildPy(build_py):
    """Nothing of an earlier build may slip into a wheel."""

    def run(self) -> None:
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


if __name__ == "__main__":
    setup(
        ext_modules=[module(source) for source in sources()],
        cmdclass={"build_ext": BuildExt, "build_py": BuildPy},
    )
