-- Null where the source does not say: no default, because 1 would be an amount in another currency taken for base.
alter table transactions add column rate_to_base numeric(20, 10) check (rate_to_base > 0);
comment on column transactions.rate_to_base is 'Units of the portfolio''s base currency for one of currency, as booked.';
comment on column transactions.quantity is 'Signed effect on the position; of a split what the quantity changes by.';
