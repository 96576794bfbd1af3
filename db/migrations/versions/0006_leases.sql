-- One process at a time works a source. The epoch grows with every change of leader and is the fence: what carries an
-- older one is refused.
create table leases (
    source     text primary key,
    owner      text not null,
    epoch      bigint not null check (epoch > 0),
    expires_at timestamptz not null
);
comment on table leases is 'Who works a source now; expires_at is by the clock of the database, which is the only one that counts.';
