import type { IncomingMessage } from "node:http";
import { Agent, request } from "node:https";
import { text } from "node:stream/consumers";
import type { Pod } from "./pod.ts";

const patienceMs = 60_000;

/** A client of one kubelet's HTTPS API. */
export class KubeletApi {
  readonly host: string;
  readonly port: number;
  /** The certificates to trust, and the name that the kubelet's own is made out to. */
  readonly tls: { readonly ca: string; readonly servername: string };

  constructor(host: string, port: number, tls: KubeletApi["tls"]) {
    this.host = host;
    this.port = port;
    this.tls = tls;
  }

  /** The pods that it runs, with their status. */
  async pods(signal?: AbortSignal): Promise<readonly Pod[]> {
    const { items }: { items: readonly Pod[] | null } = JSON.parse(await this.get("/pods", signal));
    return items ?? [];
  }

  /** What a path answers. Throws unless the status is 200. */
  async get(path: string, signal?: AbortSignal): Promise<string> {
    return await text(await this.open("GET", path, signal));
  }

  /** What a POST without a body answers. Throws unless the status is 200. */
  async post(path: string): Promise<string> {
    return await text(await this.open("POST", path));
  }

  /** A response of status 200 whose body the caller reads or destroys. */
  async open(method: string, path: string, signal = AbortSignal.timeout(patienceMs)): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    // A connection of its own: one that is kept would not outlive a kubelet that is killed.
    const agent = new Agent({ keepAlive: false });
    request({ method, host: this.host, port: this.port, path, agent, signal, ...this.tls })
      .once("response", resolve)
      .once("error", reject)
      .end();
    const response = await promise;
    if (response.statusCode === 200) return response;
    throw new Error(`${method} ${path} answered ${response.statusCode}: ${await text(response)}`);
  }
}
