import { messageOf } from "../lib/errors.ts";
import { orAborted } from "../lib/or-aborted.ts";
import type { Command } from "./asked.ts";
import type { Ending } from "./ending.ts";
import type { Session, TerminalSize } from "./runtime.ts";

/** A client's side of one exec or attach, whatever carries it. */
export interface CommandChannels {
  /** Ends when the client ends its input. Undefined: it has none. */
  readonly stdin: AsyncIterable<Buffer> | undefined;
  /** Told each size at once; the last one that came before is told first. */
  onResize(listener: (size: TerminalSize) => void): void;
  /** Resolves when the next output may be given. What was not asked for is dropped. */
  write(stream: "stdout" | "stderr", data: Buffer): Promise<void>;
  /** No more output. Tells how it ended, then ends the connection. */
  finish(ending: Ending): void;
}

/**
 * Carries one exec or attach from beginning to end. The session is disposed exactly once, whoever leaves first.
 *
 * @param signal aborts when the client has gone or the server stops
 */
export async function runCommand(
  channels: CommandChannels,
  command: Pick<Command, "open" | "what">,
  signal: AbortSignal,
): Promise<Ending> {
  const ending = await attempt(channels, command, signal);
  channels.finish(ending);
  return ending;
}

async function attempt(
  channels: CommandChannels,
  command: Pick<Command, "open" | "what">,
  signal: AbortSignal,
): Promise<Ending> {
  try {
    using session = await command.open(signal);
    const code = await orAborted(converse(session, channels, signal), signal);
    return { kind: "exited", code };
  } catch (error) {
    return { kind: "failed", message: `error ${command.what}: ${messageOf(error)}` };
  }
}

async function converse(session: Session, channels: CommandChannels, signal: AbortSignal): Promise<number | undefined> {
  const over = new AbortController();
  channels.onResize((size) => session.resize(size));
  const input = giveInput(session, channels.stdin, AbortSignal.any([signal, over.signal]));
  const output = takeOutput(session, channels);
  // A broken input breaks the session; an input that goes on does not keep it.
  await Promise.race([output, input.then(() => output)]);
  const code = await session.ended;
  over.abort();
  return code;
}

async function giveInput(session: Session, stdin: AsyncIterable<Buffer> | undefined, over: AbortSignal): Promise<void> {
  if (stdin === undefined) return;
  for await (const data of stdin) await session.write(data);
  // A client that has gone has not ended its input.
  if (!over.aborted) session.endInput();
}

async function takeOutput(session: Session, channels: CommandChannels): Promise<void> {
  for await (const { stream, data } of session.output) await channels.write(stream, data);
}
