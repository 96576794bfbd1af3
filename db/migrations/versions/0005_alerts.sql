-- Alerts that people set on prices and portfolios: rules, and what they raised. How it works: docs/alerts.md.

alter table users add column alert_seq bigint not null default 0;
comment on column users.alert_seq is
    'Number of the newest alert. Counted in the transaction that writes it, under the lock of this row: so numbers have no gaps, and a greater one never commits first.';

create table alert_rules (
    id            uuid primary key default gen_random_uuid(),
    user_id       uuid not null references users (id),
    kind          text not null
                  check (kind in ('price', 'price_change_pct', 'day_pnl', 'day_pnl_pct', 'total_equity', 'stale')),
    instrument_id integer references instruments (id),
    portfolio_id  uuid references portfolios (id),
    direction     text not null check (direction in ('above', 'below')),
    threshold     numeric(24, 8) not null,
    repeat        text not null default 'once' check (repeat in ('once', 'each_time')),
    active        boolean not null default true,
    armed         boolean not null default true,
    version       bigint not null,
    created_at    timestamptz not null default now(),
    raised_at     timestamptz,
    deleted_at    timestamptz,
    check ((instrument_id is null) <> (portfolio_id is null)),
    check (kind = 'stale' or (kind in ('price', 'price_change_pct')) = (instrument_id is not null)),
    check (kind <> 'stale' or direction = 'above')
);
create index alert_rules_user_idx on alert_rules (user_id);
create index alert_rules_instrument_idx on alert_rules (instrument_id);
create index alert_rules_portfolio_idx on alert_rules (portfolio_id);
create unique index alert_rules_version_idx on alert_rules (version);
comment on table alert_rules is 'What users want to be told of. A rule that is deleted stays, as what its alerts refer to.';
comment on column alert_rules.threshold is
    'Price in the instrument''s currency, amount in the portfolio''s base currency, percent; of stale seconds (instrument) or a fraction (portfolio).';
comment on column alert_rules.armed is
    'It raises only while it is armed, and raising disarms it, in one statement: so no two workers raise the same.';
comment on column alert_rules.version is
    'Grows over all rules with each change by a user; stream workers read what is greater than what they know.';

-- A sequence would not do: of two changes the later number may commit first, and who reads by number would miss the other.
create table alert_rule_versions (
    singleton boolean primary key default true check (singleton),
    version   bigint not null
);
insert into alert_rule_versions values (true, 0);
comment on table alert_rule_versions is 'One row: the newest version of any rule. Its lock makes the changes commit in order.';

create function alert_rule_version() returns trigger language plpgsql as $$
begin
    update alert_rule_versions set version = version + 1 returning version into new.version;
    return new;
end $$;
create trigger alert_rule_made before insert on alert_rules for each row execute function alert_rule_version();
-- Not of armed and raised_at: those are the workers' own marks.
create trigger alert_rule_changed before update of direction, threshold, repeat, active, deleted_at on alert_rules
    for each row execute function alert_rule_version();

create table alerts (
    user_id         uuid not null references users (id),
    seq             bigint not null check (seq > 0),
    id              uuid not null unique default gen_random_uuid(),
    rule_id         uuid not null references alert_rules (id),
    direction       text not null,
    threshold       numeric(24, 8) not null,
    value           double precision not null,
    price_source    text not null,
    price_ns        bigint not null,
    raised_at       timestamptz not null,
    created_at      timestamptz not null default now(),
    acknowledged_at timestamptz,
    primary key (user_id, seq)
);
create index alerts_rule_idx on alerts (rule_id);
create index alerts_unacknowledged_idx on alerts (user_id, seq) where acknowledged_at is null;
comment on table alerts is 'What the rules raised: numbered by user, sent until it is acknowledged.';
comment on column alerts.direction is 'As threshold: that of the rule when it raised.';
comment on column alerts.value is 'The live value that crossed the threshold.';
comment on column alerts.price_source is 'The feed whose price it was; empty for a portfolio, which has many.';
comment on column alerts.price_ns is 'When that price was made, nanoseconds since 1970; of a portfolio the newest of all prices.';
comment on column alerts.raised_at is 'When the value was seen to cross; created_at, when PostgreSQL took it, is later where it was away.';

create function may_be_told(reader users, portfolio uuid) returns boolean language sql stable as $$
    select reader.status = 'active' and (portfolio is null or exists (
        select from visible_portfolios(reader.id, reader.role) v where v.portfolio_id = portfolio))
$$;
comment on function may_be_told is 'Whether the user is active and may see the portfolio now; null stands for what is no portfolio.';

create view alert_subjects as
select r.id as rule_id, r.kind, coalesce(i.currency, p.base_currency) as currency, coalesce(i.name, p.name) as title,
       case when p.id is null then 'quote:' || i.symbol else 'portfolio:' || p.id end as subject
  from alert_rules r
  left join instruments i on i.id = r.instrument_id
  left join portfolios p on p.id = r.portfolio_id;
comment on view alert_subjects is 'What each rule is about; subject is the name of the live stream that shows it.';

create view visible_alerts as
select a.user_id, a.seq, a.id, a.rule_id, s.kind, s.subject, s.title, s.currency, a.direction, a.threshold, a.value,
       a.price_source, a.price_ns, a.raised_at, a.acknowledged_at
  from alerts a
  join users u on u.id = a.user_id
  join alert_rules r on r.id = a.rule_id
  join alert_subjects s on s.rule_id = a.rule_id
 where may_be_told(u, r.portfolio_id);
comment on view visible_alerts is 'Alerts that their users may still see.';
