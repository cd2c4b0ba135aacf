import type { CriClient } from "./cri-client.ts";
import { containerConfig, sandboxConfig } from "./cri-configs.ts";
import { type ClientStream, SpdyClient } from "./spdy-client.ts";

type Stream = "stdin" | "stdout" | "stderr";

/** A pod with one container that waits to be used. */
export async function runPod(
  cri: CriClient,
  name: string,
  change: object = {},
): Promise<{ readonly podSandboxId: string; readonly containerId: string }> {
  const sandbox = sandboxConfig(name);
  const { podSandboxId } = await cri.call("RunPodSandbox", { config: sandbox });
  const config = { ...containerConfig("c"), ...change };
  const { containerId } = await cri.call("CreateContainer", { podSandboxId, config, sandboxConfig: sandbox });
  await cri.call("StartContainer", { containerId });
  return { podSandboxId, containerId };
}

/** Stops a pod and removes it. */
export async function removePod(cri: CriClient, podSandboxId: string): Promise<void> {
  await cri.call("StopPodSandbox", { podSandboxId });
  await cri.call("RemovePodSandbox", { podSandboxId });
}

/** Where a call's streams are; the call is Exec, Attach or PortForward. */
export async function streamUrl(cri: CriClient, call: string, request: object): Promise<string> {
  const { url } = await cri.call(call, { ...request });
  return String(url);
}

/** An exec or attach over SPDY with its streams. */
export class SpdySession implements AsyncDisposable {
  readonly client: SpdyClient;
  readonly error: ClientStream;
  readonly #streams: ReadonlyMap<Stream, ClientStream>;

  private constructor(client: SpdyClient, error: ClientStream, streams: ReadonlyMap<Stream, ClientStream>) {
    this.client = client;
    this.error = error;
    this.#streams = streams;
  }

  /** Resolves when all streams are open; the process may not run yet. */
  static async open(url: string, ...names: readonly Stream[]): Promise<SpdySession> {
    const client = await SpdyClient.connect(url, ["v4.channel.k8s.io"]);
    const error = await client.open({ streamtype: "error" });
    const streams = new Map<Stream, ClientStream>();
    for (const streamtype of names) streams.set(streamtype, await client.open({ streamtype }));
    return new SpdySession(client, error, streams);
  }

  /** One of the streams that it was opened with. */
  stream(name: Stream): ClientStream {
    const stream = this.#streams.get(name);
    if (stream === undefined) throw new Error(`${name} was not opened`);
    return stream;
  }

  /** How the process ended: its exit code. Throws the message of any other failure. */
  async exitCode(): Promise<number> {
    const status = JSON.parse(await this.error.text());
    if (status.status === "Success") return 0;
    if (status.reason !== "NonZeroExitCode") throw new Error(status.message);
    return Number(status.details.causes[0].message);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]();
  }
}

/** Runs a command in a container over SPDY with these streams. */
export async function exec(
  cri: CriClient,
  containerId: string,
  cmd: readonly string[],
  ...names: readonly Stream[]
): Promise<SpdySession> {
  const streams = Object.fromEntries(names.map((name) => [name, true]));
  return await SpdySession.open(await streamUrl(cri, "Exec", { containerId, cmd, ...streams }), ...names);
}
