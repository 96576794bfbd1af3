alter table instruments drop constraint instruments_asset_class_check;
alter table instruments add constraint instruments_asset_class_check
    check (asset_class in ('equity', 'etf', 'bond', 'fund', 'cash', 'fx', 'index', 'crypto'));

-- What a venue calls an instrument, where its own rule of naming does not say so.
create table instrument_symbols (
    source        text not null,
    symbol        text not null,
    instrument_id integer not null references instruments (id),
    quoted_in     text,
    priority      integer,
    primary key (source, symbol)
);
create index instrument_symbols_instrument_idx on instrument_symbols (instrument_id);
comment on column instrument_symbols.quoted_in is
    'Currency of quotation where it is not the instrument''s: a minor unit such as GBX is converted, anything else is refused.';
comment on column instrument_symbols.priority is 'Rank of this source for this instrument, 0 first; null: the order of the feeds.';
