// Speak the live protocol: subscribe with the last position, notice every gap, say how live the page is.
(() => {
  "use strict";
  const STALE_AFTER_MS = 3000;
  const LACKING_FOR_MS = 2000;
  const ASK_AGAIN_MS = 1500;
  const MAX_HZ = 4;
  const UNAUTHORISED = 3501;
  const NO_RETRY = 3500;

  const counters = (window.__alhambra = {
    received: 0, applied: 0, gaps: 0, subscriptions: 0, snapshots: 0, flushes: 0, lastLatencyMs: null, latenciesMs: [],
  });

  class Connection {
    constructor(onChange, onRefused) {
      this.onChange = onChange;
      this.onRefused = onRefused;
      this.stream = null;
      this.lastMessage = 0;
      this.lackingSince = 0;
      this.asked = 0;
      this.probed = 0;
      this.sourceLost = false;
      this.socket = io("/live", {
        transports: ["websocket"],
        auth: (give) => give({}), // the page's cookie signs in; a program would give a token here
        reconnectionDelay: 300,
        reconnectionDelayMax: 5000,
        randomizationFactor: 0.5,
      });
      this.listen();
    }

    listen() {
      const on = (event, handle) => this.socket.on(event, (message) => { this.lastMessage = Date.now(); handle(message); });
      this.socket.on("connect", () => this.subscribe());
      this.socket.on("connect_error", (error) => this.refused(error));
      on("snapshot", (message) => this.take(message, true));
      on("delta", (message) => this.take(message, false));
      on("heartbeat", (message) => this.heartbeat(message));
      on("revoked", (message) => this.revoked(message));
      on("closing", (message) => this.closing(message));
      // A server that cuts us off says so; socket.io itself tries again only after losses it did not expect.
      this.socket.on("disconnect", (reason) => {
        if (reason === "io server disconnect") this.connectLater();
      });
    }

    // Follow another stream, or none.
    follow(stream) {
      if (this.stream && this.socket.connected) {
        this.socket.emit("unsubscribe", { id: "leave", streams: [this.stream.name] }, () => {});
      }
      this.stream = stream;
      if (stream && this.socket.connected) this.subscribe();
    }

    // Ask anew for a stream of which something else is wanted.
    renew(stream) {
      if (stream === this.stream && this.socket.connected) this.subscribe();
    }

    subscribe() {
      const stream = this.stream;
      if (!stream) return;
      this.asked = Date.now();
      this.lackingSince = 0;
      counters.subscriptions += 1;
      const request = { id: String(counters.subscriptions), streams: [stream.position()], max_hz: MAX_HZ };
      this.socket.timeout(10000).emit("subscribe", request, (late, answer) => {
        if (stream !== this.stream) return;
        if (late) this.later();
        else if (answer.error) this.answered(answer.error);
        else this.lastMessage = Date.now();
      });
    }

    later() {
      setTimeout(() => this.socket.connected && this.subscribe(), ASK_AGAIN_MS * (1 + Math.random()));
    }

    answered(error) {
      if (error.code === UNAUTHORISED) signIn();
      else if (error.code < NO_RETRY) this.later();
      else this.onRefused("refused");
    }

    take(message, whole) {
      const stream = this.stream;
      if (!stream || message.stream !== stream.name) return;
      counters.received += 1;
      if (whole) {
        counters.snapshots += 1;
        stream.snapshot(message);
      } else if (stream.epoch === null) {
        return; // a delta of a subscription we left, before the new one's snapshot
      } else if (!stream.delta(message)) {
        if (message.epoch === stream.epoch && message.seq <= stream.seq) return; // already have it
        counters.gaps += 1;
        this.again();
        return;
      }
      counters.applied += 1;
      this.measure(message);
      this.onChange();
    }

    measure(message) {
      counters.lastLatencyMs = Date.now() - message.event_ns / 1e6;
      counters.latenciesMs.push(counters.lastLatencyMs);
      if (counters.latenciesMs.length > 2000) counters.latenciesMs.shift();
    }

    // Ask for what is missing; at most one question at a time, the answer may be on its way.
    again() {
      if (Date.now() - this.asked > ASK_AGAIN_MS / 3) this.subscribe();
    }

    heartbeat(message) {
      this.sourceLost = message.source === "lost"; // the server is there, but what it serves is not
      const position = this.stream && message.streams && message.streams[this.stream.name];
      if (!position || !this.stream.lacks(position)) {
        this.lackingSince = 0;
        return;
      }
      this.lackingSince = this.lackingSince || Date.now();
      if (Date.now() - this.lackingSince <= LACKING_FOR_MS) return;
      counters.gaps += 1;
      this.subscribe();
    }

    revoked(message) {
      if (!this.stream || message.stream !== this.stream.name) return;
      this.stream = null;
      if (message.code === UNAUTHORISED) signIn();
      else this.onRefused("revoked");
    }

    // The server is about to close: when it goes away another one answers, otherwise we are not wanted.
    closing(message) {
      if (message.code === UNAUTHORISED) signIn();
      else if (message.code >= NO_RETRY) this.onRefused("refused");
    }

    refused(error) {
      const code = error.data && error.data.code;
      if (code === UNAUTHORISED) signIn();
      else if (code >= NO_RETRY) this.onRefused("refused");
      else if (!this.socket.active) this.connectLater(); // refused by the server: socket.io leaves it at that
      else if (Date.now() - this.probed > 5000) this.probe();
    }

    connectLater() {
      setTimeout(() => this.socket.connect(), ASK_AGAIN_MS * (1 + Math.random()));
    }

    // A handshake that fails says no reason: ask once in a while whether it is the session that has ended.
    probe() {
      this.probed = Date.now();
      fetch("/_dash-layout", { redirect: "manual", headers: { accept: "application/json" } }).then(
        (answer) => { if (answer.status === 401 || answer.type === "opaqueredirect") signIn(); },
        () => {}, // no network: the connection state says so already
      );
    }

    state() {
      if (!this.socket.connected) return this.lastMessage ? "offline" : "connecting";
      if (this.sourceLost) return "stale";
      if (!this.stream) return "live";
      return Date.now() - Math.max(this.lastMessage, this.asked) > STALE_AFTER_MS ? "stale" : "live";
    }
  }

  function signIn() {
    location.assign("/sign-in?error=expired");
  }

  Object.assign(window.alhambra, { Connection, counters, signIn });
})();
