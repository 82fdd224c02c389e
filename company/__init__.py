"""A company to watch: a seeded generator of a living SaaS business, and the truth of what it did.

`company.business.simulate` gives a stream of records, `company.live.live` an endless one, `company.truth` the truth and
`company.compare` its comparison with verdicts. It knows canonical/ and nothing of what judges its records.
"""
