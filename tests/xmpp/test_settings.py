"""A URL says who, where and how, or the error says what is wrong with it; the password shows nowhere."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unimsg.errors import InvalidURLError
from unimsg.registry import URL
from unimsg.testing.certificates import make_certificates
from unimsg_xmpp.settings import PASSWORD_VARIABLE, Settings, settings_of


@pytest.fixture(autouse=True)
def _no_password_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)


def read(text: str) -> Settings:
    return settings_of(URL(text))


def test_an_account_is_looked_for_by_srv_and_demands_tls() -> None:
    assert read("xmpp://alice:pw@example.org/desk") == Settings(
        user="alice",
        domain="example.org",
        resource="desk",
        password="pw",
        host=None,
        port=None,
        tls="starttls",
        ca=None,
        timeout=10.0,
        component=False,
    )


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("xmpp://a:p@example.org?host=10.0.0.1", "10.0.0.1", 5222),
        ("xmpp://a:p@example.org?host=10.0.0.1&tls=direct", "10.0.0.1", 5223),
        ("xmpp://a:p@example.org?host=[::1]&port=15222", "::1", 15222),
        ("xmpp://a:p@example.org:15222", "example.org", 15222),
        ("xmpp://a:p@example.org?port=15222", "example.org", 15222),
        ("xmpp://a:p@example.org:1?port=1", "example.org", 1),
        ("xmpp://:s@unimsg.example.org", "127.0.0.1", 5347),
        ("xmpp://:s@unimsg.example.org:15347", "127.0.0.1", 15347),
        ("xmpp://:s@unimsg.example.org?host=::1", "::1", 5347),
        ("xmpp://:s@unimsg.example.org?host=xmpp.localhost", "xmpp.localhost", 5347),
        ("xmpp://:s@unimsg.example.org?host=10.0.0.1&tls=off", "10.0.0.1", 5347),
    ],
)
def test_where_to_connect(text: str, host: str, port: int) -> None:
    settings = read(text)

    assert (settings.host, settings.port) == (host, port)


def test_no_user_is_a_component_without_tls() -> None:
    settings = read("xmpp://:secret@unimsg.example.org")

    assert (settings.component, settings.tls, settings.user, settings.password) == (True, "off", None, "secret")


def test_addresses_are_normalised() -> None:
    settings = read("xmpp://ALICE:pw@EXAMPLE.org/Desk%20One/two")

    assert (settings.user, settings.domain, settings.resource) == ("alice", "example.org", "Desk One/two")


def test_a_password_comes_from_the_url_then_a_file_then_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "of-the-environment")
    file = tmp_path / "password"
    file.write_text("of the file \r\nnot this\n", encoding="utf-8")

    assert read(f"xmpp://a:of-the-url@example.org?password_file={file}").password == "of-the-url"
    assert read(f"xmpp://a@example.org?password_file={file}").password == "of the file "
    assert read("xmpp://a@example.org").password == "of-the-environment"
    assert read("xmpp://unimsg.example.org").password == "of-the-environment"


def test_without_a_password_the_error_names_the_three_places() -> None:
    with pytest.raises(InvalidURLError, match=f"user:password@domain.*password_file=.*{PASSWORD_VARIABLE}"):
        read("xmpp://a@example.org")


def test_the_password_is_in_no_repr_and_no_error() -> None:
    assert "hush" not in repr(read("xmpp://a:hush@example.org"))
    for wrong in ("tls=maybe", "port=0", "ca=/no/such/file", "host="):
        with pytest.raises(InvalidURLError) as caught:
            read(f"xmpp://a:hush@example.org?{wrong}")
        assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("xmpp://alice%40example.org:p@example.org", "the user may not contain '@'.*xmpp://alice@example.org"),
        ("xmpp://a%2Fb:p@example.org", "may not contain '/'"),
        ("xmpp://a%20b:p@example.org", "may not contain ' '"),
        (f"xmpp://{'a' * 1024}:p@example.org", "no address that XMPP knows"),
        ("xmpp://a:p@exa%20mple.org", "no address that XMPP knows"),
        ("xmpp://a:p@", "no domain"),
        ("xmpp://:s@unimsg.example.org/desk", "a component has no resource"),
        ("xmpp://a:p@example.org?port=0", "port='0': a TCP port, 1 to 65535"),
        ("xmpp://a:p@example.org?port=x", "a TCP port"),
        ("xmpp://a:p@example.org:1?port=2", "two ports, 1 and port=2"),
        ("xmpp://a:p@example.org?host=", "host=''"),
        ("xmpp://a:p@example.org?host=a/b", "host='a/b'"),
        ("xmpp://a:p@example.org?timeout=0", "seconds for connecting"),
        ("xmpp://a:p@example.org?timeout=nan", "seconds for connecting"),
        ("xmpp://a:p@example.org?tls=maybe", "one of starttls, direct, off"),
        ("xmpp://a:p@example.org?sasl=plain&tls=off", "the password in the clear"),
        ("xmpp://a:p@example.org?ca=/no/such/file", "ca=/no/such/file: No such file"),
        ("xmpp://a@example.org?password_file=/no/such/file", "password_file=/no/such/file: No such file"),
        ("xmpp://a:%00@example.org", "the password in the URL has characters"),
        ("xmpp://:s@unimsg.example.org?tls=starttls", "a component's stream has no TLS"),
        ("xmpp://:s@unimsg.example.org?host=10.0.0.1", "10.0.0.1 is not this machine.*tls=off"),
        ("xmpp://:s@unimsg.example.org?host=localhost.example.org", "is not this machine"),
    ],
)
def test_what_makes_no_sense_is_said(text: str, said: str) -> None:
    with pytest.raises(InvalidURLError, match=said):
        read(text)


@pytest.mark.parametrize(("content", "said"), [(b"", "first line is empty"), (b"\nsecond\n", "first line is empty"), (b"\xff\xfe", "not UTF-8")])
def test_a_bad_password_file_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)

    with pytest.raises(InvalidURLError, match=said):
        read(f"xmpp://a@example.org?password_file={file}")


def test_authorities_are_read_at_once(tmp_path: Path) -> None:
    ca = make_certificates(tmp_path, ["localhost"]).ca
    other = tmp_path / "other"
    other.write_text("no certificate")

    assert read(f"xmpp://a:p@example.org?ca={ca}").ca == ca
    with pytest.raises(InvalidURLError, match="no certificates in it"):
        read(f"xmpp://a:p@example.org?ca={other}")
    with pytest.raises(InvalidURLError, match=r"Is a directory|no certificates"):
        read(f"xmpp://a:p@example.org?ca={tmp_path}")


def test_options_of_others_are_left_to_them() -> None:
    url = URL("xmpp://a:p@example.org?service=none")
    settings_of(url)

    with pytest.raises(InvalidURLError, match="no option 'service'"):
        url.finish()


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_user_and_resource_is_read_or_refused(user: str, resource: str) -> None:
    url = URL("xmpp://a:hush@example.org")
    url.user, url.path = user or None, f"/{resource}"
    with contextlib.suppress(InvalidURLError):
        settings = settings_of(url)
        assert settings.domain == "example.org"
        assert settings.component == (not user)
