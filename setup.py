"""The extension modules, from the .pyx files. Everything else is in pyproject.toml.

In a release or profile build for a POSIX system those of pystack are one file, `pystack/compiled`,
in which they call each other directly and are optimised as one program (docs/decisions/0019). In
any other build each is a file of its own.

PYSTACK_BUILD       release (default), profile, debug, coverage, sanitize or fuzz
PYSTACK_WERROR      1: warnings of Cython and of the C compiler are errors
PYSTACK_KEEP_GOING  1: a module that does not build does not stop the others
PYSTACK_MODULES     the globs of the sources to build, separated by spaces
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import CCompilerError

ROOT = Path(__file__).resolve().parent
MODULES = "pystack/**/*.pyx"
# Sources that need an operating system: glob -> sys.platform.
ONLY_ON = {"pystack/device/tun*.pyx": "linux", "pystack/device/uring.pyx": "linux"}

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
    "profile": ["-O2", "-g1", "-fno-omit-frame-pointer"],
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

# All modules of pystack in one file; link-time optimisation is left out where there is none.
PACKAGE = "pystack."
ONE_FILE = MODE in ("release", "profile") and os.name == "posix"
COMPILED, COMPILED_SOURCE = "pystack.compiled", "pystack/compiled.c"
LTO, LTO_LINK = "-flto", "-flto=auto"

WERROR_FLAGS = ["-Wall", "-Wextra", "-Werror"]

# Objects and modules of one mode and one Python, kept between builds.
BUILD = Path("build") / MODE / str(sys.implementation.cache_tag)
# The C that Cython makes is the same for every Python and every mode but coverage.
LINE_TRACE = MODE == "coverage"
GENERATED = Path("build") / ("cython-coverage" if LINE_TRACE else "cython")
DIRECT = Path("build") / "cython-direct"  # the same, where the modules call each other directly


def sources() -> list[Path]:
    """The .pyx files to build on this platform, by name."""
    os.chdir(ROOT)
    globs = os.environ.get("PYSTACK_MODULES", MODULES).split()
    found = {path for glob in globs for path in Path().glob(glob)}
    if ONE_FILE and any(path.parts[0] == "pystack" for path in found):
        found |= set(Path().glob(MODULES))
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


def modules() -> list[Module]:
    found = [module(source) for source in sources()]
    if ONE_FILE and any(ext.name.startswith(PACKAGE) for ext in found):
        united = module(Path(COMPILED_SOURCE))
        united.include_dirs = [*united.include_dirs, str(DIRECT)]
        found.append(united)
    return found


def compile_flags() -> list[str]:
    if sys.platform == "win32":
        return []
    return COMMON_FLAGS + MODES[MODE] + (WERROR_FLAGS if WERROR else [])


def module(source: Path) -> Module:
    flags = compile_flags()
    if MODE == "fuzz" and TRACED in source.parents:
        flags = flags + TRACE
    return Module(
        module_name(source),
        [str(source)],
        include_dirs=["."],
        define_macros=COVERAGE_MACROS if MODE == "coverage" else [],
        extra_compile_args=flags,
        extra_link_args=SANITIZERS if MODE in ("sanitize", "fuzz") else [],
        optional=KEEP_GOING,
    )


# What Cython makes of a function of another module, declared in its .pxd: a pointer, which is set
# when the module is imported; and of a function of this one.
POINTER = re.compile(
    r"^static (?P<result>[^\n(=]*?)\(\*(?P<name>__pyx_f_\w+)\)(?P<arguments>\(.*\)); /\*proto\*/$",
    re.MULTILINE,
)
FUNCTION = re.compile(
    r"^static (?!CYTHON_INLINE)(?P<result>[^\n(=;]*?)(?P<name>__pyx_f_\w+)(?=\()", re.MULTILINE
)
HIDDEN = '__attribute__((visibility("hidden")))'


def call_directly(generated: list[Path]) -> list[Path]:
    """Copies of the C of modules that call each other directly, once they are linked together;
    and their names and init functions, which pystack/compiled.c includes.

    A function that another module uses is no longer static, and where it is used the pointer has
    become a declaration of it. The pointer itself stays, under another name, for Cython's lookup,
    which checks the signature; and so do the tables for modules that are elsewhere.
    """
    copies = [DIRECT / path.relative_to(GENERATED) for path in generated]
    table, lines = DIRECT / "compiled.h", "".join(map(table_line, generated))
    if are_newer(table, [*generated, Path("setup.py")]) and table.read_text() == lines:
        return copies
    texts = {path: path.read_text() for path in generated}
    used = {found["name"] for text in texts.values() for found in POINTER.finditer(text)}
    made = {found["name"] for text in texts.values() for found in FUNCTION.finditer(text)}
    shared = used & made
    if not shared:
        sys.exit("setup.py: this Cython's C is not understood; POINTER and FUNCTION must fit it")
    for copy, (path, text) in zip(copies, texts.items(), strict=True):
        fresh = rewritten(path, text, shared)
        if not copy.exists() or copy.read_text() != fresh:  # or it would be compiled again
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(fresh)
    table.write_text(lines)
    return copies


def are_newer(output: Path, inputs: list[Path]) -> bool:
    return output.exists() and output.stat().st_mtime > max(one.stat().st_mtime for one in inputs)


def rewritten(path: Path, text: str, shared: set[str]) -> str:
    """The C of one module; shared: the functions that are called directly."""
    pointers = {found["name"] for found in POINTER.finditer(text)} & shared

    def declare(found: re.Match[str]) -> str:
        if found["name"] not in shared:
            return found[0]
        result, name, arguments = found.groups()
        return f"{HIDDEN} {result}{name}{arguments}; static {result}(*looked_up{name}){arguments};"

    def share(found: re.Match[str]) -> str:
        if found["name"] not in shared:
            return found[0]
        return f"{HIDDEN} {found['result']}{found['name']}"

    def look_up(found: re.Match[str]) -> str:
        return f"&looked_up{found[1]}" if found[1] in pointers else found[0]

    text = FUNCTION.sub(share, re.sub(r"&(__pyx_f_\w+)", look_up, POINTER.sub(declare, text)))
    return re.sub(rf"\bPyInit_{path.stem}\b", init_name(path), text)


def init_name(generated: Path) -> str:
    """Of the function that makes a module; those of the same name are in one file now."""
    return "PyInit_" + "_".join(generated.relative_to(GENERATED).with_suffix("").parts)


def table_line(generated: Path) -> str:
    return f'MODULE("{module_name(generated.relative_to(GENERATED))}", {init_name(generated)})\n'


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

    def initialize_options(self) -> None:
        super().initialize_options()
        self.replaced: list[Module] = []  # by one for all of them

    def run(self) -> None:
        with build_lock():
            self.parallel = JOBS
            self.build_temp = str(BUILD / "objects")
            if self.inplace:
                self.build_lib = str(BUILD / "modules")
            self.forget_other_options()
            self.cythonize()
            if ONE_FILE:
                self.unite()
            super().run()

    def forget_other_options(self) -> None:
        """Start afresh where the last build had other options than this one."""
        from Cython import __version__ as cython

        # Objects for link-time optimisation are of one compiler; ccache makes no difference.
        compiler = os.environ.get("CC", "cc").removeprefix("ccache ")
        options = f"{MODES[MODE]} {COMMON_FLAGS} {COVERAGE_MACROS} {WERROR} {compiler} {LTO}\n"
        forget_unless(BUILD, options)
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

    def unite(self) -> None:
        """One extension in place of those of pystack."""
        united = [ext for ext in self.extensions if ext.name == COMPILED]
        for ext in united:
            self.replaced = [
                one for one in self.extensions if one.name.startswith(PACKAGE) and one is not ext
            ]
            generated = [Path(one.sources[0]) for one in self.replaced]
            ext.sources += map(str, call_directly(generated))
        self.extensions = [ext for ext in self.extensions if ext not in self.replaced]

    def build_extension(self, ext: Module) -> None:
        """As it is done, but many sources in parallel, and only what has changed."""
        if ext.name == COMPILED:
            if self.has_lto():
                ext.extra_link_args = [*ext.extra_compile_args, LTO_LINK]
                ext.extra_compile_args = [*ext.extra_compile_args, LTO]
            with ThreadPoolExecutor(JOBS) as pool:
                ext.extra_objects = list(pool.map(partial(self.object_of, ext), ext.sources))
            ext.depends, ext.sources = ext.depends + ext.sources, []
        super().build_extension(ext)

    def object_of(self, ext: Module, source: str) -> str:
        """Compile a source unless that was done."""
        [target] = self.compiler.object_filenames([source], output_dir=self.build_temp)
        if source == COMPILED_SOURCE or not are_newer(Path(target), [Path(source)]):
            self.compiler.compile(
                [source],
                output_dir=self.build_temp,
                include_dirs=ext.include_dirs,
                extra_postargs=ext.extra_compile_args,
            )
        return target

    def has_lto(self) -> bool:
        """Whether this compiler and this linker can do it."""
        with TemporaryDirectory() as directory:
            source = Path(directory, "probe.c")
            source.write_text("int probe(void) { return 0; }\n")
            try:
                objects = self.compiler.compile(
                    [str(source)], output_dir=directory, extra_postargs=[LTO]
                )
                self.compiler.link_shared_object(
                    objects, str(Path(directory, "probe.so")), extra_postargs=[LTO_LINK]
                )
            except CCompilerError:
                return False
        return True

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
        self.remove_of_other_build()
        Path(f"build/inplace-{sys.implementation.cache_tag}").write_text(MODE)

    def remove_of_other_build(self) -> None:
        """One file, or one for each module: what is not of this build would still be imported."""
        names = {ext.name for ext in self.extensions if ext.name.startswith(PACKAGE)}
        if not names:
            return
        stale = {COMPILED, *(ext.name for ext in self.replaced)} - names
        for name in stale:
            Path(*name.split(".")[:-1], self.get_ext_filename(name.split(".")[-1])).unlink(
                missing_ok=True
            )


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
        ext_modules=modules(),
        cmdclass={"build_ext": BuildExt, "build_py": BuildPy},
    )
