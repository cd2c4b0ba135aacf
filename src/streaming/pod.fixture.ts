import { once } from "node:events";
import { createServer, type Socket } from "node:net";

/** Something that listens in the pod. */
export async function listening(serve: (socket: Socket) => void) {
  const server = createServer({ allowHalfOpen: true }, (socket) => serve(socket.on("error", () => {})));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return { port, [Symbol.dispose]: () => void server.close() };
}
