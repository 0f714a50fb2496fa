-- A guest who logs in is a customer from then on: what was sealed for the guest is erased with the customer.
alter table subject_keys add column belongs_to text collate "C";
create index subject_keys_belongs_to on subject_keys (belongs_to) where belongs_to is not null;
grant select (belongs_to) on subject_keys to kontor_auditor;

-- Notes that the guest is the customer. False: the guest has no key, or was erased.
create function give_guest(guest text, customer text) returns boolean
language plpgsql security definer
set search_path = privacy, pg_temp
as $$
begin
    update subject_keys set belongs_to = customer where subject = guest and wrapped is not null;
    return found;
end
$$;
revoke all on function give_guest from public;
grant execute on function give_guest to kontor_command;

-- Destroys the subject's key, and those of the guests that it was. No row: there is no such subject. `destroyed` is false
-- when it was erased before.
create or replace function erase_subject(of_subject text)
    returns table (created_at timestamptz, erased_at timestamptz, destroyed boolean)
language plpgsql security definer
set search_path = privacy, pg_temp
as $$
#variable_conflict use_column
begin
    update subject_keys as k set wrapped = null, master_key = null, erased_at = clock_timestamp()
    where k.belongs_to = of_subject and k.wrapped is not null;
    return query
        update subject_keys as k set wrapped = null, master_key = null, erased_at = clock_timestamp()
        where k.subject = of_subject and k.wrapped is not null
        returning k.created_at, k.erased_at, true;
    if not found then
        return query select k.created_at, k.erased_at, false from subject_keys k where k.subject = of_subject;
    end if;
end
$$;
