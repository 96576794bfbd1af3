// Follow a portfolio over a raw WebSocket, and never show a wrong state.
const [url, email, password] = process.argv.slice(2);

const headers = { "Content-Type": "application/json" };
const login = await fetch(`${url}/api/auth/login`, { method: "POST", headers, body: JSON.stringify({ email, password }) });
const { token } = await login.json();
const overview = await fetch(`${url}/api/portfolio/overview`, { headers: { Authorization: `Bearer ${token}` } });
const stream = `portfolio:${(await overview.json()).portfolios[0].id}`;

let epoch, seq, pause = 250, totals = {}, rows = new Map();

function take(message) { // false where something before it is missing
  if (message.type === "snapshot") [totals, rows] = [{}, new Map()];
  else if (message.epoch !== epoch || message.prev !== seq) return false;
  Object.assign(totals, message.totals);
  for (const key of message.removed ?? []) rows.delete(key);
  for (const row of message.rows) rows.set(row.symbol, { ...rows.get(row.symbol), ...row });
  ({ epoch, seq } = message);
  return true;
}

function connect() {
  const socket = new WebSocket(`${url.replace("http", "ws")}/ws/v1`);
  const say = (message) => socket.send(JSON.stringify(message));
  const subscribe = () => say({ type: "subscribe", id: 2, streams: [{ stream, epoch, seq }], max_hz: 4 });
  let final = false;
  socket.onopen = () => say({ type: "auth", id: 1, token });
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "authenticated") { pause = 250; subscribe(); }
    else if (message.type === "snapshot" || message.type === "delta") {
      if (take(message)) console.log(totals.name, totals.total_equity, totals.day_pnl);
      else subscribe();
    }
    else if (message.type === "error") console.error("refused:", message.error);
    else if (message.type === "closing") { final = message.code >= 3500; console.error(message); }
  };
  socket.onclose = () => { // from 3500 trying again changes nothing
    if (!final) setTimeout(connect, pause = Math.min(2 * pause, 10_000) * (0.5 + Math.random() / 2));
  };
}

connect();
