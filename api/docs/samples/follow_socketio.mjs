// Follow a portfolio over Socket.IO, and never show a wrong state.
import { io } from "socket.io-client";

const [url, email, password] = process.argv.slice(2);

const headers = { "Content-Type": "application/json" };
const login = await fetch(`${url}/api/auth/login`, { method: "POST", headers, body: JSON.stringify({ email, password }) });
const { token } = await login.json();
const overview = await fetch(`${url}/api/portfolio/overview`, { headers: { Authorization: `Bearer ${token}` } });
const stream = `portfolio:${(await overview.json()).portfolios[0].id}`;

let epoch, seq, totals = {}, rows = new Map();
const socket = io(`${url}/live`, { transports: ["websocket"], auth: { token } });

function subscribe() {
  socket.emit("subscribe", { id: 1, streams: [{ stream, epoch, seq }], max_hz: 4 }, (answer) => {
    if (answer.error) console.error("refused:", answer.error);
  });
}

function reach(message) {
  ({ epoch, seq } = message);
  console.log(totals.name, totals.total_equity, totals.day_pnl);
}

socket.on("connect", subscribe); // and after every reconnect, with the position we hold
socket.on("connect_error", (error) => console.error("not connected:", error.data ?? error.message));
socket.on("closing", (message) => console.error(message));
socket.on("snapshot", (message) => {
  totals = message.totals;
  rows = new Map(message.rows.map((row) => [row.symbol, row]));
  reach(message);
});
socket.on("delta", (message) => {
  if (message.epoch !== epoch || message.prev !== seq) return subscribe();
  Object.assign(totals, message.totals);
  for (const key of message.removed) rows.delete(key);
  for (const row of message.rows) rows.set(row.symbol, { ...rows.get(row.symbol), ...row });
  reach(message);
});
