-- Why a product is no longer sold: an export of the catalogue says it, so that an import can.
-- Rows of an earlier release lack it; start the projection over to have it (README, "Starting over").
alter table products add column withdrawal_reason text;
