"""When malloc fails, the structures of the core stay as they were, and leak nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTE = ROOT / "build" / f"inplace-{sys.implementation.cache_tag}"

# Interposes malloc, calloc, realloc and free. What does not come from the core or from a test shim
# (into which a tail call of the core may return) passes unseen.
HEAP = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static int countdown, blocks;

void fails_at(int nth) { countdown = nth; }
int live(void) { return blocks; }

/* A release build has the core in one file with the rest, of which nothing runs here. */
static int from_core(void *caller)
{
    Dl_info info;
    return dladdr(caller, &info) && info.dli_fname
        && (strstr(info.dli_fname, "/pystack/core/") || strstr(info.dli_fname, "/pystack/compiled.")
            || strstr(info.dli_fname, "/tests/native/"));
}

static int fails_now(void) { return countdown > 0 && --countdown == 0; }

void *malloc(size_t size)
{
    static void *(*real)(size_t);
    if (!real) real = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    if (!from_core(__builtin_return_address(0))) return real(size);
    if (fails_now()) return NULL;
    blocks++;
    return real(size);
}

void *calloc(size_t count, size_t size)
{
    static void *(*real)(size_t, size_t);
    if (!real) real = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
    if (!from_core(__builtin_return_address(0))) return real(count, size);
    if (fails_now()) return NULL;
    blocks++;
    return real(count, size);
}

void *realloc(void *old, size_t size)
{
    static void *(*real)(void *, size_t);
    if (!real) real = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
    if (!from_core(__builtin_return_address(0))) return real(old, size);
    if (fails_now()) return NULL;
    blocks += !old;
    return real(old, size);
}

void free(void *old)
{
    static void (*real)(void *);
    if (!real) real = (void (*)(void *))dlsym(RTLD_NEXT, "free");
    blocks -= old && from_core(__builtin_return_address(0));
    real(old);
}
"""

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD of a malloc is for Linux"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler"),
    pytest.mark.skipif(
        NOTE.exists() and NOTE.read_text() == "sanitize",
        reason="the sanitizer has a malloc of its own",
    ),
]


@pytest.fixture(scope="module")
def heap(tmp_path_factory):
    directory = tmp_path_factory.mktemp("heap")
    (directory / "heap.c").write_text(HEAP)
    library = directory / "heap.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O1", "-o", library, directory / "heap.c", "-ldl"], check=True
    )
    return library


@pytest.mark.parametrize(
    "structure", ["ring", "interval", "flow", "deadline", "packet", "udp", "ip"]
)
def test_a_failing_malloc_changes_nothing_and_nothing_leaks(heap, structure):
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("exhaustion.py")), str(heap), structure],
        env={**os.environ, "LD_PRELOAD": str(heap), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
