DROP VIEW IF EXISTS dead_letter_states SYNC;
DROP TABLE IF EXISTS dead_letter_actions SYNC;
