"""Policy: defaults, what a file of one's own changes, and errors that say where."""

import tomllib
from datetime import UTC, datetime

import pytest
from jsonschema import Draft202012Validator

from canonical.ids import CASE_KINDS
from matching.controls import CONTROLS, NAMES
from matching.hops import HOPS
from matching.policy import DEFAULTS, PolicyError, load
from matching.policy_schema import schema
from tests.unit.policy_docs import PAGE, SCHEMA, page, schema_text

DEFAULT = load()


def test_the_three_business_slas_are_the_defaults() -> None:
    hops = DEFAULT.terms.hops["any"]
    slas = {
        name: (getattr(hops, name).target_s, getattr(hops, name).missing_after.total_seconds())
        for name in ("quote_to_subscription", "invoice_to_posting", "payment_to_application")
    }
    assert slas == {
        "quote_to_subscription": (3_600, 86_400),
        "invoice_to_posting": (900, 86_400),
        "payment_to_application": (14_400, 172_800),
    }
    assert all(getattr(hops, name).late_is_break for name in slas)
    payment = hops.invoice_to_payment
    assert (payment.terms_days, payment.missing_after.days, payment.late_is_break) == (30, 30, False)


def test_a_file_of_ones_own_says_only_what_differs() -> None:
    policy = load("[hops.invoice_to_posting]\ntarget_s = 60\n[owners]\namount = 'crm'\n")
    assert policy.terms.hops["x"].invoice_to_posting.target_s == 60
    assert policy.terms.hops["x"].invoice_to_posting.missing_after.days == 1
    assert (policy.owners["amount"], policy.owners["tax"]) == ("crm", DEFAULT.owners["tax"])


def test_an_entity_has_its_own_clock_and_the_others_keep_theirs() -> None:
    policy = load("[hops.invoice_to_posting.entities.acme-de]\ntarget_s = 86_400\nawaits = 'sap'\n[hops.invoice_to_payment.entities.acme-de]\nterms_days = 14\n[feeds.sap]\nsources = []\nheartbeat_s = 60")  # fmt: skip
    own, other = (policy.terms.hops[entity].invoice_to_posting for entity in ("acme-de", "acme-us"))
    assert (own.target_s, own.awaits, own.late_is_break) == (86_400, "sap", True)
    assert (other.target_s, other.awaits) == (900, "erp")
    assert [policy.terms.hops[entity].invoice_to_payment.terms_days for entity in ("acme-de", "acme-us")] == [14, 30]


def test_a_hop_that_awaits_a_feed_nobody_describes_is_refused() -> None:
    for text in (
        "[hops.invoice_to_posting]\nawaits = 'sap'",
        "[hops.invoice_to_posting.entities.acme-de]\nawaits = 'sap'",
    ):
        with pytest.raises(PolicyError, match=r"invoice_to_posting.*awaits \(line 2\): there is no \[feeds.sap\]"):
            load(text)


def test_a_system_expects_what_the_default_does_and_what_it_says() -> None:
    policy = load("[expect.default]\nsubscription = false\n[expect.ledgerless]\nposting = false\n")
    own, other = policy.terms.expect["ledgerless"], policy.terms.expect["unknown"]
    assert (own.posting, own.payment, own.subscription) == (False, True, False)
    assert (other.posting, other.subscription) == (True, False)
    assert policy.terms.expect["receivables_csv"].posting is False


def test_the_hash_is_of_what_holds_and_not_of_how_it_is_written() -> None:
    assert load("").hash == load(None).hash == load("[cutoff]\ngrace_days = 10 # as before\n").hash
    assert load("[cutoff]\ngrace_days = 6").hash != DEFAULT.hash
    assert len(DEFAULT.hash) == 16


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        DEFAULT.cutoff.grace_days = 7  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[hops.invoice_to_posting]\n\ntarget_s = '15 min'", r"hops\.invoice_to_posting\.target_s \(line 3\).*integer"),
        ("[hops.invoice_to_posting]\ntarget = 900", r"hops\.invoice_to_posting\.target \(line 2\).*not permitted"),
        ("[tolerances]\namount_minor = 1", r"tolerances \(line 1\).*not permitted"),
        ("[tolerance]\namount_minor = -1", r"tolerance\.amount_minor \(line 2\).*greater than or equal to 0"),
        ("[tolerance]\namount_minor = 1.5", r"tolerance\.amount_minor \(line 2\)"),
        ("[tolerance]\namount_minor = true", r"tolerance\.amount_minor \(line 2\)"),
        ("[mandatory]\ninvoice = ['amount', 'taxes']", r"mandatory\.invoice\.1 \(line 2\)"),
        ("[mandatory]\nbill = ['amount']", r"mandatory\.bill \(line 2\)"),
        ("[owners]\namount = 'nobody'", r"owners\.amount \(line 2\)"),
        ("[owners]\nno_such_class = 'finance'", r"owners\.no_such_class \(line 2\)"),
        ("[limits]\nfacts_per_case = 0", r"limits\.facts_per_case \(line 2\)"),
        ("expect = 3", r"expect \(line 1\)"),
        ("[hops.invoice_to_posting.entities.acme-de]\nterms_days = 3", r"entities\.acme-de\.terms_days \(line 2\)"),
        ("[hops\ntarget_s = 1", r"not TOML.*line 1"),
        ("[hops.payout_to_bank]\ncalendar = 'berlin'", r"payout_to_bank\.calendar \(line 2\): there is no \[calendars\.berlin\]"),
        ("[calendars.b]\nkind = 'business'\nzone = 'Berlin'\nweekend = []", r"calendars\.b \(line 1\).*no time zone 'Berlin'"),
        ("[calendars.b]\nkind = 'batch'\nzone = 'UTC'\nruns = ['2 am']\ndays = ['monday']\ntakes_s = 0", r"calendars\.b\.runs\.0 \(line 4\)"),
        ("[calendars.b]\nkind = 'office'", r"calendars\.b \(line 1\)"),
        ("[grace]\nawaits = 'crm'", r"grace\.awaits \(line 2\)"),
        ("\n[[version]]\n[version.tolerance]\namount_minor = -1", r"version\.0\.valid_from \(line 2\): Field required; version\.0\.tolerance\.amount_minor \(line 4\)"),
        ("[[version]]\nvalid_from = 2026-07-01T00:00:00", r"version\.0\.valid_from \(line 2\).*timezone"),
        ("[[version]]\nvalid_from = 2026-07-01\n[version.limits]\nfacts_per_case = 1", r"version\.0\.limits \(line 3\): holds for all time"),
        ("[[version]]\nvalid_from = 2026-07-01\n[[version]]\nvalid_from = 2026-06-01", r"version\.1\.valid_from \(line 4\): must be later"),
        ("[[version]]\nvalid_from = 2026-07-01\nversion = 3", r"version\.0\.version \(line 3\)"),
        ("version = 3", r"version \(line 1\)"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_names_its_key_and_line(text: str, said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        load(text)


def test_all_mistakes_of_a_file_are_told_at_once_and_each_once() -> None:
    text = "[tolerance]\namount_minor = -1\n[hops.payout_to_bank]\ntarget_s = 'soon'\n[[version]]\nvalid_from = 2026-07-01\n"
    with pytest.raises(PolicyError) as told:
        load(text)
    assert [problem.partition(":")[0] for problem in told.value.problems] == [
        "hops.payout_to_bank.target_s (line 4)",
        "tolerance.amount_minor (line 2)",
    ]


def test_lines_are_found_behind_texts_and_lists_over_several_lines() -> None:
    text = """[accounts]
invoice = [
  "receivable", # "[
  "tax",
]
credit = ["cashew"]
[hops."invoice_to_posting".entities.'acme.de']
target_s = "x"
"""
    with pytest.raises(PolicyError) as told:
        load(text)
    assert [problem.partition(":")[0] for problem in told.value.problems] == [
        "hops.invoice_to_posting.entities.acme.de.target_s (line 8)",
        "accounts.credit.0 (line 6)",
    ]


def test_each_version_is_laid_over_the_one_before_it() -> None:
    policy = load("""
[tolerance]
amount_minor = 1
[[version]]
valid_from = 2026-07-01
[version.tolerance]
amount_minor = 2
[[version]]
valid_from = 2026-08-01T00:00:00+02:00
[version.hops.invoice_to_posting]
target_s = 60
""")
    moments = [
        datetime(2026, 6, 30, 23, 59, tzinfo=UTC),
        datetime(2026, 7, 1, tzinfo=UTC),
        datetime(2026, 7, 31, 22, tzinfo=UTC),
    ]
    held = [policy.terms.version_at(moment) or policy for moment in moments]
    assert [version.tolerance.amount_minor for version in held] == [1, 2, 2]
    assert [version.terms.hops["x"].invoice_to_posting.target_s for version in held] == [900, 900, 60]
    assert policy.hash != load("[tolerance]\namount_minor = 1").hash


def test_docs_show_the_policy_as_it_is() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tests.unit.policy_docs"
    assert SCHEMA.read_text(encoding="utf-8") == schema_text(), "run python -m tests.unit.policy_docs"


@pytest.mark.parametrize(
    "text",
    ["", "[hops.invoice_to_posting]\ntarget_s = '15 min'", "[tolerances]\na = 1", "[mandatory]\ninvoice = ['taxes']",
     "[calendars.b]\nkind = 'business'\nzone = 'UTC'\nweekend = []", "[calendars.b]\nkind = 'batch'\nzone = 'UTC'",
     "[[version]]\nvalid_from = '2026-07-01'\n[version.owners]\namount = 'crm'", "[[version]]\n[version.owners]\namount = 'crm'",
     "[owners]\namount = 'nobody'", "[limits]\nfacts_per_case = 0", "[expect.mine]\nposting = false"],
)  # fmt: skip
def test_the_schema_of_editors_accepts_and_refuses_what_policy_does(text: str) -> None:
    try:
        load(text.replace("'2026-07-01'", "2026-07-01"))
        is_policy = True
    except PolicyError:
        is_policy = False
    assert Draft202012Validator(schema()).is_valid(tomllib.loads(text)) is is_policy


def test_the_default_policy_fits_its_own_schema() -> None:
    Draft202012Validator(schema()).validate(DEFAULTS)


def test_every_kind_of_case_has_its_controls_and_every_mandatory_one_is_asked() -> None:
    assert set(CONTROLS) == set(CASE_KINDS) == set(DEFAULT.mandatory)
    for kind, names in DEFAULT.mandatory.items():
        assert set(names) <= set(NAMES[kind])
    assert all(control.__doc__ for controls in CONTROLS.values() for control in controls)
    assert set(HOPS) <= set(CASE_KINDS)


def test_every_class_with_an_owner_has_a_severity() -> None:
    assert set(DEFAULT.owners) == set(DEFAULT.severity)
