import type { Socket } from "node:net";
import { messageOf } from "../../lib/errors.ts";
import { forward } from "../forward.ts";
import { resetStatus } from "./frames.ts";
import type { Headers } from "./header-block.ts";
import type { StreamAcceptor } from "./spdy-connection.ts";
import type { SpdyStream } from "./spdy-stream.ts";

/** The only sub-protocol of port-forward over SPDY. */
export const portForwardProtocol = "portforward.k8s.io";

export interface PortForwardPorts {
  dial(port: number, signal: AbortSignal): Promise<Socket>;
  /** How long the second stream of a pair may take. */
  readonly creationMs: number;
  /** Told once when the client leaves. */
  gone(reason: Error): void;
}

/** A connection to one port: its bytes, and what went wrong. */
interface Pair {
  readonly port: number;
  readonly streams: Map<string, SpdyStream>;
  readonly timer: NodeJS.Timeout;
}

/** Any number of connections to ports of one sandbox, each with a pair of streams. */
export class SpdyPortForward implements StreamAcceptor {
  readonly #ports: PortForwardPorts;
  readonly #incomplete = new Map<string, Pair>();
  readonly #open = new Set<Socket>();
  readonly #life: AbortSignal;

  /** @param life ends all connections when it aborts, which it does when the client has gone */
  constructor(ports: PortForwardPorts, life: AbortSignal) {
    this.#ports = ports;
    this.#life = life;
    life.addEventListener("abort", () => this.#end(), { once: true });
  }

  accept(id: number, headers: Headers): ((stream: SpdyStream) => void) | undefined {
    const type = headers.get("streamtype") ?? "";
    const port = Number(headers.get("port"));
    const key = pairOf(id, type, headers);
    const isPort = Number.isInteger(port) && port > 0 && port <= 0xffff;
    const pair = this.#incomplete.get(key);
    const isAgain = pair !== undefined && (pair.streams.has(type) || pair.port !== port);
    if (!isPort || isAgain || (type !== "data" && type !== "error") || this.#life.aborted) return undefined;
    return (stream) => this.#add(key, type, port, stream);
  }

  gone(reason: Error): void {
    this.#ports.gone(reason);
  }

  #add(key: string, type: "data" | "error", port: number, stream: SpdyStream): void {
    if (type === "error") stream.listen(() => {}); // nothing is expected there
    const pair = this.#incomplete.get(key) ?? this.#begin(key, port);
    pair.streams.set(type, stream);
    const [data, error] = [pair.streams.get("data"), pair.streams.get("error")];
    if (data === undefined || error === undefined) return;
    clearTimeout(pair.timer);
    this.#incomplete.delete(key);
    void this.#serve(port, data, error);
  }

  #begin(key: string, port: number): Pair {
    const late = () => {
      this.#incomplete.delete(key);
      for (const stream of pair.streams.values()) stream.reset(resetStatus.protocolError);
    };
    const pair: Pair = { port, streams: new Map(), timer: setTimeout(late, this.#ports.creationMs).unref() };
    this.#incomplete.set(key, pair);
    return pair;
  }

  /** Never rejects: what goes wrong concerns this pair alone. */
  async #serve(port: number, data: SpdyStream, error: SpdyStream): Promise<void> {
    const pod = await this.#dial(port, data, error);
    if (pod === undefined) return;
    this.#open.add(pod);
    // Its own end would only close half, and a pod that goes on writing would never notice.
    using _cut = data.whenCut(() => pod.destroy());
    try {
      await forward(data, pod);
    } catch {
      // The client ends all of its connections when it reads an error; a broken one is told by its stream alone.
      data.reset(resetStatus.protocolError);
    } finally {
      this.#open.delete(pod);
      error.end();
    }
  }

  async #dial(port: number, data: SpdyStream, error: SpdyStream): Promise<Socket | undefined> {
    try {
      const pod = await this.#ports.dial(port, this.#life);
      if (!this.#life.aborted) return pod;
      pod.destroy();
    } catch (reason) {
      void error.write(Buffer.from(`error forwarding port ${port}: ${messageOf(reason)}`));
      error.end();
      data.reset(resetStatus.protocolError);
    }
    return undefined;
  }

  #end(): void {
    for (const { timer } of this.#incomplete.values()) clearTimeout(timer);
    this.#incomplete.clear();
    for (const pod of this.#open) pod.destroy();
  }
}

/** Clients of old name no pair: their data stream is the next one after its error stream. */
function pairOf(id: number, type: string, headers: Headers): string {
  return headers.get("requestid") ?? `#${type === "data" ? id - 2 : id}`;
}
