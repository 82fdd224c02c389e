"""XML of strangers, read safely into a small tree.

- No document type, no entities of its own, nothing fetched: a document type is refused before anything of it is read.
- Limits: MAX_RECORD_BYTES a record (checked by whoever calls), MAX_DEPTH levels; a tree is at most linear in its bytes.
- Names are local ones: banks write the namespace with a prefix, without one, or not at all.
"""

from collections.abc import Iterator
from typing import Any, NoReturn
from xml.parsers import expat

MAX_DEPTH = 64


class XmlError(ValueError):
    """What is wrong with the text, for a person."""


class Element:
    __slots__ = ("attributes", "children", "name", "text")

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.children: list[Element] = []
        self.text = ""

    def all(self, name: str) -> Iterator["Element"]:
        return (child for child in self.children if child.name == name)

    def find(self, path: str) -> "Element | None":
        """The first element under the path, "Acct/Id/IBAN"."""
        name, _, rest = path.partition("/")
        for child in self.all(name):
            found = child.find(rest) if rest else child
            if found is not None:
                return found
        return None

    def said(self, *paths: str) -> str | None:
        """The text under the first of the paths that has any."""
        for path in paths:
            found = self.find(path)
            if found is not None and found.text.strip():
                return " ".join(found.text.split())
        return None

    def descendants(self) -> Iterator["Element"]:
        yield self
        for child in self.children:
            yield from child.descendants()


class _Reader:
    def __init__(self) -> None:
        self.root = Element("", {})
        self.open = [self.root]
        self.instructions: dict[str, str] = {}

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self.open) > MAX_DEPTH:
            raise XmlError(f"it is nested deeper than {MAX_DEPTH} levels")
        element = Element(local(name), {local(key): value for key, value in attributes.items()})
        self.open[-1].children.append(element)
        self.open.append(element)

    def end(self, _: str) -> None:
        self.open.pop()

    def data(self, text: str) -> None:
        self.open[-1].text += text

    def instruction(self, target: str, text: str) -> None:
        self.instructions[target] = text


def local(name: str) -> str:
    return name.rpartition(":")[2]


def parser_of(reader: Any) -> Any:
    """An expat parser that refuses document types; `reader` has start and end."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_document_type
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    return parser


def _refuse_document_type(*_: Any) -> NoReturn:
    raise XmlError("it declares a document type, which no bank needs and which could make it grow without end")


def parse(body: bytes) -> tuple[Element, dict[str, str]]:
    """(root, processing instructions by target). Raises XmlError."""
    reader = _Reader()
    parser = parser_of(reader)
    parser.CharacterDataHandler = reader.data
    parser.ProcessingInstructionHandler = reader.instruction
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise error if isinstance(error, XmlError) else XmlError(f"it is not XML ({error})") from None
    return reader.root.children[0], reader.instructions
