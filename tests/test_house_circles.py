"""No module imports itself by way of others: not at its top, not for its annotations, not inside a function."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOP, TYPE_CHECKING, FUNCTION = "top", "TYPE_CHECKING", "function"
"""Where an import stands."""
Graph = dict[str, set[str]]

LAZY_CIRCLES: dict[frozenset[str], str] = {}
"""Circles that exist only through imports inside functions, each with the reason why it may stay."""


@cache
def modules() -> dict[str, Path]:
    """The path of each module of both packages."""
    found = {}
    for path in sorted([*ROOT.glob("console/**/*.py"), *ROOT.glob("remote/**/*.py")]):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(tree: ast.Module, module: str, known: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """Each import of a known module, and where it stands."""
    pending: list[tuple[ast.AST, str]] = [(tree, TOP)]
    while pending:
        node, where = pending.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, where) for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                target = name if name in known else str(node.module)
                if target in known:
                    yield target, where
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            where = FUNCTION
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and where == TOP:
            pending += [(child, TYPE_CHECKING) for child in node.body]
            pending += [(child, where) for child in node.orelse]
            continue
        pending += [(child, where) for child in ast.iter_child_nodes(node)]


@cache
def every_import() -> dict[str, list[tuple[str, str]]]:
    """For each module what it imports, and where."""
    return {
        module: list(imports(ast.parse(path.read_text(encoding="utf-8")), module, modules()))
        for module, path in modules().items()
    }


def graph(*kinds: str) -> Graph:
    """For each module those that it imports in one of the ways."""
    return {
        module: {target for target, where in found if where in kinds and target != module}
        for module, found in every_import().items()
    }


def circles(of: Graph) -> list[list[str]]:
    """One shortest circle for each group of modules that all reach one another, as a path back to its first."""
    found: list[list[str]] = []
    done: set[str] = set()
    for start in sorted(of):
        if start in done:
            continue
        before: dict[str, str] = {}
        pending = [start]
        for module in pending:
            for target in sorted(of[module]):
                if target not in before:
                    before[target] = module
                    pending.append(target)
        if start in before:
            path = [start]
            while len(path) == 1 or path[-1] != start:
                path.append(before[path[-1]])
            found.append(path[::-1])
            done.update(path)
    return found


def told(found: list[list[str]]) -> str:
    return "\n".join(" → ".join(circle) for circle in found)


def test_no_circle_at_the_top_of_modules_nor_for_annotations() -> None:
    found = circles(graph(TOP, TYPE_CHECKING))
    assert not found, told(found)


def test_no_circle_through_imports_inside_functions() -> None:
    found = circles(graph(TOP, TYPE_CHECKING, FUNCTION))
    found = [circle for circle in found if frozenset(circle) not in LAZY_CIRCLES]
    assert not found, told(found)


def test_the_graph_holds_every_kind_of_import() -> None:
    """Both tests above would pass over an empty graph."""
    assert "console.tui.base" in graph(TOP)["console.tui.palette"]
    assert any(graph(TYPE_CHECKING).values())
    assert "console.tui.app" in graph(FUNCTION)["console.commands.drive"]
    assert len(modules()) > 150


def test_a_circle_is_found_and_told() -> None:
    made = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set[str]()}
    assert circles(made) == [["b", "c", "b"]]
    tree = ast.parse(
        "import a\nif TYPE_CHECKING:\n    import b\ndef f():\n    from c import d\n    class E:\n        import e"
    )
    known = dict.fromkeys("abce", Path())
    assert sorted(imports(tree, "m", known)) == [
        ("a", TOP),
        ("b", TYPE_CHECKING),
        ("c", FUNCTION),
        ("e", FUNCTION),
    ]
