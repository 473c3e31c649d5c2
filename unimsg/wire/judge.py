"""From a tree to a message: what may stand where, decided at once; values are converted on first use.

What the format does not know is kept (attributes, values of unknown types, foreign children at the end of the envelope)
or refused (everything else), never dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from unimsg.bodies import Fields
from unimsg.errors import WireFormatError
from unimsg.message import ReceivedMessage
from unimsg.wire.escape import pattern, read_attribute
from unimsg.wire.head import read_head
from unimsg.wire.lexical import ITEM_TYPES, READERS
from unimsg.wire.limits import MESSAGE_CLOSE, MESSAGE_OPEN, NAMESPACE
from unimsg.wire.strict import parse
from unimsg.wire.tree import Node, canonical, split
from unimsg.wire.values import decoded_text, field_value, leaf_value, node_value

__all__ = ["FOREIGN", "TREES", "envelope_of", "judge", "stanza_of"]

FOREIGN = "JMS_unimsg_foreign"
"""The property that says which namespace the envelope of a later version has."""

_U = NAMESPACE + "}"
ENVELOPE, PROPERTY, BODY, ENTRY, ITEM, FIELD = (_U + name for name in ("envelope", "property", "body", "entry", "item", "field"))
MESSAGES = frozenset({"jabber:client}message", "jabber:server}message", "jabber:component:accept}message"})
"""The stanza's root; an XMPP component or a server sees it in a namespace of its own."""
_LATER = r"urn:unimsg:(?:[2-9]|[1-9][0-9]+)\}envelope"
_SPACE = " \t\n\r"
_LEAVES = frozenset(READERS)


def judge(root: Node, data: bytes | None) -> ReceivedMessage[Any]:
    """Return the message of a stanza, or of a bare envelope. Raises WireFormatError.

    An envelope of a later version becomes a foreign message: a body of bytes, the whole stanza as it came (`data`, or its
    canonical text where there are no bytes), and the property `JMS_unimsg_foreign` that names its namespace.
    """
    envelope = root if split(root.tag)[1] == "envelope" else _envelope_of(root)
    if envelope.tag == ENVELOPE:
        return ReceivedMessage(_judge_envelope(envelope), TREES, envelope)
    if pattern(_LATER).fullmatch(envelope.tag):
        whole = data if data is not None else canonical(root).encode()
        return ReceivedMessage({}, _FOREIGN, (split(envelope.tag)[0], whole), whole)
    raise WireFormatError(f"the root is {_shown(root)}, not <message> nor <envelope xmlns={NAMESPACE!r}>", root.at)


def _envelope_of(root: Node) -> Node:
    if root.tag not in MESSAGES:
        raise WireFormatError(f"the root is {_shown(root)}, not <message xmlns='jabber:client'>", root.at)
    if root.attrs.get("type") == "error":
        raise WireFormatError("it is a bounce (type='error'): an earlier stanza came back, and this is no message", root.at)
    ours: Node | None = None
    later: Node | None = None
    for kid in root.kids:
        if type(kid) is not Node:
            if kid.strip(_SPACE):  # type: ignore[union-attr]
                raise WireFormatError(f"text stands in <message>: {kid[:40]!r}", root.at)  # type: ignore[index]
        elif kid.tag == ENVELOPE:
            if ours is not None:
                raise WireFormatError("there are two envelopes; a stanza has one (a batch has many)", kid.at)
            ours = kid
        elif later is None and pattern(_LATER).fullmatch(kid.tag):
            later = kid
    found = ours if ours is not None else later
    if found is None:
        raise WireFormatError(f"there is no <envelope xmlns={NAMESPACE!r}> in the message", root.at)
    return found


def _judge_envelope(envelope: Node) -> dict[str, Any]:
    """Return the headers of an envelope whose structure is right; white space between elements is taken out."""
    names: set[str] = set()
    body = foreign = False
    _drop_space(envelope)
    for kid in envelope.nodes:
        if kid.tag == PROPERTY:
            if body or foreign:
                raise WireFormatError("a property stands after the body or a foreign element", kid.at)
            _judge_value(kid, "property")
            _unique(kid, names, "property")
        elif kid.tag == BODY:
            if body or foreign:
                raise WireFormatError("a body stands after another one or after a foreign element", kid.at)
            body = True
            _judge_body(kid)
        elif split(kid.tag)[0] == NAMESPACE:
            raise WireFormatError(f"{_shown(kid)} does not stand in an envelope", kid.at)
        else:
            foreign = True
    return read_head(envelope.attrs, envelope.at)


def _judge_value(node: Node, what: str, named: bool = True) -> None:
    """Check a property, entry, item or field: what it must have, and what may stand in it."""
    attrs = node.attrs
    if named and "name" not in attrs:
        raise WireFormatError(f"a {what} has no name", node.at)
    wire_type = attrs.get("type")
    if wire_type is None:
        raise WireFormatError(f"a {what} has no type", node.at)
    if named and ("\\" in attrs["name"] or not 0 < len(attrs["name"]) <= 1024):
        _name_of(node, what)
    if wire_type in _LEAVES:
        for kid in node.kids:
            if type(kid) is Node:
                raise WireFormatError(f"{_shown(kid)} stands in a {what} of type {wire_type!r}, which holds text", kid.at)
    elif wire_type == "vector":
        _judge_vector(node, what)
    elif wire_type == "fields" and what == "field":
        _judge_rows(node, FIELD, "field")
    # What an unknown type holds is its own affair: it is kept as it came, and fails when somebody asks for it.


def _judge_vector(node: Node, what: str) -> None:
    of = node.attrs.get("of")
    if of is None:
        raise WireFormatError(f"a {what} of type 'vector' does not say of what (of=)", node.at)
    if of in ITEM_TYPES:
        _drop_space(node)
        for kid in node.nodes:
            if kid.tag != ITEM or any(type(inner) is Node for inner in kid.kids):
                raise WireFormatError(f"{_shown(kid)} stands in a vector of {of}, which holds <item>s of text", kid.at)
    elif of in _LEAVES and any(True for _ in node.nodes):
        raise WireFormatError(f"elements stand in a vector of {of}, which holds text", node.at)


def _judge_body(body: Node) -> None:
    kind = body.attrs.get("type")
    if kind is None:
        raise WireFormatError("the body has no type", body.at)
    if kind in ("text", "bytes", "object"):
        for kid in body.nodes:
            raise WireFormatError(f"{_shown(kid)} stands in a body of type {kind!r}, which holds text", kid.at)
    elif kind == "map":
        _judge_rows(body, ENTRY, "entry")
    elif kind == "stream":
        _judge_rows(body, ITEM, "item")
    elif kind == "fields":
        _judge_rows(body, FIELD, "field")


def _judge_rows(parent: Node, tag: str, what: str) -> None:
    names: set[str] = set()
    _drop_space(parent)
    for kid in parent.nodes:
        if kid.tag != tag:
            raise WireFormatError(f"{_shown(kid)} stands where only <{what}> may", kid.at)
        _judge_value(kid, what, named=what != "item")
        if what == "entry":
            _unique(kid, names, what)


def _name_of(node: Node, what: str) -> str:
    try:
        name = read_attribute(node.attrs["name"])
    except ValueError as error:
        raise WireFormatError(f"the name of a {what}: {error}", node.at) from None
    if not 0 < len(name) <= 1024:
        raise WireFormatError(f"the name of a {what} has 1 to 1024 characters, not {len(name)}", node.at)
    return name


def _unique(node: Node, names: set[str], what: str) -> None:
    name = node.attrs["name"]
    if name in names:
        raise WireFormatError(f"{what} {name[:60]!r} is there twice", node.at)
    names.add(name)


def _drop_space(node: Node) -> None:
    """Take out the white space between elements. Raises WireFormatError for any other text there."""
    kept: list[Node | str] = []
    for kid in node.kids:
        if type(kid) is Node:
            kept.append(kid)
        elif kid.strip(_SPACE):  # type: ignore[union-attr]
            raise WireFormatError(f"text stands in <{split(node.tag)[1]}>, which holds elements: {kid[:40]!r}", node.at)  # type: ignore[index]
    node.kids = kept


def _shown(node: Node) -> str:
    uri, local = split(node.tag)
    return f"<{local[:60]}>" if uri == NAMESPACE else f"<{local[:60]} xmlns={uri[:60]!r}>"


class Partial(Mapping[str, Any]):
    """Properties of which some cannot be read: those raise, when they are asked for, and only they."""

    def __init__(self, values: dict[str, Any], errors: dict[str, WireFormatError]) -> None:
        self._values = values
        self._errors = errors

    def __getitem__(self, name: str) -> Any:
        value = self._values[name]
        if name in self._errors:
            error = self._errors[name]
            raise WireFormatError(error.cause, error.position)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        shown = (f"{name!r}: {'unreadable' if name in self._errors else repr(value)}" for name, value in self._values.items())
        return "{" + ", ".join(shown) + "}"


class _TreeReader:
    """Read messages that were parsed to a tree (the state is the envelope)."""

    def properties(self, envelope: Node) -> Mapping[str, Any]:
        values: dict[str, Any] = {}
        errors: dict[str, WireFormatError] = {}
        for node in envelope.kids:
            if type(node) is not Node or node.tag != PROPERTY:
                continue
            attrs, kids = node.attrs, node.kids
            name = read_attribute(attrs["name"])
            read = READERS.get(attrs["type"])
            if read is not None and len(kids) == 1 and "encoding" not in attrs:
                try:
                    values[name] = read(kids[0])  # type: ignore[arg-type]
                    continue
                except ValueError:
                    pass  # the careful way below says what and where
            try:
                values[name] = node_value(node, f"property {name!r:.60}")
            except WireFormatError as error:
                values[name], errors[name] = None, error
        return Partial(values, errors) if errors else values

    def body(self, envelope: Node) -> tuple[str | None, Any]:
        body = next((node for node in envelope.nodes if node.tag == BODY), None)
        return (None, None) if body is None else body_of(body)

    def canonical(self, envelope: Node) -> bytes:
        return stanza_of(envelope)


def body_of(body: Node) -> tuple[str, Any]:
    """Return the kind and payload of a body. Raises WireFormatError."""
    kind = body.attrs["type"]
    if kind in ("text", "object"):
        return kind, decoded_text(body, body.text, "the body")
    if "encoding" in body.attrs:
        raise WireFormatError(f"the body: encoding is for texts, not for {kind[:60]!r}", body.at)
    if kind == "bytes":
        return kind, leaf_value(kind, body.text, "the body")
    if kind == "map":
        return kind, {(name := read_attribute(kid.attrs["name"])): node_value(kid, f"body[{name!r:.60}]") for kid in body.nodes}
    if kind == "stream":
        return kind, [node_value(kid, f"body[{number}]") for number, kid in enumerate(body.nodes)]
    if kind == "fields":
        return kind, Fields([field_value(kid, "body") for kid in body.nodes])
    raise WireFormatError(f"this version of the format does not know bodies of type {kind[:60]!r}", body.at)


class _ForeignReader:
    """Present the envelope of a later version as bytes (the state is its namespace and the stanza)."""

    def properties(self, state: tuple[str, bytes]) -> Mapping[str, Any]:
        return MappingProxyType({FOREIGN: state[0]})

    def body(self, state: tuple[str, bytes]) -> tuple[str | None, Any]:
        return "bytes", state[1]

    def canonical(self, state: tuple[str, bytes]) -> bytes:
        return state[1]


def stanza_of(envelope: Node) -> bytes:
    """Return the canonical bytes of the stanza of an envelope that was judged."""
    return (MESSAGE_OPEN + canonical(envelope, "jabber:client") + MESSAGE_CLOSE).encode()


def envelope_of(data: bytes) -> Node:
    """Return the envelope of bytes that were found to be canonical, to read it the careful way."""
    return next(parse(data).nodes)


TREES, _FOREIGN = _TreeReader(), _ForeignReader()
