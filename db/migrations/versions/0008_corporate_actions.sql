create table corporate_actions (
    source        text not null,
    reference     text not null,
    version       integer not null,
    instrument_id integer not null references instruments (id),
    kind          text not null check (kind in ('split')),
    ex_date       date not null,
    effective_at  timestamptz not null,
    ratio         numeric(28, 18) not null check (ratio > 0),
    received_at   timestamptz not null default now(),
    primary key (source, reference, version)
);
create index corporate_actions_instrument_idx on corporate_actions (instrument_id, ex_date);
comment on table corporate_actions is 'Of a reference the newest version counts; a split of ratio 1 takes an earlier version back.';
comment on column corporate_actions.ex_date is 'The first date whose close is in new shares.';
comment on column corporate_actions.effective_at is 'From when quantities and prices are in new shares.';
comment on column corporate_actions.ratio is 'New shares for one old: 2 for a two-for-one split, 0.04 for a reverse split of 1 for 25.';
