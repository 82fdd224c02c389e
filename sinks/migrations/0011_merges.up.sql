-- A flush leaves a small part in each of these tables, several times a second. With a base of 20 (ClickHouse's own is 5) about
-- twenty of a size are merged at once, not five, and what is stored is written anew a quarter as often (docs/storage.md).
ALTER TABLE facts MODIFY SETTING merge_selector_base = 20;
ALTER TABLE verdicts MODIFY SETTING merge_selector_base = 20;
ALTER TABLE verdict_history MODIFY SETTING merge_selector_base = 20;
ALTER TABLE open_cases MODIFY SETTING merge_selector_base = 20;
ALTER TABLE positions MODIFY SETTING merge_selector_base = 20;
