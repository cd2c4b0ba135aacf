import type { AttachRequest, ExecRequest, Runtime, Session, StreamChoice } from "./runtime.ts";

/** What a token stands for. */
export type Asked =
  | { readonly kind: "exec"; readonly request: ExecRequest }
  | { readonly kind: "attach"; readonly request: AttachRequest }
  | PortForwardAsked;

/** `ports` are those that a client which cannot name them in the stream gets, in this order. */
export interface PortForwardAsked {
  readonly kind: "portforward";
  readonly sandboxId: string;
  readonly ports: readonly number[];
}

/** An exec or attach, ready to be opened. */
export interface Command {
  readonly choice: StreamChoice;
  /** For the client: what failed, if it fails. */
  readonly what: string;
  open(signal: AbortSignal): Promise<Session>;
}

/** How an exec or attach is opened. */
export function commandOf(asked: Exclude<Asked, PortForwardAsked>, runtime: Runtime): Command {
  if (asked.kind === "exec") {
    const { request } = asked;
    const open = (signal: AbortSignal) => runtime.exec(request, signal);
    return { choice: request, what: "executing command in container", open };
  }
  const { request } = asked;
  return {
    choice: request,
    what: "attaching to container",
    open: (signal) => runtime.attach(request, signal),
  };
}
