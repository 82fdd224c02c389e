"""JSON Schema of a policy file, made of the model: what editors complete and check, and docs/policy.md is held against.

A file says only what differs, so nothing is required but what a section of one's own cannot do without (`valid_from`, a
calendar's kind); a default is shown where there is one.
"""

from collections.abc import Iterator
from typing import Any

from matching.policy import DEFAULTS, Policy
from matching.terms import BatchCalendar, BusinessCalendar

_SHOWN = 12  # names in the words of a type
_KEEP_REQUIRED = (BusinessCalendar.__name__, BatchCalendar.__name__)


def schema() -> dict[str, Any]:
    whole = Policy.model_json_schema()
    definitions: dict[str, Any] = whole["$defs"]
    for name, definition in definitions.items():
        if name not in _KEEP_REQUIRED:
            definition.pop("required", None)
    policy = definitions.pop("Policy", None) or {key: value for key, value in whole.items() if key != "$defs"}
    policy.pop("required", None)
    policy["title"] = "tieout policy"
    _with_defaults(policy["properties"], DEFAULTS, definitions)
    begins = {
        "valid_from": {"type": "string", "description": "A date (its beginning in UTC) or a moment with its offset."}
    }
    sections = {key: value for key, value in policy["properties"].items() if key != "version"}
    definitions["Version"] = {
        "type": "object", "title": "Version", "description": "What changes from a moment on, laid over the version before it.",
        "properties": begins | sections, "required": ["valid_from"], "additionalProperties": False,
    }  # fmt: skip
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | policy | {"$defs": definitions}


def keys() -> Iterator[str]:
    """Every key that a file may have, dotted; `<name>` where the file chooses the name. A version has the same."""
    yield from dict.fromkeys(key for key, _ in _leaves(schema()))


def type_of(key: str, whole: dict[str, Any]) -> str:
    """What may be written there, in words. `hops.<hop>` is any hop's."""
    pattern = key.split(".")
    kinds = {words: None for path, words in _leaves(whole) if _fits(path.split("."), pattern)}
    return " or ".join(kinds)


def _fits(path: list[str], pattern: list[str]) -> bool:
    return len(path) == len(pattern) and all(
        wanted in (part, "<hop>") for part, wanted in zip(path, pattern, strict=True)
    )


def _leaves(whole: dict[str, Any]) -> Iterator[tuple[str, str]]:
    definitions = whole["$defs"]
    for section, stated in whole["properties"].items():
        below = {"type": "string"} if section == "version" else stated
        yield from _below("version.valid_from" if section == "version" else section, below, definitions)


def _below(path: str, stated: Any, definitions: dict[str, Any]) -> Iterator[tuple[str, str]]:
    found = list(_objects(stated, definitions))
    if not found:
        yield path, _words(stated, definitions)
    for each in found:
        for name, below in each.get("properties", {}).items():
            yield from _below(f"{path}.{name}", below, definitions)
        if isinstance(below := each.get("additionalProperties"), dict):
            yield from _below(f"{path}.<name>", below, definitions)


def _words(stated: Any, definitions: dict[str, Any]) -> str:
    if "$ref" in stated:
        return _words(definitions[stated["$ref"].rpartition("/")[2]], definitions)
    choices = [
        choice for choice in (*stated.get("anyOf", ()), *stated.get("oneOf", ())) if choice.get("type") != "null"
    ]
    if choices:
        return " or ".join(_words(choice, definitions) for choice in choices)
    if "const" in stated or "enum" in stated:
        values = stated.get("enum", [stated.get("const")])
        return (
            ", ".join(f"`{value}`" for value in values)
            if len(values) <= _SHOWN
            else f"{len(values)} names in the schema"
        )
    if stated.get("type") == "array":
        return f"list of {_words(stated.get('items', {}), definitions)}"
    limits = [f"{word} {stated[name]:,}" for name, word in (("minimum", "from"), ("maximum", "to")) if name in stated]
    pattern = f"text like `{stated['pattern']}`".replace("|", "\\|") if "pattern" in stated else ""
    return pattern or " ".join([stated.get("format") or stated.get("type", "anything"), *limits])


def _objects(stated: Any, definitions: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What tables this may be."""
    if "$ref" in stated:
        yield from _objects(definitions[stated["$ref"].rpartition("/")[2]], definitions)
    for choice in (*stated.get("anyOf", ()), *stated.get("oneOf", ())):
        yield from _objects(choice, definitions)
    if stated.get("type") == "array":
        yield from _objects(stated.get("items", {}), definitions)
    if stated.get("type") == "object":
        yield stated


def _with_defaults(properties: dict[str, Any], defaults: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Sections of which there is but one show their defaults."""
    for name, stated in properties.items():
        below = defaults.get(name)
        if isinstance(below, dict):
            for each in _objects(stated, definitions):
                if each.get("properties") and each.get("title") in _ONCE:
                    _with_defaults(each["properties"], below, definitions)
        elif below is not None:
            stated["default"] = below


_ONCE = {
    annotation.__name__ for field in Policy.model_fields.values() if isinstance(annotation := field.annotation, type)
}
