import { type PayloadReader, PayloadWriter, PayloadReader as Reader } from "../lib/wire.ts";
import type { Operation, OperationOptions, RunRequest, RunResult } from "./operations.ts";

/** Messages of the launcher; native/README.md is their specification. */
export const message = {
  hello: 0x0101,
  run: 0x0201,
  perform: 0x0202,
  cancel: 0x0203,
  startMonitor: 0x0204,
  watch: 0x0205,
  unwatch: 0x0206,
  startUnpack: 0x0207,
  kill: 0x0208,
  notify: 0x0209,
  startStats: 0x020a,
  exited: 0x4201,
} as const;

/** Codes of error replies. */
export const errorCode = {
  malformed: 1,
  unsupported: 2,
  syscall: 3,
  timeout: 4,
  staleEpoch: 5,
  noSuch: 6,
  wrongState: 7,
  busy: 8,
  runtimeFailed: 9,
  limit: 10,
  cancelled: 11,
} as const;

const PROTOCOL_VERSION = 1;
const KIND_CONTROL = 1;

/** An error reply, field by field. */
export interface ErrorReply {
  readonly code: number;
  readonly errno: number;
  readonly index: number;
  readonly what: string;
  readonly path: string;
}

export interface HelloReply {
  readonly version: number;
  readonly pid: number;
  readonly startTime: bigint;
  readonly build: string;
  readonly sandboxId: string;
  readonly epoch: bigint;
  /** Owners of operations of an earlier launcher that could not be killed. */
  readonly stuck: readonly string[];
}

/** A process by pid and start time (field 22 of /proc/PID/stat): unique within a boot. */
export interface ProcessName {
  readonly pid: number;
  readonly startTime: bigint;
}

/** The end of a watched process. `ending` is undefined when nobody could tell how it ended. */
export interface Exited {
  readonly key: string;
  /** As waitid(2) tells it: siCode is CLD_EXITED 1, CLD_KILLED 2 or CLD_DUMPED 3. */
  readonly ending: { readonly siCode: number; readonly siStatus: number } | undefined;
}

export function encodeHello(epoch: bigint): Buffer {
  return new PayloadWriter().u16(PROTOCOL_VERSION).u16(PROTOCOL_VERSION).u64(epoch).u8(KIND_CONTROL).done();
}

export function decodeHelloReply(payload: Buffer): HelloReply {
  const r = new Reader(payload);
  return {
    version: r.u16(),
    pid: r.u32(),
    startTime: r.u64(),
    build: r.str(),
    sandboxId: r.str(),
    epoch: r.u64(),
    stuck: r.list((item) => item.str()),
  };
}

export function decodeError(payload: Buffer): ErrorReply {
  const r = new Reader(payload);
  return { code: r.u16(), errno: r.i32(), index: r.u32(), what: r.str(), path: r.str() };
}

export function encodeRun(request: RunRequest): Buffer {
  const env = Object.entries(request.env).map(([name, value]) => `${name}=${value}`);
  return head(request)
    .str(request.cwd ?? "/")
    .strings(request.argv)
    .strings(env)
    .bytes(request.stdin ?? Buffer.alloc(0))
    .done();
}

const outcomes = ["exited", "signaled", "timedOut", "cancelled"] as const;

/** A run's result as the launcher tells it: a cancelled one is no result for a caller. */
export type RunReply = Omit<RunResult, "outcome"> & { readonly outcome: (typeof outcomes)[number] };

export function decodeRunReply(payload: Buffer): RunReply {
  const r = new Reader(payload);
  const outcome = outcomes[r.u8()] ?? "signaled";
  const status = r.i32();
  const truncated = r.u8() !== 0;
  return { outcome, status, truncated, stdout: r.bytes(), stderr: r.bytes() };
}

export function encodePerform(operations: readonly Operation[], options: OperationOptions): Buffer {
  return head(options)
    .list(operations, (writer, operation) => putOperation(writer, operation))
    .done();
}

export function decodeResults(payload: Buffer): Buffer[] {
  return new Reader(payload).list((r) => r.bytes());
}

export function encodeCancel(seq: bigint): Buffer {
  return new PayloadWriter().u64(seq).done();
}

export function encodeStartMonitor(sandboxId: string, socketPath: string, recordDir: string): Buffer {
  return new PayloadWriter().str(sandboxId).str(socketPath).str(recordDir).done();
}

export function decodeProcess(payload: Buffer): ProcessName {
  const r = new Reader(payload);
  return { pid: r.u32(), startTime: r.u64() };
}

export function encodeWatch(key: string, process: ProcessName): Buffer {
  return new PayloadWriter().str(key).u32(process.pid).u64(process.startTime).done();
}

export function encodeUnwatch(key: string): Buffer {
  return new PayloadWriter().str(key).done();
}

export function encodeStartUnpack(dir: string, silenceMs: number): Buffer {
  return new PayloadWriter().str(dir).u32(silenceMs).done();
}

/** Where a child listens that START_UNPACK or START_STATS has started. */
export function decodeServing(payload: Buffer): { readonly socketPath: string; readonly pid: number } {
  const r = new Reader(payload);
  return { socketPath: r.str(), pid: r.u32() };
}

export function encodeKill(process: ProcessName, signal: number): Buffer {
  return new PayloadWriter().u32(process.pid).u64(process.startTime).u32(signal).done();
}

export function encodeNotify(socket: string, text: string): Buffer {
  return new PayloadWriter().str(socket).str(text).done();
}

export function decodeExited(payload: Buffer): Exited {
  const r: PayloadReader = new Reader(payload);
  const key = r.str();
  const known = r.u8() !== 0;
  const ending = { siCode: r.i32(), siStatus: r.i32() };
  return { key, ending: known ? ending : undefined };
}

function head(options: OperationOptions): PayloadWriter {
  return new PayloadWriter().str(options.owner).str(options.what).u32(options.deadlineMs);
}

type Put = (writer: PayloadWriter, operation: Operation) => void;

function putOperation(w: PayloadWriter, o: Operation): void {
  const [kind, put] = kindOf(o);
  w.u16(kind);
  put(w, o);
}

/** Two kinds came later, with more fields: a message of the protocol never changes. */
function kindOf(o: Operation): readonly [number, Put] {
  if (o.op === "namespaces" && o.user !== undefined) return namespacesOf;
  if (o.op === "mkdirInRoot" && o.owner !== undefined) return mkdirInRootAs;
  return kinds[o.op];
}

/** A table entry that is only ever given its own kind of operation. */
function kind<K extends Operation["op"]>(
  number: number,
  op: K,
  put: (w: PayloadWriter, o: Extract<Operation, { op: K }>) => void,
): readonly [number, Put] {
  const is = (o: Operation): o is Extract<Operation, { op: K }> => o.op === op;
  return [number, (w, o) => is(o) && put(w, o)];
}

const kinds: Readonly<Record<Operation["op"], readonly [number, Put]>> = {
  mkdir: kind(1, "mkdir", (w, o) =>
    w
      .str(o.path)
      .u32(o.mode)
      .u8(o.parents === true ? 1 : 0),
  ),
  rmdir: kind(2, "rmdir", (w, o) => w.str(o.path)),
  unlink: kind(3, "unlink", (w, o) => w.str(o.path)),
  rmtree: kind(4, "rmtree", (w, o) => w.str(o.path)),
  writeFile: kind(5, "writeFile", (w, o) => w.str(o.path).u32(o.mode).bytes(o.data)),
  writeKernelFile: kind(6, "writeKernelFile", (w, o) => w.str(o.path).bytes(o.data)),
  rename: kind(7, "rename", (w, o) => w.str(o.from).str(o.to)),
  mount: kind(8, "mount", (w, o) =>
    w
      .str(o.source)
      .str(o.target)
      .str(o.type)
      .u64(BigInt(o.flags))
      .str(o.data)
      .str(o.chdir ?? ""),
  ),
  unmount: kind(9, "unmount", (w, o) => w.str(o.target)),
  namespaces: kind(10, "namespaces", (w, o) =>
    w
      .str(o.net ?? "")
      .str(o.ipc ?? "")
      .str(o.uts ?? "")
      .str(o.hostname ?? "")
      .strings((o.sysctls ?? []).flat()),
  ),
  unpin: kind(11, "unpin", (w, o) => w.str(o.path)),
  stat: kind(12, "stat", (w, o) => w.str(o.path)),
  realpath: kind(13, "realpath", (w, o) => w.str(o.path)),
  readInRoot: kind(14, "readInRoot", (w, o) => w.str(o.root).str(o.path).u32(o.max)),
  mkdirInRoot: kind(15, "mkdirInRoot", (w, o) => w.str(o.root).str(o.path).u32(o.mode)),
  syncfs: kind(16, "syncfs", (w, o) => w.str(o.path)),
  killCgroup: kind(17, "killCgroup", (w, o) => w.strings(o.paths)),
  removeCgroup: kind(18, "removeCgroup", (w, o) => w.strings(o.paths)),
  statfs: kind(19, "statfs", (w, o) => w.str(o.path)),
  diskUsage: kind(20, "diskUsage", (w, o) => w.str(o.path)),
  bindInRoot: kind(21, "bindInRoot", (w, o) => w.str(o.root).str(o.path).str(o.target)),
  copyInRoot: kind(22, "copyInRoot", (w, o) => w.str(o.root).str(o.path).str(o.target)),
  setOomScoreAdj: kind(23, "setOomScoreAdj", (w, o) => w.str(o.path).bytes(Buffer.from(String(o.value)))),
  userNamespace: kind(24, "userNamespace", (w, o) => w.str(o.path).str(o.uidMap).str(o.gidMap)),
  mountOverlay: kind(26, "mountOverlay", (w, o) =>
    w.str(o.user).str(o.target).str(o.chdir).str(o.data).strings(o.lower),
  ),
  chown: kind(27, "chown", (w, o) => w.str(o.path).u32(o.uid).u32(o.gid)),
  tryIdmap: kind(29, "tryIdmap", (w, o) => w.str(o.user).str(o.path)),
  devices: kind(30, "devices", (w, o) => w.str(o.path)),
};

const namespacesOf = kind(25, "namespaces", (w, o) =>
  w
    .str(o.net ?? "")
    .str(o.ipc ?? "")
    .str(o.uts ?? "")
    .str(o.hostname ?? "")
    .str(o.user ?? "")
    .strings((o.sysctls ?? []).flat()),
);

const mkdirInRootAs = kind(28, "mkdirInRoot", (w, o) =>
  w
    .str(o.root)
    .str(o.path)
    .u32(o.mode)
    .u32(o.owner?.uid ?? 0)
    .u32(o.owner?.gid ?? 0),
);
