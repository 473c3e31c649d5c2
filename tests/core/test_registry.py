"""URLs and their options, and the finding of backends."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from unimsg import registry
from unimsg.errors import BackendNotFoundError, BackendNotInstalledError, InvalidURLError
from unimsg.registry import URL


def test_a_url_in_its_parts() -> None:
    url = URL("XMPP://joe%40home:p%2Fw@host:5222/a%20b?x=1&y=&z=%23")
    assert (url.scheme, url.user, url.password, url.host, url.port, url.path) == ("xmpp", "joe@home", "p/w", "host", 5222, "/a b")
    assert url.options == {"x": "1", "y": "", "z": "#"}
    assert "p/w" not in str(url) + repr(url)
    assert "p%2Fw" not in str(url) + repr(url)


@pytest.mark.parametrize("text", ["", "orders.db", "sqlite:/x", "memory://a#b", "memory://?a=1&a=2", "x://host:port", "x://[", 7])
def test_what_is_no_url_is_refused(text: object) -> None:
    with pytest.raises(InvalidURLError):
        URL(text)  # type: ignore[arg-type]


def test_options_are_read_named_and_counted() -> None:
    url = URL("x://?n=3&mode=b&odd=1")
    assert url.option("n", 0, int, "a number") == 3
    assert url.option("missing", 1.5, float, "seconds") == 1.5
    assert url.choice("mode", "a", "b") == "b"
    with pytest.raises(InvalidURLError, match=r"no option 'odd'.*n \(a number\)"):
        url.finish()
    with pytest.raises(InvalidURLError, match="a number"):
        URL("x://?n=many").option("n", 0, int, "a number")
    with pytest.raises(InvalidURLError, match="one of a, b"):
        URL("x://?mode=c").choice("mode", "a", "b")


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, code: str) -> None:
    """Install a backend of this name whose module holds this code."""
    (folder / f"unimsg_{name}.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(registry, "backends", lambda: {name: EntryPoint(name, f"unimsg_{name}:Driver", registry.GROUP)})


def test_a_missing_client_library_names_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "carrier1", "import pigeon_client_that_is_not_installed")
    with pytest.raises(BackendNotInstalledError, match=r"'pigeon_client_that_is_not_installed'.*pip install 'unimsg\[carrier1\]'"):
        registry.backend_of(URL("carrier1://x"))


def test_a_bug_of_the_backend_itself_is_not_taken_for_a_missing_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "carrier2", "import unimsg_carrier2.wing")
    with pytest.raises(ModuleNotFoundError, match="unimsg_carrier2") as caught:
        registry.backend_of(URL("carrier2://x"))
    assert not isinstance(caught.value, BackendNotInstalledError)


def test_an_unknown_scheme_lists_what_is_installed() -> None:
    with pytest.raises(BackendNotFoundError, match=r"teleport://.*memory://.*sqlite://"):
        registry.backend_of(URL("teleport://x"))


def test_the_embedded_backends_are_found_by_entry_point() -> None:
    found = registry.backends()
    assert {"memory", "sqlite"} <= set(found)
    for scheme in ("memory", "sqlite"):
        assert callable(registry.load(found[scheme]))
