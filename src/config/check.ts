import { isIP } from "node:net";
import { join } from "node:path";
import { invalidArgument } from "../lib/errors.ts";
import { plainParts } from "../lib/plain-path.ts";
import type { Config } from "./schema.ts";

/** sockaddr_un holds 108 bytes with the final NUL. */
const maxSocketPath = 107;
/** The longest name of a socket below runDir: "monitor/" and an abbreviated id, with room for what comes. */
const longestSocketName = 40;

/** The socket of the administrative HTTP interface. */
export function adminSocket(config: Config): string {
  return join(config.runDir, "admin.sock");
}

/** What no single key can tell. Throws `invalidArgument`, naming the keys and the remedy. */
export function checkConfig(config: Config): void {
  checkPaths(config);
  checkCgroupParent(config);
  checkSocketLengths(config);
  const handlers = Object.keys(config.runtimes);
  if (!handlers.includes(config.defaultRuntime)) {
    throw invalidArgument(
      `defaultRuntime: there is no ${JSON.stringify(config.defaultRuntime)} in runtimes (${handlers.join(", ")})`,
      { key: "defaultRuntime" },
    );
  }
  const ping = /^(\d{1,10}) (\d{1,10})$/.exec(config.workload.pingGroupRange);
  if (ping === null) throw invalidArgument('workload.pingGroupRange: expected two group ids, like "0 2147483647"');
  if (config.metrics.listen !== "" && !/^[^\s]+:\d{1,5}$/.test(config.metrics.listen)) {
    throw invalidArgument('metrics.listen: expected host:port, like "127.0.0.1:9400"', { key: "metrics.listen" });
  }
  checkStreaming(config);
  const { softLimit, hardLimit } = config.logs;
  if (hardLimit > 0 && softLimit > hardLimit) {
    throw invalidArgument("logs.softLimit: above logs.hardLimit, where no log comes; set a lower one or none", {
      key: "logs.softLimit",
    });
  }
  refuseUnserved(config);
}

function checkStreaming({ streaming: { address, tlsCert, tlsKey } }: Config): void {
  if (isIP(address) === 0) {
    throw invalidArgument(`streaming.address: expected an IP address, not ${JSON.stringify(address)}`, {
      key: "streaming.address",
    });
  }
  if ((tlsCert === "") !== (tlsKey === "")) {
    throw invalidArgument("streaming.tlsCert and streaming.tlsKey: TLS needs both, or set neither", {
      key: tlsCert === "" ? "streaming.tlsCert" : "streaming.tlsKey",
    });
  }
}

/** Values that a later version will serve: said now, and not found out by what does not happen. */
function refuseUnserved({ images, runtimes }: Config): void {
  const unserved: [key: string, isAsked: boolean][] = [
    ["images.keepBlobs: true", images.keepBlobs],
    ...Object.entries(runtimes).flatMap(([name, { exit, signal, stats }]): [string, boolean][] => [
      [`runtimes.${name}.exit: wait`, exit === "wait"],
      [`runtimes.${name}.signal: runtime`, signal === "runtime"],
      [`runtimes.${name}.stats: events`, stats === "events"],
    ]),
  ];
  for (const [key, isAsked] of unserved) {
    if (isAsked) throw invalidArgument(`${key} is not served by this version; leave it at its default`, { key });
  }
}

function checkPaths(config: Config): void {
  const { root, runDir, netnsDir, listen } = config;
  for (const [key, path] of Object.entries({ root, runDir, netnsDir, listen })) {
    if (path === "/") throw invalidArgument(`${key}: must not be the root directory`, { key });
  }
  if (contains(root, runDir) || contains(runDir, root)) {
    throw invalidArgument(
      `root and runDir: ${root} and ${runDir} must not lie in each other: only one survives a reboot`,
    );
  }
  for (const [key, path] of Object.entries({ root, runDir, listen })) {
    if (path === netnsDir || (key !== "runDir" && contains(netnsDir, path))) {
      throw invalidArgument(`netnsDir: ${netnsDir} must be a directory of its own, not that of ${key}`, {
        key: "netnsDir",
      });
    }
  }
  if (listen === adminSocket(config))
    throw invalidArgument(`listen: ${listen} is the administrative socket`, { key: "listen" });
}

/** Used at the first pod that names none, and at the end of `nacelle wipe`: too late to find it out. */
function checkCgroupParent({ cgroupParent }: Config): void {
  if (plainParts(cgroupParent) !== undefined) return;
  const expected = "expected a path of plain names below the root of the cgroups, like /nacelle";
  throw invalidArgument(`cgroupParent: ${expected}`, { key: "cgroupParent" });
}

function checkSocketLengths({ listen, runDir }: Config): void {
  const tooLong = (key: string, path: string, max: number) =>
    invalidArgument(`${key}: ${path} is too long for a socket: at most ${max} bytes`, { key });
  if (Buffer.byteLength(listen) > maxSocketPath) throw tooLong("listen", listen, maxSocketPath);
  const maxRunDir = maxSocketPath - longestSocketName;
  if (Buffer.byteLength(runDir) > maxRunDir) throw tooLong("runDir", runDir, maxRunDir);
}

function contains(outer: string, inner: string): boolean {
  return inner === outer || inner.startsWith(`${outer}/`);
}
