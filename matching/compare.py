"""How two verdicts of one case differ, in a controller's words: breaks opened, closed, changed in amount; exposure.

- Compared are stored verdicts (`raw`: a digest stands for the controls), so that one that cannot be judged again can be
  compared too.
- A break is the same where its fingerprint is. Of those left, a closed and an opened one of the same class are one break
  whose amount changed.
- `fields` are the verdict's own, in its order; `policy` is left out, for it says what was judged with, not what came of it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from matching.verdict import Break, Outcome


class Summary(msgspec.Struct, frozen=True, gc=False):
    """What a comparison needs of a stored verdict."""

    correlation_id: str
    entity: str
    outcome: Outcome
    currency: str | None
    exposure_minor: int
    facts: int
    policy: str
    breaks: tuple[Break, ...]


class Changes(NamedTuple):
    """From one verdict to another; `changed` holds the classes of breaks whose amount or documents changed."""

    opened: tuple[str, ...]
    closed: tuple[str, ...]
    changed: tuple[str, ...]
    fields: tuple[str, ...]


NONE = Changes((), (), (), ())
_NOT_AN_OUTCOME = frozenset({"policy"})
_summaries = msgspec.json.Decoder(Summary)
_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])


def summary(raw: bytes) -> Summary:
    """Raises ValueError for what is no stored verdict."""
    return _summaries.decode(raw)


def changes(before: bytes | None, after: bytes) -> Changes:
    """`before` None: the case had no verdict. Raises ValueError for what is no stored verdict."""
    found = summary(after)
    was = summary(before).breaks if before is not None else ()
    opened, closed, changed = _breaks(was, found.breaks)
    return Changes(opened, closed, changed, _fields(before, after))


def _breaks(
    before: Sequence[Break], after: Sequence[Break]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    kept = {item.fingerprint for item in before} & {item.fingerprint for item in after}
    closed = [item.class_ for item in before if item.fingerprint not in kept]
    opened = [item.class_ for item in after if item.fingerprint not in kept]
    changed = []
    for name in tuple(closed):
        if name in opened:
            changed.append(name)
            closed.remove(name)
            opened.remove(name)
    return tuple(opened), tuple(closed), tuple(changed)


def _fields(before: bytes | None, after: bytes) -> tuple[str, ...]:
    was, now = _objects.decode(before or b"{}"), _objects.decode(after)
    names = [*now, *(name for name in was if name not in now)]
    return tuple(name for name in names if name not in _NOT_AN_OUTCOME and was.get(name) != now.get(name))
