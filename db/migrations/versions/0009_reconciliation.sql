-- When the bookings of a source were last read to their end: positions received before are explained by what is here.
alter table ingest_cursors add column caught_up_at timestamptz;
comment on column ingest_cursors.caught_up_at is 'When the stream was last read to its end; null while its history is still being read.';

-- What IBOSS says in two ways that do not agree. A break that is found again keeps its row, one that is gone is
-- resolved, and one that comes back begins a new row.
create table reconciliation_breaks (
    id               bigint generated always as identity primary key,
    iboss_account_id text not null,
    portfolio_id     uuid references portfolios (id),
    instrument_id    integer references instruments (id),
    what             text not null check (what in ('quantity', 'cash', 'cost_basis', 'cost_basis_base',
        'bookings_contradict', 'positions_missing', 'account_missing', 'account_unknown')),
    expected         numeric,
    found            numeric,
    version          bigint,
    first_seen       timestamptz not null,
    last_seen        timestamptz not null,
    resolved_at      timestamptz,
    check (first_seen <= last_seen)
);
create unique index reconciliation_breaks_open_idx
    on reconciliation_breaks (iboss_account_id, what, coalesce(instrument_id, -1)) where resolved_at is null;
create index reconciliation_breaks_portfolio_idx on reconciliation_breaks (portfolio_id);
create index reconciliation_breaks_instrument_idx on reconciliation_breaks (instrument_id);
create index reconciliation_breaks_seen_idx on reconciliation_breaks (last_seen);
comment on table reconciliation_breaks is 'Positions of the back office against its own bookings, and its accounts against ours.';
comment on column reconciliation_breaks.portfolio_id is 'Null for an account that is none of ours.';
comment on column reconciliation_breaks.expected is 'What the bookings add up to.';
comment on column reconciliation_breaks.found is 'What the positions say, in their version.';
