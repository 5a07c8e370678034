"""The package's source as data, for the tests that hold its rules."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "async_processor"
SOURCE = ROOT / "src" / PACKAGE

Function = ast.FunctionDef | ast.AsyncFunctionDef

_NOT_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


@dataclass(frozen=True)
class Import:
    """One imported name. ``target`` is absolute; ``lazy`` when inside a function, ``typing`` when for types only."""

    target: str
    line: int
    lazy: bool
    typing: bool


@dataclass(frozen=True)
class Module:
    """A source file: ``name`` is dotted and without the package's own name; the package itself is ``""``."""

    name: str
    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    @cached_property
    def code_lines(self) -> frozenset[int]:
        """Numbers of the lines that hold code: not blank, not comment, not docstring."""
        found: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type not in _NOT_CODE:
                found.update(range(token.start[0], token.end[0] + 1))
        return frozenset(found - set(_docstring_lines(self.tree)))

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        return tuple(_imports(self))

    def functions(self) -> Iterator[Function]:
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def code_lines_of(self, node: Function) -> int:
        assert node.end_lineno is not None
        return sum(node.lineno <= line <= node.end_lineno for line in self.code_lines)

    def at(self, line: int) -> str:
        return f"{self.path.relative_to(ROOT)}:{line}"


def load_modules() -> dict[str, Module]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(name, path)
    return found


def internal(target: str, modules: dict[str, Module]) -> str | None:
    """The module of ours that an absolute import names, or None for a foreign one."""
    if target != PACKAGE and not target.startswith(f"{PACKAGE}."):
        return None
    name = target[len(PACKAGE) + 1 :]
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def _docstring_lines(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            assert node.end_lineno is not None
            yield from range(node.lineno, node.end_lineno + 1)


def _imports(module: Module) -> Iterator[Import]:
    def visit(node: ast.AST, lazy: bool, typing: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import | ast.ImportFrom):
                for target in _targets(module, child):
                    yield Import(target, child.lineno, lazy, typing)
            else:
                only_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
                yield from visit(child, lazy or isinstance(child, Function), typing or only_types)

    return visit(module.tree, lazy=False, typing=False)


def _targets(module: Module, node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    if node.level:
        package = [PACKAGE, *module.name.split(".")] if module.name else [PACKAGE]
        if module.path.name != "__init__.py":
            package = package[:-1]
        base = ".".join(filter(None, [*package[: len(package) - node.level + 1], base]))
    return [f"{base}.{alias.name}" for alias in node.names]
