"""What is installed is all there: every backend, the marker that types are inline, the schemas, the demo's data."""

import importlib
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points

import pytest

from tests.house.documents import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
BACKENDS = sorted(path.name for path in (ROOT / "backends").iterdir() if path.is_dir() and path.name != "__pycache__")
POINTS: dict[str, str] = PROJECT["project"]["entry-points"]["unimsg.backends"]


def test_nothing_but_packages_in_backends() -> None:
    assert BACKENDS
    assert all(name.startswith("unimsg_") for name in BACKENDS)
    assert not (ROOT / "backends" / "__init__.py").exists()


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_is_installed_like_anybody_elses(name: str) -> None:
    assert f"backends/{name}" in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert [scheme for scheme, value in POINTS.items() if value.startswith(f"{name}:")], f"{name} has no entry point"
    assert name in PROJECT["tool"]["importlinter"]["root_packages"]
    assert (ROOT / "backends" / name / "py.typed").exists()
    assert (ROOT / "backends" / name / "__init__.py").exists()


def test_every_entry_point_is_there_and_installed() -> None:
    for value in POINTS.values():
        module, _, attribute = value.partition(" ")[0].partition(":")
        assert callable(getattr(importlib.import_module(module), attribute))
    installed = {point.name: point.value for point in entry_points(group="unimsg.backends") if point.dist is not None and point.dist.name == "unimsg"}
    assert installed == POINTS, "pyproject.toml changed since it was installed: make venv"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=True)
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built).namelist()


def test_the_wheel_holds_every_file_of_the_packages(wheel: list[str]) -> None:
    for base, packages in ((ROOT, ["unimsg"]), (ROOT / "backends", BACKENDS)):
        for package in packages:
            files = {str(path.relative_to(base)) for path in (base / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
            assert files, package
            assert files - set(wheel) == set()


def test_the_wheel_holds_what_is_not_python_too(wheel: list[str]) -> None:
    for name in ("unimsg/py.typed", "unimsg/cli/demo/data/us_20131007.csv.gz", "unimsg/cli/demo/data/README.md"):
        assert name in wheel
    assert [name for name in wheel if name.startswith("unimsg/wire/schema/") and name.endswith(".rng")]
    assert [name for name in wheel if name.startswith("unimsg/wire/schema/") and name.endswith(".xsd")]


def test_the_wheel_holds_nothing_else(wheel: list[str]) -> None:
    top = {name.partition("/")[0] for name in wheel}
    assert {name for name in top if not name.endswith(".dist-info")} == {"unimsg", *BACKENDS}


def test_the_wheel_carries_the_licence_and_the_command(wheel: list[str]) -> None:
    assert [name for name in wheel if name.endswith("/licenses/LICENSE")]
    assert [name for name in wheel if name.endswith("/entry_points.txt")]


def test_the_excerpt_is_small_and_says_where_it_is_from() -> None:
    data = ROOT / "unimsg" / "cli" / "demo" / "data"
    assert sum(path.stat().st_size for path in data.iterdir()) < 300_000
    assert "Apache License" in (data / "README.md").read_text(encoding="utf-8")


def test_all_extras_are_in_all() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert extras["all"] == [f"unimsg[{','.join(name for name in extras if name != 'all')}]"]
