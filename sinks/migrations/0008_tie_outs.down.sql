DROP VIEW IF EXISTS tie_out_post_close;
DROP VIEW IF EXISTS tie_out_lines;
DROP VIEW IF EXISTS tie_out_accounts;
DROP VIEW IF EXISTS tie_out_rows;
DROP VIEW IF EXISTS tie_out_balances;
DROP TABLE IF EXISTS tie_outs SYNC;
