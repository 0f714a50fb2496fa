-- Who has led before may not know yet that another leads: it must not take up a mail that nobody would make due again.
alter table checkpoint add column term bigint not null default 0; -- one more each time somebody begins to lead
