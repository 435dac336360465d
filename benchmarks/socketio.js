// Socket.IO on Node, websocket transport alone: with rooms and emit() as its documentation has them.
import { parseArgs } from "node:util";
import { createServer } from "node:http";
import { Server } from "socket.io";

const { values } = parseArgs({ options: { port: { type: "string" } } });
const http = createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false });

io.on("connection", (socket) => {
  const { room } = socket.handshake.query;
  socket.join(room);
  socket.on("message", (text) => io.to(room).emit("message", text));
});

http.listen({ host: "127.0.0.1", port: Number(values.port), backlog: 1024 });
