"""Contracts: which version of which event's schema is accepted.

`dataschema` names the contract as `urn:tieout:<type>:<version>`. A version that is not accepted here is a dead letter,
never a guess.
"""

ACCEPTED_VERSIONS: tuple[int, ...] = (1,)


def dataschema(event_type: str, version: int = 1) -> str:
    return f"urn:tieout:{event_type}:{version}"


def is_accepted(schema: str, event_type: str) -> bool:
    return any(schema == dataschema(event_type, version) for version in ACCEPTED_VERSIONS)
