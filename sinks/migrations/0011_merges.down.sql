ALTER TABLE positions RESET SETTING merge_selector_base;
ALTER TABLE open_cases RESET SETTING merge_selector_base;
ALTER TABLE verdict_history RESET SETTING merge_selector_base;
ALTER TABLE verdicts RESET SETTING merge_selector_base;
ALTER TABLE facts RESET SETTING merge_selector_base;
