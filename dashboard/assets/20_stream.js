// Keep the newest state of one stream: a snapshot replaces it, a delta that follows it is merged by key.
(() => {
  "use strict";

  class Stream {
    constructor(name, key) {
      this.name = name;
      this.key = key;
      this.epoch = null;
      this.seq = null;
      this.eventNs = 0;
      this.totals = {};
      this.rows = new Map();
      this.asks = {}; // what is wanted of the stream: `fields`, `view`
      this.forget();
    }

    // What has changed since the last flush: a burst becomes one change.
    forget() {
      this.replaced = false;
      this.touched = new Set();
      this.removed = new Set();
      this.dirty = false;
    }

    position() {
      const asked = { stream: this.name, ...this.asks };
      return this.epoch === null ? asked : { ...asked, epoch: this.epoch, seq: this.seq };
    }

    snapshot(message) {
      this.totals = message.totals;
      this.rows = new Map(message.rows.map((row) => [row[this.key], { ...row, moved: 0 }]));
      this.forget();
      this.replaced = true;
      this.reach(message);
    }

    // False where the delta does not follow what we have: then only a new subscription helps.
    delta(message) {
      if (message.epoch !== this.epoch || message.prev !== this.seq) return false;
      Object.assign(this.totals, message.totals);
      for (const key of message.removed || []) this.remove(key);
      for (const row of message.rows || []) this.merge(row);
      this.reach(message);
      return true;
    }

    merge(row) {
      const key = row[this.key];
      const before = this.rows.get(key) || {};
      const moved = this.direction(before, row);
      this.rows.set(key, { ...before, ...row, moved });
      this.removed.delete(key);
      this.touched.add(key);
    }

    direction(before, row) {
      for (const field of ["price", "value", "equity_reference"]) {
        const step = row[field] - before[field];
        if (step) return Math.sign(step); // NaN where a side is absent
      }
      return before.moved || 0;
    }

    remove(key) {
      if (!this.rows.delete(key)) return;
      this.touched.delete(key);
      this.removed.add(key);
    }

    reach(message) {
      this.epoch = message.epoch;
      this.seq = message.seq;
      this.eventNs = message.event_ns;
      this.dirty = true;
    }

    // Whether a heartbeat's position says that we lack something.
    lacks(position) {
      return position.epoch !== this.epoch || position.seq > this.seq;
    }
  }

  window.alhambra.Stream = Stream;
})();
