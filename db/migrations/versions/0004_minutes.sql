-- Minutes of 100,000 portfolios in a fraction of a second, a day of one of them in milliseconds, and every minute with
-- what it was computed from. Why the tables are laid out so: docs/decisions/0010-minutes.md.

create temporary table minutes_before on commit drop as
select v.*, c.minor_units from minute_valuations v join currencies c on c.code = v.base_currency;
drop table minute_valuations;

create table minute_valuations (
    minute         timestamptz not null,
    portfolio_id   uuid not null,
    assignment     bigint not null,
    epoch          bigint not null,
    seq            bigint not null,
    version        bigint not null,
    total_equity   bigint not null,
    cash           bigint not null,
    day_pnl        bigint not null,
    day_pnl_price  bigint not null,
    unrealised_pnl bigint not null,
    stale_share    real not null,
    base_currency  char(3) not null,
    primary key (minute, portfolio_id)
) partition by range (minute);
comment on table minute_valuations is
    'The state at the end of each minute; one partition a UTC day, made by ensure_minute_partition.';
comment on column minute_valuations.minute is 'When it began; the state is that of its end.';
comment on column minute_valuations.assignment is
    'Which assignment of a stream worker computed it: its prices are in minute_prices. 0: from before they were kept.';
comment on column minute_valuations.version is 'That of the positions: position_sets has them.';
comment on column minute_valuations.total_equity is 'As all amounts here in minor units of base_currency: cents of USD.';

create table minute_prices (
    minute      timestamptz not null,
    assignment  bigint not null,
    instruments integer[] not null,
    prices      double precision[] not null,
    price_ns    bigint[] not null,
    states      smallint[] not null,
    primary key (minute, assignment)
) partition by range (minute);
comment on table minute_prices is
    'Every price that the minute''s valuations were computed from, one row a worker: arrays of one length and order.';
comment on column minute_prices.price_ns is 'When each price was made, nanoseconds since 1970; 0 for cash.';
comment on column minute_prices.states is '0 live, 1 close, 2 stale.';

create table opening_prices (
    assignment  bigint not null,
    time_zone   text not null,
    since       timestamptz not null,
    day_start   timestamptz not null,
    instruments integer[] not null,
    closes      double precision[] not null,
    primary key (assignment, time_zone, since)
);
create index opening_prices_since_idx on opening_prices (since);
comment on table opening_prices is
    'The prior closes that a worker went by, and when the day of the time zone began, from minute `since` on until the next row.';
comment on column opening_prices.closes is '0 where an instrument had none.';

create table hour_valuations (
    portfolio_id  uuid not null,
    hour          timestamptz not null,
    base_currency char(3) not null,
    minutes       smallint[] not null,
    total_equity  bigint[] not null,
    day_pnl       bigint[] not null,
    primary key (portfolio_id, hour)
) partition by range (hour);
comment on table hour_valuations is
    'Copies of minute_valuations, a row a portfolio and hour, so that a day is read from a few pages: only hours that are in packed_hours count.';
comment on column hour_valuations.minutes is 'Minutes of the hour, ascending; the amounts (minor units) are in their order.';

create table packed_hours (
    hour      timestamptz primary key,
    packed_at timestamptz not null default now()
);
comment on table packed_hours is 'Hours whose minutes are all in hour_valuations. A minute that is written late takes its hour out again.';

create or replace function ensure_minute_partition(day date) returns void language plpgsql as $$
declare
    parent text;
    name   text;
begin
    foreach parent in array array['minute_valuations', 'minute_prices', 'hour_valuations'] loop
        name := parent || '_' || to_char(day, 'YYYYMMDD');
        if to_regclass(name) is null then
            perform pg_advisory_xact_lock(hashtext('minute_valuations'));
            execute format('create table if not exists %I partition of %I for values from (%L) to (%L)', name, parent,
                day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC');
        end if;
    end loop;
end $$;

create function drop_minutes(before date) returns integer language plpgsql as $$
declare
    old   record;
    count integer := 0;
begin
    for old in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = any(array['minute_valuations', 'minute_prices', 'hour_valuations']::regclass[])
           and c.relname ~ '_\d{8}$' and to_date(right(c.relname, 8), 'YYYYMMDD') < before
    loop
        execute format('drop table %I', old.relname);
        count := count + 1;
    end loop;
    delete from packed_hours where hour < before::timestamp at time zone 'UTC';
    delete from opening_prices o where since < before::timestamp at time zone 'UTC' and exists (
        select from opening_prices n where n.assignment = o.assignment and n.time_zone = o.time_zone
           and n.since > o.since and n.since <= before::timestamp at time zone 'UTC');
    return count;
end $$;
comment on function drop_minutes is
    'Drops the minutes of UTC days before this one, and what belongs to them; returns how many partitions. Daily valuations stay.';

create function open_hours(since timestamptz, until timestamptz) returns setof timestamptz language sql stable as $$
    select h from generate_series(date_trunc('hour', since, 'UTC'), until - interval '1 microsecond', interval '1 hour') h
     where not exists (select from packed_hours where hour = h)
       and exists (select from minute_valuations where minute >= h and minute < h + interval '1 hour')
$$;
comment on function open_hours is 'Hours from the one of `since` that have minutes and are not packed.';

select ensure_minute_partition(day) from (select distinct (minute at time zone 'UTC')::date as day from minutes_before) d;
insert into minute_valuations
select minute, portfolio_id, 0, epoch, seq, 0, total_equity * 10 ^ minor_units, cash * 10 ^ minor_units,
       day_pnl * 10 ^ minor_units, day_pnl_price * 10 ^ minor_units, unrealised_pnl * 10 ^ minor_units, stale_share,
       base_currency
  from minutes_before order by minute, portfolio_id;

-- Totals are rewritten every few minutes: room in the pages keeps their indexes untouched. Whatever fits 64 bits of
-- minor units is to fit here too.
alter table portfolios set (fillfactor = 60);
alter table portfolios
    alter total_value type numeric(24, 4),
    alter cash_balance type numeric(24, 4),
    alter buying_power type numeric(24, 4),
    alter day_pl type numeric(24, 4);
alter table holdings alter value type numeric(24, 4), alter day_pl type numeric(24, 4);
alter table daily_valuations alter total_equity type numeric(24, 4), alter net_flow type numeric(24, 4);
comment on table portfolios is
    'Totals are those of a minute in the last few (last_updated says which), for SQL readers; the live ones are in Redis.';
