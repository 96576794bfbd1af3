-- One process at a time works a source. The epoch grows with every change of leader and is the fence: what carries an
-- older one is refused.
create table leases (
    source     text primary key,
    owner      text not null,
    epoch      bigint not null check (epoch > 0),
    expires_at timestamptz not null,
    -- Makes the epoch part of a key: a takeover then waits for the transactions that hold the row "for key share",
    -- which are those that write under this epoch, and a renewal does not.
    unique (source, epoch)
);
comment on table leases is 'Who works a source now; expires_at is by the clock of the database, which is the only one that counts.';
comment on column leases.epoch is
    'Milliseconds since 1970 at the takeover, or one more than before: it grows even when a backup was restored.';
