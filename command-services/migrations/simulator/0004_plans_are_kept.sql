-- Rows are found by their keys, whatever is in the tables: so plans are made once, and not for each batch.
alter function perform set plan_cache_mode = force_generic_plan;
alter function perform set enable_seqscan = off;
