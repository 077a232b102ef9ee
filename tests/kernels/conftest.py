"""Triton's kernels where there is no GPU: run by its interpreter, and compiled for a device that is not here."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

Interpret = Callable[[ModuleType], None]
Compile = Callable[[ModuleType, str, dict[str, Any], dict[str, str]], str]


@pytest.fixture
def interpret(monkeypatch: pytest.MonkeyPatch) -> Interpret:
    """Has all kernels of a module run on the CPU."""
    import triton.language as tl
    from triton.runtime.interpreter import InterpretedFunction
    from triton.runtime.jit import JITFunction

    # These are kernels of Triton's own, made when it was imported.
    for name in ("sum", "max"):
        monkeypatch.setattr(tl, name, InterpretedFunction(getattr(tl, name).fn))

    def with_kernels(module: ModuleType) -> None:
        # What the interpreter puts in place of the language, it takes back where a kernel's own module shows it; what
        # Triton's kernels see would stay, and nothing could be compiled any more.
        monkeypatch.setattr(module, "core", tl.core, raising=False)
        for name, value in list(vars(module).items()):
            if isinstance(value, JITFunction):
                monkeypatch.setattr(module, name, InterpretedFunction(value.fn))

    return with_kernels


@pytest.fixture
def compile_kernel(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Compile:
    """Compiles a kernel to an H100's machine code: (module, name, constants, types of the arguments that are no
    float32 tensors) -> PTX."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))

    def compiled(module: ModuleType, name: str, constants: dict[str, Any], types: dict[str, str]) -> str:
        kernel = getattr(module, name)
        signature = {
            argument: "constexpr" if argument in constants else types.get(argument, "*fp32")
            for argument in kernel.arg_names
        }
        used = {argument: value for argument, value in constants.items() if argument in signature}
        source = ASTSource(kernel, signature, constexprs=used)
        assembly: dict[str, Any] = triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm
        assert assembly["cubin"]
        return str(assembly["ptx"])

    return compiled
