import type { Duplex } from "node:stream";

/** A client's side of one forwarded connection. */
export interface ForwardedSide {
  /** Ends when the client ends its side. */
  readonly input: AsyncIterable<Buffer>;
  /** Resolves when the next bytes may be given. */
  write(data: Buffer): Promise<void>;
  /** The pod has ended its side. */
  end(): void;
}

/**
 * Carries bytes both ways until both have ended; each half ends by itself. Rejects when the pod breaks the connection. The
 * connection is closed in any case.
 */
export async function forward(client: ForwardedSide, pod: Duplex): Promise<void> {
  const { promise: broken, reject } = Promise.withResolvers<never>();
  pod.on("error", reject);
  broken.catch(() => {}); // it may break when both halves have ended
  try {
    await Promise.race([Promise.all([fromPod(client, pod), toPod(client, pod)]), broken]);
  } finally {
    pod.destroy();
  }
}

async function fromPod(client: ForwardedSide, pod: Duplex): Promise<void> {
  for await (const data of pod.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) await client.write(data);
  client.end();
}

async function toPod(client: ForwardedSide, pod: Duplex): Promise<void> {
  for await (const data of client.input) {
    if (!pod.write(data)) await told(pod, "drain");
  }
  pod.end();
  // What the kernel has not taken yet would go with the connection.
  await told(pod, "finish");
}

/** Also when it has closed, after which nothing is ever taken. */
function told(pod: Duplex, event: "drain" | "finish"): Promise<void> {
  if (pod.destroyed) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = () => {
    pod.off(event, done);
    pod.off("close", done);
    resolve();
  };
  pod.on(event, done);
  pod.on("close", done);
  return promise;
}
