// Follow a stream by the rules of docs/protocol.md, and say as a line of JSON what is held after each message.
// node follow.mjs socketio|websocket <url> <token> <stream>
const [transport, url, token, stream] = process.argv.slice(2);
const RETRY_MS = 100;
let epoch, seq, totals = {}, rows = new Map();
const counts = { connections: 0, snapshots: 0, deltas: 0, gaps: 0, goodbyes: [] };

const position = () => (epoch === undefined ? {} : { epoch, seq });
const request = () => ({ id: counts.connections, streams: [{ stream, ...position() }], max_hz: 20 });

function say() {
  console.log(JSON.stringify({ epoch, seq, totals, rows: Object.fromEntries(rows), ...counts }));
}

// Returns whether the message follows what is held; where it does not, the stream is to be asked for again.
function take(type, message) {
  if (type === "snapshot") {
    totals = message.totals;
    rows = new Map(message.rows.map((row) => [row.symbol, row]));
    counts.snapshots += 1;
  } else {
    if (message.epoch !== epoch || message.prev !== seq) {
      counts.gaps += 1;
      return false;
    }
    Object.assign(totals, message.totals);
    message.removed.forEach((key) => rows.delete(key));
    message.rows.forEach((row) => rows.set(row.symbol, { ...rows.get(row.symbol), ...row }));
    counts.deltas += 1;
  }
  ({ epoch, seq } = message);
  say();
  return true;
}

function refused(error) {
  console.error("refused:", JSON.stringify(error));
  process.exit(1);
}

async function overSocketIO() {
  const { io } = await import("socket.io-client");
  const socket = io(`${url}/live`, { transports: ["websocket"], auth: { token }, reconnectionDelay: RETRY_MS });
  const subscribe = () => socket.emit("subscribe", request(), (answer) => answer.error && refused(answer.error));
  socket.on("connect", () => {
    counts.connections += 1;
    subscribe();
  });
  socket.on("connect_error", (error) => error.data?.code >= 3500 && refused(error.data));
  socket.on("closing", (message) => counts.goodbyes.push(message.code));
  for (const type of ["snapshot", "delta"]) socket.on(type, (message) => take(type, message) || subscribe());
}

function overWebSocket() {
  const socket = new WebSocket(`${url.replace("http", "ws")}/ws/v1`);
  const send = (type, content) => socket.send(JSON.stringify({ type, ...content }));
  socket.onopen = () => send("auth", { id: 0, token });
  socket.onmessage = ({ data }) => {
    const { type, ...message } = JSON.parse(data);
    if (type === "authenticated") {
      counts.connections += 1;
      send("subscribe", request());
    } else if (type === "error") refused(message.error);
    else if (type === "closing") counts.goodbyes.push(message.code);
    else if ((type === "snapshot" || type === "delta") && !take(type, message)) send("subscribe", request());
  };
  socket.onclose = ({ code, reason }) => (code >= 3500 ? refused({ code, reason }) : setTimeout(overWebSocket, RETRY_MS));
}

await (transport === "socketio" ? overSocketIO() : overWebSocket());
