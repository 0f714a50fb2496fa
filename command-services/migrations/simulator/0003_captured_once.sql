-- What was authorised with `tok_captures_once` can be captured once: the rest is let go of then, as by most cards.

-- Why the provider cannot do it; null: it can. The caller has locked the payment.
create or replace function refusal(of_operation text, of_payment uuid, of_amount bigint, of_currency text) returns text
language plpgsql stable as $$
declare
    held     record;
    captured bigint;
    refunded bigint;
    voided   boolean;
begin
    select state, amount_minor, currency, method into held
        from simulator.ledger where payment = of_payment and operation = 'authorise';
    if not found then return 'no_such_payment'; end if;
    if held.currency <> of_currency then return 'other_currency'; end if;
    if held.state = 'expired' and of_operation <> 'refund' then return 'authorisation_expired'; end if;
    if held.state in ('pending', 'failed') then return 'not_authorised'; end if;
    -- What is pending counts as moved: it may be.
    select coalesce(sum(amount_minor) filter (where operation = 'capture'), 0),
           coalesce(sum(amount_minor) filter (where operation = 'refund'), 0),
           coalesce(bool_or(operation = 'void'), false)
        into captured, refunded, voided
        from simulator.ledger where payment = of_payment and operation <> 'authorise' and state <> 'failed';
    return case
        when of_operation in ('capture', 'void') and voided then 'voided'
        when of_operation = 'void' and captured > 0 then 'already_captured'
        when of_operation = 'capture' and captured + of_amount > held.amount_minor then 'amount_too_large'
        when of_operation = 'capture' and captured > 0 and held.method = 'tok_captures_once' then 'already_captured'
        when of_operation = 'refund' and refunded + of_amount > captured then 'amount_too_large'
    end;
end
$$;
