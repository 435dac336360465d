// ws on Node, as its README broadcasts: the received Buffer is sent to every open member of the room.
import { parseArgs } from "node:util";
import { WebSocket, WebSocketServer } from "ws";

const { values } = parseArgs({ options: { port: { type: "string" } } });
const rooms = new Map();

function roomOf(path) {
  if (!rooms.has(path)) rooms.set(path, new Set());
  return rooms.get(path);
}

new WebSocketServer({ host: "127.0.0.1", port: Number(values.port), backlog: 1024 }).on("connection", (socket, request) => {
  const room = roomOf(request.url);
  room.add(socket);
  socket.on("error", () => socket.terminate());
  socket.on("close", () => room.delete(socket));
  socket.on("message", (message, isBinary) => {
    for (const member of room) {
      if (member.readyState === WebSocket.OPEN) member.send(message, { binary: isBinary });
    }
  });
});
