-- The keys of personal data: one for each subject. Destroying a key is erasing all that was sealed with it, in the log and
-- in every copy of it.
--
-- kontor_command seals and opens, and erases. kontor_query opens, for those who may see it. Projectors and the relay pass
-- on what is sealed and never open it. The auditor sees that a subject was erased and when, but no key.
grant usage on schema privacy to kontor_command, kontor_query, kontor_auditor;

create table subject_keys (
    subject    text        collate "C" primary key,
    wrapped    bytea       check (octet_length(wrapped) = 60), -- nonce, key and tag: AES-256-GCM with the master key
    master_key integer,                                        -- number of that master key
    created_at timestamptz not null default now(),
    erased_at  timestamptz, -- the row stays without its key, so that nobody makes the subject a new one
    check ((wrapped is null) = (erased_at is not null)),
    check ((wrapped is null) = (master_key is null))
);

-- Destroys the subject's key. No row: there is no such subject. `destroyed` is false when it was erased before.
create function erase_subject(of_subject text)
    returns table (created_at timestamptz, erased_at timestamptz, destroyed boolean)
language plpgsql security definer
set search_path = privacy, pg_temp
as $$
#variable_conflict use_column
begin
    return query
        update subject_keys as k set wrapped = null, master_key = null, erased_at = clock_timestamp()
        where k.subject = of_subject and k.wrapped is not null
        returning k.created_at, k.erased_at, true;
    if not found then
        return query select k.created_at, k.erased_at, false from subject_keys k where k.subject = of_subject;
    end if;
end
$$;

-- The second wall behind the grants: not even the owner gives an erased subject a key, or forgets that it was erased.
create function refuse_to_undo_an_erasure() returns trigger language plpgsql as $$
begin
    raise exception 'what was erased stays erased: % on % refused', tg_op, tg_table_name
        using errcode = 'insufficient_privilege';
end
$$;
create trigger erased_is_final before update on subject_keys
    for each row when (old.erased_at is not null) execute function refuse_to_undo_an_erasure();
create trigger subjects_are_kept before delete on subject_keys
    for each row execute function refuse_to_undo_an_erasure();
create trigger all_subjects_are_kept before truncate on subject_keys execute function refuse_to_undo_an_erasure();

revoke all on function erase_subject from public;
grant execute on function erase_subject to kontor_command;
grant select (subject, wrapped, master_key) on subject_keys to kontor_command, kontor_query;
grant insert (subject, wrapped, master_key) on subject_keys to kontor_command;
grant select (subject, master_key, created_at, erased_at) on subject_keys to kontor_auditor;
