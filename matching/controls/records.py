"""Do the records themselves hold together? Conflicting versions."""

from matching.findings import Answer, failed, passed
from matching.view import View

_CONFLICT_PASS = passed("conflict", "no two records contradict each other")


def conflict(view: View) -> Answer:
    """No document was told in two ways at one version. Which of them is true has to be asked at the source."""
    if not view.conflicts:
        return _CONFLICT_PASS
    ids = sorted(set(view.conflicts))
    return failed(
        view, "conflict", "conflict", "one version of a document was sent with two contents; ask its source which is true",
        expected="one content a version", actual=f"contradicting records {', '.join(ids)}"[:1000], amounts=ids,
        exposure_minor=view.document.data.total_minor or 0 if view.document is not None else 0,
        evidence=[fact for fact in view.facts if fact.id in ids],
    )  # fmt: skip
