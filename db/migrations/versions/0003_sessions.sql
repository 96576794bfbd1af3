-- When markets are open, so that a price can be the close and need not be stale, and where a portfolio's day begins.
create table market_sessions (
    exchange  text not null,
    date      date not null,
    opens_at  timestamptz,
    closes_at timestamptz,
    source    text not null default 'calendar' check (source in ('calendar', 'operations')),
    primary key (exchange, date),
    check (opens_at < closes_at),
    check ((opens_at is null) = (closes_at is null)),
    check (opens_at is not null or source = 'operations')
);
comment on table market_sessions is 'Sessions of exchanges, written by ingest from their calendars a year back and a quarter ahead.';
comment on column market_sessions.exchange is 'A MIC such as XNYS, or 24/5 and 24/7 for what trades round the clock.';
comment on column market_sessions.date is 'The date at the exchange.';
comment on column market_sessions.opens_at is 'Null, as closes_at, where operations says that there is no session on that date.';
comment on column market_sessions.source is 'Rows of operations (an unscheduled closing) are never overwritten by the calendar.';

alter table instruments add column exchange text;
comment on column instruments.exchange is 'Where its sessions are: see market_sessions. Null: every UTC date is one, as of cash.';

-- The pattern leaves out what PostgreSQL takes for a zone and Python does not: abbreviations and rules such as FOO+3.
alter table portfolios add column time_zone text not null default 'UTC' constraint portfolios_time_zone_known check (
    time_zone ~ '^(UTC|[A-Z][A-Za-z_]*(/[A-Za-z_-]+)+)$'
    and (timestamptz 'epoch' at time zone time_zone) is not null
);
alter table daily_valuations add column ended_at timestamptz;
comment on column daily_valuations.ended_at is 'When the day was over and the next began, in the portfolio''s time zone; null: at midnight UTC.';
comment on column portfolios.time_zone is 'IANA name: the portfolio''s day begins at its midnight.';
