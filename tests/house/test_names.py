"""The public names: a promise, so adding or losing one is a decision that shows up here."""

import ast
import builtins
from pathlib import Path

import pytest

import unimsg
from tests.house.documents import ROOT

PUBLIC = [
    "Backoff",
    "BackendNotFoundError",
    "BackendNotInstalledError",
    "Browser",
    "Capabilities",
    "ClosedError",
    "Connection",
    "ConnectionFailedError",
    "ConnectionLostError",
    "Consumer",
    "ConsumerOptions",
    "DeliveryMode",
    "Destination",
    "Feature",
    "Field",
    "Fields",
    "Health",
    "IllegalStateError",
    "InvalidClientIDError",
    "InvalidDestinationError",
    "InvalidSelectorError",
    "InvalidURLError",
    "Json",
    "Limits",
    "Map",
    "Message",
    "MessageFormatError",
    "MessageTooLargeError",
    "PartialSendError",
    "Producer",
    "Queue",
    "Receipt",
    "ReceivedMessage",
    "RedeliveryPolicy",
    "ResourceAllocationError",
    "SecurityError",
    "Selector",
    "SendOptions",
    "Session",
    "SlowConsumerError",
    "StoreError",
    "Stream",
    "Support",
    "TemporaryQueue",
    "TemporaryTopic",
    "Topic",
    "TransactionRolledBackError",
    "UnimsgError",
    "UnsupportedError",
    "WireFormatError",
    "connect",
    "errors",
    "values",
    "wire",
]

MODULES = sorted(path for folder in ("unimsg", "backends") for path in (ROOT / folder).rglob("*.py"))


def test_all_is_pinned() -> None:
    assert sorted(unimsg.__all__) == sorted(PUBLIC)


def test_what_all_names_is_there() -> None:
    assert [name for name in unimsg.__all__ if not hasattr(unimsg, name)] == []


def test_names_are_looked_up_where_the_type_checkers_find_them() -> None:
    tree = ast.parse((ROOT / "unimsg" / "__init__.py").read_text(encoding="utf-8"))
    (seen,) = [node.body for node in tree.body if isinstance(node, ast.If)]
    imports = {alias.name: node.module for node in seen if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert imports == {**unimsg._HOME, **dict.fromkeys(unimsg._MODULES, "unimsg")}
    assert set(imports) == set(PUBLIC)
    assert set(PUBLIC) <= set(dir(unimsg))
    with pytest.raises(AttributeError, match="no attribute 'Kueue'"):
        unimsg.Kueue  # noqa: B018  (the look-up is the test)


def test_no_public_name_hides_one_of_python() -> None:
    assert set(unimsg.__all__) & set(dir(builtins)) == set()


def test_every_error_is_public() -> None:
    from unimsg import errors

    assert set(errors.__all__) <= set(unimsg.__all__)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_is_and_keeps_its_promises(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))

    assert ast.get_docstring(tree), "a module says in its docstring which idea it holds"
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
            names = ast.literal_eval(node.value)
            assert len(names) == len(set(names))
            defined = set(names_of(tree))
            assert set(names) <= defined, set(names) - defined


def names_of(tree: ast.Module) -> list[str]:
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.append(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found += [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.append(node.id)
    return found
