-- Crypto-assets are dealt in hundred-millionths and smaller.
alter table transactions alter column quantity type numeric(24, 10);

create table statement_imports (
    id           uuid primary key default gen_random_uuid(),
    portfolio_id uuid not null references portfolios (id),
    source       text not null,
    file_name    text not null,
    file_digest  bytea not null,
    bookings     integer not null,
    duplicates   integer not null,
    rejected     jsonb not null default '[]',
    imported_at  timestamptz not null default now()
);
create index statement_imports_portfolio_idx on statement_imports (portfolio_id, imported_at);
comment on table statement_imports is 'Statements of other banks and brokers that were booked, each with its rows that were not.';
comment on column statement_imports.source is 'Broker and account, such as ibkr:U1234567: that of the bookings.';
comment on column statement_imports.file_digest is 'SHA-256 of the file as it was given.';
comment on column statement_imports.rejected is 'Place, reason and detail of each row that was refused.';
