"""A native library that can nothing: enough for what builds and loads one."""

from __future__ import annotations

from pathlib import Path

SOURCE = """
#include <stdint.h>
#define API extern "C" __attribute__((visibility("default")))
API int32_t rnn_sweep_abi(void) { return ABI; }
API int32_t rnn_sweep_bf16(void) {
#ifdef __AVX512BF16__
  return 1;
#else
  return 0;
#endif
}
"""


def write_source(folder: Path, abi: object = 1) -> Path:
    """Write the stub's source folder and return it."""
    folder.mkdir(parents=True)
    (folder / "engine.cpp").write_text(SOURCE.replace("ABI;", f"{abi};"))
    return folder
