// Node's socket.io under the load of `alhambra bench fanout`: node server.js PORT HZ
//
// It says `ready`, then emits to every room, HZ times a second, the delta of a quote, field for field what Alhambra
// sends. The room of a stream is the stream's name: who follows one stream shares a room, the others have one each. At
// `stop` on standard input it emits no more and says {"event_ns": …} of what came last; it ends with its input.
"use strict";
const readline = require("node:readline");
const { Server } = require("socket.io");

const [port, hz] = process.argv.slice(2).map(Number);
const EPOCH = Date.now() * 1000;
const CLOSE = 100;
const streams = new Map(); // by name: {seq, price}
const io = new Server(port, { transports: ["websocket"], serveClient: false, pingInterval: 20000, pingTimeout: 20000 });
const live = io.of("/live");

const nowNs = () => Math.round((performance.timeOrigin + performance.now()) * 1e6);

function totals({ price }, eventNs) {
  const change = Math.round((price - CLOSE) * 1e8) / 1e8;
  return { price, change, change_pct: (100 * change) / CLOSE, price_ns: eventNs };
}

function tick(stream, name, eventNs) {
  stream.seq += 1;
  stream.price = Math.max(1, Math.round(stream.price * 100 + Math.random() * 20 - 10) / 100);
  live.to(name).emit("delta", {
    stream: name,
    epoch: EPOCH,
    seq: stream.seq,
    event_ns: eventNs,
    sent_ns: nowNs(),
    prev: stream.seq - 1,
    totals: totals(stream, eventNs),
    rows: [],
    removed: [],
  });
}

live.on("connection", (socket) => {
  socket.on("subscribe", (request, acknowledge) => {
    for (const { stream: name } of request.streams) {
      if (!streams.has(name)) streams.set(name, { seq: 0, price: CLOSE });
      const stream = streams.get(name);
      const eventNs = nowNs();
      socket.join(name);
      socket.emit("snapshot", {
        stream: name,
        epoch: EPOCH,
        seq: stream.seq,
        event_ns: eventNs,
        sent_ns: eventNs,
        totals: totals(stream, eventNs),
        rows: [],
      });
    }
    acknowledge({ id: request.id });
  });
});

// All quotes of a tick have one time, as those of a batch have. The grid of ticks does not drift; one missed is missed.
let due = performance.now();
let newest = 0;
let timer;
function run() {
  newest = nowNs();
  streams.forEach((stream, name) => tick(stream, name, newest));
  due = Math.max(due + 1000 / hz, performance.now());
  timer = setTimeout(run, Math.max(1, due - performance.now()));
}

const commands = readline.createInterface({ input: process.stdin });
commands.on("close", () => process.exit(0));
commands.on("line", () => {
  clearTimeout(timer);
  console.log(JSON.stringify({ event_ns: newest }));
});
io.httpServer.once("listening", () => {
  run();
  console.log("ready");
});
