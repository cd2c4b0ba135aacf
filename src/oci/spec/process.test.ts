import assert from "node:assert/strict";
import { test } from "node:test";
import { DomainError } from "../../lib/errors.ts";
import type { ContainerConfig } from "../config.ts";
import { buildCapabilities, CAPABILITIES, capabilitiesFromMask, DEFAULT_CAPABILITIES } from "./capabilities.ts";
import type { SpecInput } from "./input.ts";
import { buildProcess, clampOomScoreAdj } from "./process.ts";
import { sampleConfig, sampleHost, sampleInput } from "./sample-input.ts";

function build(config: Partial<ContainerConfig>, rest: Partial<SpecInput> = {}) {
  return buildProcess({ ...sampleInput, config: { ...sampleConfig, ...config }, ...rest });
}

test("replaces entrypoint and arguments as the CRI says", () => {
  const args = (command: readonly string[], given: readonly string[]) => build({ command, args: given }).value.args;
  assert.deepEqual(args([], []), ["/bin/web", "--port", "80"]);
  assert.deepEqual(args([], ["-v"]), ["/bin/web", "-v"]);
  assert.deepEqual(args(["sh"], []), ["sh"]);
  assert.deepEqual(args(["sh"], ["-c"]), ["sh", "-c"]);
  const image = { ...sampleInput.image, entrypoint: [], cmd: [] };
  assert.throws(() => build({}, { image }), /container "web".*image "sha256:abc"/);
  assert.throws(() => build({ command: ["sh\0"] }), DomainError);
});

test("lets the last value of a variable stand, and never shows one in an error", () => {
  const image = { ...sampleInput.image, env: ["PATH=/image", "A=1", "HOSTNAME=old"] };
  const envs = [
    { key: "A", value: "2" },
    { key: "B", value: "x=y" },
    { key: "A", value: "3" },
  ];
  const { env } = build({ envs, tty: true }, { image }).value;
  assert.deepEqual(env, ["PATH=/image", "A=3", "HOSTNAME=shop-0", "TERM=xterm", "B=x=y"]);
  for (const key of ["", "A=B", "A\0"])
    assert.throws(() => build({ envs: [{ key, value: "secret" }] }), /^(?!.*secret)/s);
  assert.throws(
    () => build({ envs: [{ key: "K", value: "secret\0" }] }),
    (error: Error) => !error.message.includes("secret"),
  );
});

test("starts in a clean directory and in no process's open files", () => {
  const cwd = (workingDir: string, imageDir = "") =>
    build({ workingDir }, { image: { ...sampleInput.image, workingDir: imageDir } }).value.cwd;
  assert.equal(cwd(""), "/");
  assert.equal(cwd("", "app/../srv/"), "/srv");
  assert.equal(cwd("/x", "/srv"), "/x");
  for (const path of [
    "/proc/self/fd/8",
    "/x/../proc/self/fd/8/../..",
    "/proc/1/fd",
    "/dev/fd/7",
    "proc/thread-self/fd/3",
  ]) {
    if (path.endsWith("..")) assert.equal(cwd(path), "/proc/self");
    else assert.throws(() => cwd(path), /open files/, path);
  }
});

test("lowers what cannot be set on this host, and says so", () => {
  const policy = { pidsLimit: 0, ulimits: [{ type: "RLIMIT_NOFILE", soft: 1024, hard: 524288 }] };
  const host = { ...sampleHost, rlimitCeilings: { RLIMIT_NOFILE: 512 } };
  const { value, notices } = build({}, { policy, host });
  assert.deepEqual(value.rlimits, [{ type: "RLIMIT_NOFILE", soft: 512, hard: 512 }]);
  assert.match(notices.join(), /CAP_SYS_RESOURCE/);
  assert.equal(clampOomScoreAdj(-997, -1000).value, -997);
  assert.equal(clampOomScoreAdj(-997, 0).value, 0);
  assert.throws(() => clampOomScoreAdj(1001, 0), DomainError);
});

const ALL_HELD = new Set(CAPABILITIES);

function capabilities(add: readonly string[], drop: readonly string[], held: ReadonlySet<string> = ALL_HELD) {
  return buildCapabilities({ add, drop, ambient: [], privileged: false }, held).value.effective;
}

test("adds and drops capabilities with ALL first on either side", () => {
  assert.deepEqual(capabilities([], []).toSorted(order), DEFAULT_CAPABILITIES.toSorted(order));
  assert.deepEqual(capabilities(["net_admin"], ["ALL"]), ["CAP_NET_ADMIN"]);
  assert.equal(capabilities(["ALL"], ["cap_sys_admin"]).length, CAPABILITIES.length - 1);
  assert.deepEqual(capabilities([], ["all"]), []);
  assert.ok(!capabilities(["NET_RAW"], ["NET_RAW"]).includes("CAP_NET_RAW"));
  for (const name of ["", "CAP_", "NET ADMIN", "CAP_CAP_CHOWN", "FOO"])
    assert.throws(() => capabilities([name], []), DomainError);
});

test("gives nobody what nacelle does not hold", () => {
  const held = capabilitiesFromMask("000001fffeffffff");
  assert.equal(held.size, CAPABILITIES.length - 1);
  assert.ok(!capabilities(["ALL", "SYS_RESOURCE"], [], held).includes("CAP_SYS_RESOURCE"));
  const request = { add: ["SYS_RESOURCE"], drop: [], ambient: [], privileged: false };
  assert.match(buildCapabilities(request, held).notices.join(), /CAP_SYS_RESOURCE/);
  assert.equal(buildCapabilities({ ...request, privileged: true }, held).value.bounding.length, held.size);
});

test("makes capabilities ambient and inheritable only where that is asked for", () => {
  const sets = (add: readonly string[], ambient: readonly string[], drop: readonly string[] = []) =>
    buildCapabilities({ add, drop, ambient, privileged: false }, ALL_HELD).value;
  for (const { inheritable, ambient } of [sets([], []), sets(["ALL"], []), sets(["NET_ADMIN"], [])]) {
    assert.deepEqual([inheritable, ambient], [[], []]);
  }
  const given = sets(["NET_ADMIN"], ["net_bind_service", "SYS_TIME"], ["ALL"]);
  const both = ["CAP_NET_BIND_SERVICE", "CAP_SYS_TIME"];
  assert.deepEqual([given.ambient, given.inheritable], [both, both]);
  assert.deepEqual(given.bounding.toSorted(order), ["CAP_NET_ADMIN", ...both].toSorted(order));
  assert.deepEqual(sets([], ["NET_RAW"], ["NET_RAW"]).ambient, []);
  assert.equal(sets([], ["ALL"]).ambient.length, CAPABILITIES.length);
  assert.throws(() => sets([], ["NO_SUCH"]), /add_ambient_capabilities\[0\].*NO_SUCH/);
});

function order(a: string, b: string): number {
  return a < b ? -1 : 1;
}
