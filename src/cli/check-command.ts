import { once } from "node:events";
import { access, constants, mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseCgroups, unifiedMount } from "../cgroup/cgroup.ts";
import { adminSocket } from "../config/check.ts";
import type { Config } from "../config/schema.ts";
import { Launcher } from "../launcher/launcher.ts";
import { messageOf } from "../lib/errors.ts";
import type { Handlers } from "../sandbox/handlers.ts";
import { Paths } from "../sandbox/paths.ts";
import { askAdmin } from "./admin-client.ts";
import { readSystemdFacts } from "./cgroup-driver.ts";
import { checkCgroups } from "./check-cgroups.ts";
import { checkKernel } from "./check-kernel.ts";
import { type CheckLine, checkPage, fail, isFit, ok, warn } from "./check-line.ts";
import { checkNetwork, checkRegistries } from "./check-network.ts";
import { checkRuntimes } from "./check-runtimes.ts";
import { checkStorage } from "./check-storage.ts";
import type { Command } from "./command.ts";
import { readConfig } from "./command-config.ts";
import { exitCodes } from "./exit-codes.ts";
import { readHostFacts } from "./host-facts.ts";
import { nativeBinary, requireRoot } from "./native-binary.ts";
import { findHandlers } from "./runtime-handlers.ts";

const ANSWER_MS = 2_000;

/** `nacelle check`: each requirement with a remedy for what is not met. A server that runs is not disturbed. */
export const checkCommand: Command = async (invocation, io) => {
  const config = readConfig(invocation, io);
  if (config === undefined) return exitCodes.badConfiguration;
  const lines = await checkNode(config);
  const fit = isFit(lines);
  io.out(invocation.json ? `${JSON.stringify({ fit, checks: lines }, undefined, 2)}\n` : checkPage(lines));
  return fit ? exitCodes.ok : exitCodes.nodeUnfit;
};

async function checkNode(config: Config): Promise<readonly CheckLine[]> {
  const before = [ok("configuration", "valid; its paths are short enough for sockets"), await checkClock()];
  const after = [await checkRegistries(config), await checkSocket(config)];
  let binary: string;
  try {
    requireRoot();
    binary = await nativeBinary();
  } catch (error) {
    return [
      ...before,
      fail("nacelle", messageOf(error), "then check again: nothing else can be tried without"),
      ...after,
    ];
  }
  try {
    return [...before, ...(await withLauncher(config, binary)), ...after];
  } catch (error) {
    return [
      ...before,
      fail("launcher", messageOf(error), "this is needed for everything: look at what it says"),
      ...after,
    ];
  }
}

/** With a launcher in a run directory of its own, so that it ends nobody else's operations. */
async function withLauncher(config: Config, binary: string): Promise<readonly CheckLine[]> {
  await using owned = new AsyncDisposableStack();
  const runDir = await mkdtemp(join(tmpdir(), "nacelle-check-"));
  owned.defer(() => rm(runDir, { recursive: true, force: true }));
  const ignore = () => undefined;
  const launcher = owned.use(
    await Launcher.start({ binary, runDir, epoch: 1n, cgroup: "", log: ignore, onExited: ignore }),
  );
  const handlers = await findHandlers(config, new Paths(config), {
    run: (request, signal) => launcher.run(request, signal),
    perform: (operations, options) => launcher.perform(operations, options),
  });
  return [
    ok("launcher", `${binary} runs`),
    ...(await checkHost(config, handlers)),
    ...(await checkRuntimes(handlers, launcher)),
    ...(await checkNetwork(config, launcher)),
    ...(await checkStorage(config, launcher)),
  ];
}

async function checkHost(config: Config, handlers: Handlers): Promise<readonly CheckLine[]> {
  const layout = parseCgroups(await read("/proc/self/mountinfo"));
  const facts = await readHostFacts(layout);
  const kernel = checkKernel(facts, {
    osrelease: await read("/proc/sys/kernel/osrelease"),
    maxUserNamespaces: await read("/proc/sys/user/max_user_namespaces"),
    inotifyInstances: await read("/proc/sys/fs/inotify/max_user_instances"),
  });
  const offered = await read(join(unifiedMount(layout) ?? "/none", "cgroup.controllers"));
  const controllers =
    layout.mode === "v2" ? offered.trim().split(" ") : layout.hierarchies.flatMap((one) => one.controllers);
  const writable = await Promise.all(layout.hierarchies.map(({ mountPoint }) => isWritable(mountPoint)));
  const cgroups = checkCgroups({
    layout,
    controllers: new Set(controllers),
    procCgroups: await read("/proc/cgroups"),
    readOnly: layout.hierarchies.filter((_, index) => !writable[index]).map(({ mountPoint }) => mountPoint),
    driver: config.cgroupDriver,
    systemd: await readSystemdFacts(),
    handlers: handlers.list().flatMap(({ handler, problem }) => (problem === "" ? [handler.name] : [])),
  });
  return [...kernel, ...cgroups];
}

/** A clock before this program was built makes every certificate invalid. */
async function checkClock(): Promise<CheckLine> {
  const { mtimeMs } = await stat(import.meta.filename);
  const now = Temporal.Now.instant().toString({ smallestUnit: "second" });
  if (Date.now() >= mtimeMs - 86_400_000) return ok("clock", now);
  return fail("clock", `${now} is before this program was installed`, "set it, and run chrony or systemd-timesyncd");
}

async function checkSocket(config: Config): Promise<CheckLine> {
  const what = "socket";
  const state = await askAdmin({
    socket: adminSocket(config),
    method: "GET",
    path: "/state",
    timeoutMs: ANSWER_MS,
  }).catch((error: unknown) => ({ error: messageOf(error) }));
  if (typeof state === "object" && state !== null && "pid" in state && "phase" in state) {
    return ok(what, `a nacelle is there: pid ${state.pid}, ${state.phase}`);
  }
  if (await isServed(config.listen)) {
    const remedy = "stop that one, or set listen to another path";
    return fail(what, `${config.listen} is served by another program`, remedy);
  }
  if (state !== undefined)
    return warn(what, `${adminSocket(config)} does not answer as it should`, "look at the server's log");
  return ok(what, `${config.listen} is free`);
}

async function isServed(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, "connect", { signal: AbortSignal.timeout(ANSWER_MS) });
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function read(path: string): Promise<string> {
  return readFile(path, "utf8").catch(() => "");
}

function isWritable(path: string): Promise<boolean> {
  return access(path, constants.W_OK).then(
    () => true,
    () => false,
  );
}
