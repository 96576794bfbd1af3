-- The foundation: everything SPEC names, and what the live pipeline keeps. Times are timestamptz; booked money is numeric.

create table currencies (
    code        char(3) primary key,
    name        text not null,
    minor_units smallint not null check (minor_units between 0 and 4)
);
comment on table currencies is 'ISO 4217: how many digits an amount is rounded to.';

-- People -------------------------------------------------------------------------------------------------------------
create table users (
    id            uuid primary key default gen_random_uuid(),
    email         text not null unique check (email = lower(email)),
    password_hash text,
    first_name    text not null,
    last_name     text not null,
    phone         text,
    country       char(2),
    language      text not null default 'en' check (language in ('en', 'es', 'ar', 'zh')),
    status        text not null default 'active' check (status in ('active', 'invited', 'suspended', 'closed')),
    role          text not null default 'client' check (role in ('client', 'advisor', 'kyc_agent', 'compliance', 'admin')),
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now()
);
comment on column users.email is 'Lower case; its unique constraint is the index on it.';
comment on column users.password_hash is 'Argon2id; null where the user cannot sign in with a password.';

create table advisor_clients (
    advisor_id  uuid not null references users (id),
    client_id   uuid not null references users (id),
    assigned_at timestamptz not null default now(),
    primary key (advisor_id, client_id)
);
create index advisor_clients_client_idx on advisor_clients (client_id);
comment on table advisor_clients is 'Whose book a client is in: an advisor sees exactly these clients.';

create table refresh_tokens (
    id           uuid primary key default gen_random_uuid(),
    family_id    uuid not null,
    user_id      uuid not null references users (id),
    token_hash   bytea not null unique,
    issued_at    timestamptz not null default now(),
    expires_at   timestamptz not null,
    replaced_at  timestamptz,
    successor_id uuid references refresh_tokens (id),
    successor_sealed bytea,
    revoked_at   timestamptz
);
create index refresh_tokens_family_idx on refresh_tokens (family_id);
create index refresh_tokens_user_idx on refresh_tokens (user_id);
create index refresh_tokens_successor_idx on refresh_tokens (successor_id);
comment on table refresh_tokens is 'Opaque refresh tokens, hashed; used once, then replaced; reuse revokes the family.';
comment on column refresh_tokens.successor_sealed is
    'The successor, encrypted with a key derived from this token: a retry within 30 s gets the same one, the table alone gives nothing.';

create table page_sessions (
    id         uuid primary key default gen_random_uuid(),
    user_id    uuid not null references users (id),
    token_hash bytea not null unique,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz
);
create index page_sessions_user_idx on page_sessions (user_id);
comment on table page_sessions is 'Browser sessions: the cookie holds the token, the table its hash.';

-- Accounts and portfolios --------------------------------------------------------------------------------------------
create table accounts (
    id             uuid primary key default gen_random_uuid(),
    user_id        uuid not null references users (id),
    account_number varchar(20) not null unique,
    account_type   text not null,
    currency       char(3) not null default 'USD' references currencies (code),
    balance        numeric(20, 4) not null default 0,
    status         text not null default 'pending' check (status in ('pending', 'active', 'rejected', 'closed')),
    opened_at      timestamptz,
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now()
);
create index accounts_user_idx on accounts (user_id);
create index accounts_currency_idx on accounts (currency);

create table portfolios (
    id              uuid primary key default gen_random_uuid(),
    user_id         uuid not null references users (id),
    account_id      uuid not null references accounts (id),
    iboss_account_id text not null unique,
    name            text not null,
    base_currency   char(3) not null references currencies (code),
    total_value     numeric(20, 4),
    cash_balance    numeric(20, 4),
    buying_power    numeric(20, 4),
    day_pl          numeric(20, 4),
    day_pl_percent  numeric(12, 6),
    last_updated    timestamptz,
    created_at      timestamptz not null default now()
);
create index portfolios_user_idx on portfolios (user_id);
create index portfolios_account_idx on portfolios (account_id);
create index portfolios_base_currency_idx on portfolios (base_currency);
comment on table portfolios is 'Totals are the newest minute valuation, for SQL readers; the live ones are in Redis.';

-- Who sees what: the one place where object rights are decided; every query on portfolios joins it.
create function visible_portfolios(viewer uuid, viewer_role text) returns table (portfolio_id uuid)
language sql stable as $$
    select p.id from users u join portfolios p on p.user_id = u.id
     where u.id = viewer and u.role = viewer_role and u.status = 'active' and viewer_role = 'client'
    union all
    select p.id from users u join advisor_clients a on a.advisor_id = u.id join portfolios p on p.user_id = a.client_id
     where u.id = viewer and u.role = viewer_role and u.status = 'active' and viewer_role = 'advisor'
    union all
    select p.id from users u cross join portfolios p
     where u.id = viewer and u.role = viewer_role and u.status = 'active' and viewer_role in ('compliance', 'admin')
$$;
comment on function visible_portfolios is
    'A client: own portfolios. An advisor: those of the clients assigned. Compliance and administrators: all. Others, '
    'and users who are not active or no longer have the role they claim: none.';

create table instruments (
    id             integer primary key check (id >= 0),
    symbol         text not null unique,
    isin           char(12) unique,
    name           text not null,
    asset_class    text not null check (asset_class in ('equity', 'etf', 'bond', 'fund', 'cash', 'fx', 'index')),
    sector         text not null,
    country        char(2) not null,
    currency       char(3) not null references currencies (code),
    base_currency  char(3) references currencies (code),
    price_factor   double precision not null default 1 check (price_factor > 0),
    tick_size      double precision not null default 0.01 check (tick_size > 0),
    history_source text not null default '',
    check ((asset_class = 'fx') = (base_currency is not null))
);
create index instruments_currency_idx on instruments (currency);
create index instruments_base_currency_idx on instruments (base_currency);
comment on table instruments is 'What has a price: securities, cash (price 1), rates of exchange and benchmark levels.';
comment on column instruments.id is 'The number that stands for it on the wire and in the book.';
comment on column instruments.base_currency is 'Of a rate of exchange: the price is units of currency for one unit of base_currency.';
comment on column instruments.price_factor is 'Value of one unit at price 1: 0.01 for bonds quoted in percent of nominal.';
comment on column instruments.history_source is 'Where its daily history comes from, for the page to say so.';

create table daily_prices (
    instrument_id integer not null references instruments (id),
    date          date not null,
    close         double precision not null check (close > 0),
    final         boolean not null default true,
    primary key (instrument_id, date)
);
create index daily_prices_date_idx on daily_prices (date);
create index daily_prices_open_idx on daily_prices (date) where not final;
comment on table daily_prices is 'Closes of securities, rates and benchmarks. Today''s row is the newest price and not final.';

create table holdings (
    portfolio_id   uuid not null references portfolios (id),
    instrument_id  integer not null references instruments (id),
    symbol         text not null,
    name           text not null,
    shares         numeric(20, 6) not null,
    price          numeric(20, 8),
    value          numeric(20, 4),
    day_pl         numeric(20, 4),
    day_pl_percent numeric(12, 6),
    sector         text not null,
    country        char(2) not null,
    last_updated   timestamptz not null default now(),
    primary key (portfolio_id, instrument_id)
);
create index holdings_instrument_idx on holdings (instrument_id);
comment on column holdings.shares is 'SPEC says numeric(15,4); six places, because funds deal in them.';

-- The ledger: written by ingest, one transaction with its cursor -------------------------------------------------------
create table position_sets (
    portfolio_id uuid not null references portfolios (id),
    version      bigint not null check (version >= 0),
    event_at     timestamptz not null,
    received_at  timestamptz not null default now(),
    record       jsonb not null,
    published_at timestamptz,
    primary key (portfolio_id, version)
);
create index position_sets_unpublished_idx on position_sets (portfolio_id, version) where published_at is null;
comment on table position_sets is 'Full positions of a portfolio by version, as published on iboss.positions.v1.';
comment on column position_sets.published_at is 'Null until Kafka has acknowledged it: the outbox is the row itself.';

create table transactions (
    id            uuid primary key default gen_random_uuid(),
    account_id    uuid not null references accounts (id),
    portfolio_id  uuid not null references portfolios (id),
    type          text not null,
    amount        numeric(20, 4) not null,
    currency      char(3) not null references currencies (code),
    description   text not null default '',
    source        text not null,
    reference_id  text not null,
    version       integer not null default 1,
    status        text not null default 'booked' check (status in ('booked', 'reversed')),
    instrument_id integer references instruments (id),
    quantity      numeric(20, 6),
    price         numeric(20, 8),
    processed_at  timestamptz not null,
    received_at   timestamptz not null default now(),
    published_at  timestamptz,
    unique (source, reference_id, version)
);
create index transactions_account_idx on transactions (account_id, processed_at);
create index transactions_portfolio_idx on transactions (portfolio_id, processed_at);
create index transactions_instrument_idx on transactions (instrument_id);
create index transactions_currency_idx on transactions (currency);
create index transactions_flows_idx on transactions (processed_at) where type in ('deposit', 'withdrawal');
create index transactions_unpublished_idx on transactions (processed_at) where published_at is null;
comment on table transactions is 'Every booking once: unique by (source, reference, version). Amounts are signed effects on cash.';

create table ingest_cursors (
    source     text not null,
    stream     text not null,
    cursor     text not null,
    updated_at timestamptz not null default now(),
    primary key (source, stream)
);
comment on table ingest_cursors is 'How far a source is read; moves only in the transaction that stores what was read.';

-- What the stream computed -------------------------------------------------------------------------------------------
create table partition_epochs (
    topic     text not null,
    partition integer not null,
    epoch     bigint not null,
    owner     text not null,
    taken_at  timestamptz not null default now(),
    primary key (topic, partition)
);
comment on table partition_epochs is 'The fence: a worker writes only under the newest epoch of its partition.';

create table minute_valuations (
    portfolio_id     uuid not null,
    minute           timestamptz not null,
    epoch            bigint not null,
    seq              bigint not null,
    base_currency    char(3) not null,
    total_equity     numeric(20, 4) not null,
    cash             numeric(20, 4) not null,
    market_value     numeric(20, 4) not null,
    day_pnl          numeric(20, 4) not null,
    day_pnl_price    numeric(20, 4) not null,
    day_pnl_currency numeric(20, 4) not null,
    unrealised_pnl   numeric(20, 4) not null,
    stale_share      double precision not null,
    primary key (portfolio_id, minute)
) partition by range (minute);
comment on table minute_valuations is 'The state at the end of each minute; one partition a UTC day, made by ensure_minute_partition.';

create function ensure_minute_partition(day date) returns void language plpgsql as $$
declare
    name text := 'minute_valuations_' || to_char(day, 'YYYYMMDD');
begin
    if to_regclass(name) is null then
        perform pg_advisory_xact_lock(hashtext('minute_valuations'));
        execute format(
            'create table if not exists %I partition of minute_valuations for values from (%L) to (%L)',
            name, day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC');
    end if;
end $$;

create table daily_valuations (
    portfolio_id uuid not null references portfolios (id),
    date         date not null,
    total_equity numeric(20, 4) not null,
    net_flow     numeric(20, 4) not null,
    day_return   double precision not null,
    primary key (portfolio_id, date)
);
comment on column daily_valuations.net_flow is 'External flows of the day in base currency, deposits positive.';
comment on column daily_valuations.day_return is 'Time-weighted: (equity - flow) / equity of the day before - 1, flows at the end of the day.';

-- Documents and KYC --------------------------------------------------------------------------------------------------
create table kyc_documents (
    id            uuid primary key default gen_random_uuid(),
    user_id       uuid not null references users (id),
    document_type text not null,
    file_path     text not null,
    file_name     text not null,
    file_size     bigint not null check (file_size >= 0),
    mime_type     text not null,
    status        text not null default 'pending' check (status in ('pending', 'verified', 'rejected')),
    uploaded_at   timestamptz not null default now(),
    verified_at   timestamptz
);
create index kyc_documents_user_idx on kyc_documents (user_id);

create table video_kyc_sessions (
    id            uuid primary key default gen_random_uuid(),
    user_id       uuid not null references users (id),
    session_token text not null unique,
    status        text not null default 'scheduled'
                  check (status in ('scheduled', 'in_progress', 'completed', 'failed', 'cancelled')),
    scheduled_at  timestamptz,
    started_at    timestamptz,
    completed_at  timestamptz,
    agent_id      uuid references users (id),
    notes         text
);
create index video_kyc_sessions_user_idx on video_kyc_sessions (user_id);
create index video_kyc_sessions_agent_idx on video_kyc_sessions (agent_id);

-- Audit --------------------------------------------------------------------------------------------------------------
create table audit_events (
    id         bigint primary key,
    at         timestamptz not null,
    actor_id   uuid references users (id),
    action     text not null,
    subject    text not null default '',
    detail     jsonb not null default '{}',
    address    inet,
    previous   bytea not null,
    hash       bytea not null
);
create index audit_events_actor_idx on audit_events (actor_id);
comment on table audit_events is
    'Append only. hash = sha256(previous || json array of the other columns): a row cannot change unseen.';

-- A JSON array and not a joined string: a separator inside a value could otherwise move text from one column to another.
create function audit_event_hash(e audit_events) returns bytea language sql stable as $$
    select sha256(e.previous || convert_to(jsonb_build_array(e.id, extract(epoch from e.at), e.actor_id, e.action,
        e.subject, e.detail, host(e.address))::text, 'UTF8'))
$$;

create function audit_event_chain() returns trigger language plpgsql as $$
declare
    last audit_events;
begin
    perform pg_advisory_xact_lock(hashtext('audit_events'));
    select * into last from audit_events order by id desc limit 1;
    new.id := coalesce(last.id, 0) + 1;
    new.at := clock_timestamp();
    new.previous := coalesce(last.hash, '\x'::bytea);
    new.hash := audit_event_hash(new);
    return new;
end $$;
create trigger audit_event_chain before insert on audit_events for each row execute function audit_event_chain();

create function audit_event_refuse() returns trigger language plpgsql as $$
begin
    raise exception 'audit events are append only';
end $$;
create trigger audit_event_keep before update or delete or truncate on audit_events
    for each statement execute function audit_event_refuse();
