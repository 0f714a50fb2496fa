-- Events that a generation has passed over since they could not be applied, and those of the same aggregate that came later and
-- wait behind them. What is in an event the log tells. Written in the transaction that moves the generation past the event.
create table dead_letters (
    projection     text        not null,
    generation     int         not null,
    position       bigint      not null, -- in the log
    event_id       uuid        not null,
    aggregate_type text        not null,
    aggregate_id   text        not null,
    error          text,                 -- null: nothing is wrong with it, it waits behind one that failed
    attempts       int         not null, -- how often it was tried
    set_aside_at   timestamptz not null default now(),
    dropped_at     timestamptz,          -- an operator has decided that it is never to be applied
    primary key (projection, generation, position),
    foreign key (projection, generation) references generations on delete cascade
);

grant select, insert, update, delete on dead_letters to kontor_projector;
grant select on dead_letters to kontor_query, kontor_auditor;
