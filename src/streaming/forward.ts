import type { Socket } from "node:net";

/** A client's side of one forwarded connection. */
export interface ForwardedSide {
  /** Ends when the client ends its side. */
  readonly input: AsyncIterable<Buffer>;
  /** False once the client has ended its side, whether or not all of `input` was taken. Asked after `end`. */
  readonly isInputOpen: boolean;
  /** Resolves when the next bytes may be given. */
  write(data: Buffer): Promise<void>;
  /** The pod has ended its side. */
  end(): void;
}

/** For a pod to take some of what it was sent, when nobody has any more to say. */
const TAKE_MS = 30_000;

/**
 * Carries bytes both ways until both have ended; each half ends by itself. Rejects when the pod breaks the connection. The
 * connection is closed in any case, also when both have ended and the pod takes nothing for `takeMs`.
 */
export async function forward(client: ForwardedSide, pod: Socket, takeMs = TAKE_MS): Promise<void> {
  const { promise: broken, reject } = Promise.withResolvers<never>();
  pod.on("error", reject);
  broken.catch(() => {}); // it may break when both halves have ended
  try {
    await Promise.race([Promise.all([fromPod(client, pod, takeMs), toPod(client, pod)]), broken]);
  } finally {
    pod.destroy();
  }
}

async function fromPod(client: ForwardedSide, pod: Socket, takeMs: number): Promise<void> {
  for await (const data of pod.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) await client.write(data);
  client.end();
  // Nothing comes any more, so it is the pod's taking alone that puts this off.
  pod.on("timeout", () => {
    if (client.isInputOpen) pod.setTimeout(takeMs);
    else pod.destroy();
  });
  pod.setTimeout(takeMs);
}

async function toPod(client: ForwardedSide, pod: Socket): Promise<void> {
  for await (const data of client.input) {
    if (!pod.write(data)) await told(pod, "drain");
  }
  pod.end();
  // What the kernel has not taken yet would go with the connection.
  await told(pod, "finish");
}

/** Also when it has closed, after which nothing is ever taken. */
function told(pod: Socket, event: "drain" | "finish"): Promise<void> {
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
