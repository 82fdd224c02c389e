"""Progress as it is stored, beside verdicts (`progress`) and positions (`proven`): what the judge was told of its sources.

- A JSON object of source -> RFC 3339 time up to which it was complete; a source that is absent was, so `{}` is all of them.
- Rows of earlier versions hold `{"state": "caught_up"}` or `{"state": "catching_up"}`: those were judged with every
  source complete.
"""

import msgspec

from canonical.events import parse_time
from matching.clock import COMPLETE, Progress

_decoder = msgspec.json.Decoder(dict[str, str])


def encode(progress: Progress) -> str:
    return msgspec.json.encode(progress.complete_to).decode()


def parse(text: str) -> Progress:
    """Raises ValueError for what is neither."""
    fields = _decoder.decode(text)
    if not fields or "state" in fields:
        return COMPLETE
    return Progress({source: parse_time(moment) for source, moment in fields.items()})
