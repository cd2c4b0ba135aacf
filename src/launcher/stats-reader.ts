import { once } from "node:events";
import { connect } from "node:net";
import { DomainError } from "../lib/errors.ts";
import type { Frame } from "../lib/wire.ts";
import { LauncherConnection } from "./connection.ts";
import { decodeError } from "./protocol.ts";
import {
  decodeStatsReadings,
  encodeStatsAdd,
  encodeStatsRead,
  encodeStatsRemove,
  type StatsSet,
  statsMessage,
  type TakeReading,
} from "./stats-protocol.ts";

const REPLY_MS = 10_000;

/**
 * A connection to the launcher's stats reader: one process for all pods, which keeps their cgroups' files open. It ends
 * with this connection, and this with it; requests are answered in their order.
 */
export class StatsReader implements Disposable {
  readonly #connection: LauncherConnection;
  readonly #lost = new AbortController();

  /** Connects to the socket that `Launcher.startStats` has named. */
  static async open(socketPath: string): Promise<StatsReader> {
    const socket = connect(socketPath);
    await once(socket, "connect");
    return new StatsReader(socket);
  }

  private constructor(socket: ReturnType<typeof connect>) {
    this.#connection = new LauncherConnection(socket, {
      onEvent: () => undefined,
      onClose: (reason) => this.#lost.abort(reason),
    });
  }

  /** False once the process or the launcher has ended: a new one knows nothing of what was added here. */
  get isOpen(): boolean {
    return !this.#lost.signal.aborted;
  }

  /** Describes the set at a place of the table; replaces what was there. Files that do not exist yet are looked for again at each read. */
  async add(slot: number, set: StatsSet): Promise<void> {
    await this.#call(statsMessage.add, encodeStatsAdd(slot, set), "adding statistics files");
  }

  /** Empty places: nothing to do. */
  async remove(slots: readonly number[]): Promise<void> {
    await this.#call(statsMessage.remove, encodeStatsRemove(slots), "closing statistics files");
  }

  /**
   * Tells `take` of one reading for each place, in their order; resolves when it was told of all. Rejects with
   * `unavailable` when the process is lost, maybe in the middle.
   */
  async read(level: number, slots: readonly number[], take: TakeReading): Promise<void> {
    for (let done = 0; done < slots.length; ) {
      const from = done;
      const payload = await this.#call(
        statsMessage.read,
        encodeStatsRead(level, slots.slice(from)),
        "reading statistics",
      );
      done += decodeStatsReadings(payload, (reading, index) => take(reading, from + index));
      if (done === from) throw new DomainError("internal", "the stats reader answers nothing");
    }
  }

  [Symbol.dispose](): void {
    this.#connection.close("it was closed");
  }

  /** The reply to a request as it came, be it an error or not. */
  request(type: number, payload: Buffer, what = "a request"): Promise<Frame> {
    const seq = LauncherConnection.nextSeq();
    return this.#connection.request({ type, seq, payload, what, timeoutMs: REPLY_MS });
  }

  async #call(type: number, payload: Buffer, what: string): Promise<Buffer> {
    const reply = await this.request(type, payload, what);
    if (!reply.isError) return reply.payload;
    const error = decodeError(reply.payload);
    throw new DomainError("internal", `${what}: launcher error ${error.code}: ${error.what}`);
  }
}
