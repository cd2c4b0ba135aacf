import assert from "node:assert/strict";
import { test } from "node:test";
import { DomainError } from "../lib/errors.ts";
import {
  createArgs,
  execArgs,
  killArgs,
  parseFeatures,
  pickOciVersion,
  type RuntimeHandler,
  runtimeError,
  takesExecCgroup,
  UNKNOWN_FEATURES,
} from "./handler.ts";

const RUNC: RuntimeHandler = {
  name: "runc",
  path: "/usr/sbin/runc",
  root: "/run/nacelle/runc",
  args: ["--criu", "x"],
  pauseContainer: "auto",
  allowedAnnotations: [],
  exit: "pid",
  signal: "pidfd",
  stats: "cgroup",
  systemdCgroup: true,
};

test("puts global arguments before the verb and the id last", () => {
  const argv = createArgs(RUNC, { id: "abc", bundle: "/b", pidFile: "/p", log: "/l", consoleSocket: "/c" });
  const expected = `/usr/sbin/runc --root /run/nacelle/runc --log /l --log-format json --systemd-cgroup --criu x create
    --bundle /b --pid-file /p --console-socket /c abc`;
  assert.deepEqual(argv, expected.split(/\s+/));
  assert.equal(killArgs(RUNC, { id: "abc", log: "/l", signal: 9, all: true }).slice(-4).join(" "), "kill --all abc 9");
  const exec = execArgs(RUNC, { id: "abc", log: "/l", processFile: "/f", pidFile: "/p", detach: true });
  assert.equal(exec.slice(-7).join(" "), "exec --detach --process /f --pid-file /p abc");
  const inCgroup = { id: "abc", log: "/l", processFile: "/f", pidFile: "/p", detach: true, ownCgroup: true };
  assert.deepEqual(execArgs(RUNC, inCgroup).slice(-2), ["@cgroup", "abc"]);
});

test("reads what a runtime says of itself and survives what it leaves out", () => {
  const text = JSON.stringify({
    ociVersionMin: "1.0.0",
    ociVersionMax: "1.2.0",
    mountOptions: ["ro", "rro"],
    linux: { namespaces: ["user"], seccomp: { enabled: true }, mountExtensions: { idmap: { enabled: true } } },
    annotations: { "org.opencontainers.runc.version": "1.2.4" },
  });
  const features = parseFeatures("runc", text);
  assert.ok(features.recursiveReadOnlyMounts && features.idmappedMounts && features.userNamespaces && features.seccomp);
  assert.equal(features.version, "1.2.4");
  assert.equal(parseFeatures("x", "{}").recursiveReadOnlyMounts, false);
  for (const bad of ["", "unknown command features", "{"]) assert.throws(() => parseFeatures("crun", bad), DomainError);
  for (const odd of ["null", "[]", "7", '{"linux":[]}']) assert.equal(parseFeatures("crun", odd).seccomp, false);
});

test("sees in its help whether a runtime takes a cgroup for an exec", () => {
  assert.ok(takesExecCgroup("   --cgroup value    run the process in an (existing) sub-cgroup(s)"));
  assert.ok(takesExecCgroup("      --apparmor=VALUE\n      --cgroup=PATH          sub-cgroup in the container"));
  assert.ok(!takesExecCgroup("   --cgroup-manager=MANAGER\n  --cwd value"));
});

test("writes the spec version that a runtime accepts", () => {
  const version = (ociVersionMin?: string, ociVersionMax?: string) =>
    pickOciVersion({ ...UNKNOWN_FEATURES, ociVersionMin, ociVersionMax });
  assert.equal(version(), "1.0.2");
  assert.equal(version("1.0.0", "1.0.2-dev"), "1.0.2");
  assert.equal(version("1.0.0", "1.3.0"), "1.0.2");
  assert.equal(version("1.0.0", "1.0.1"), "1.0.1");
  assert.equal(version("1.1.0", "1.3.0"), "1.1.0");
});

test("finds the reason in a runtime's log", () => {
  const log = `{"level":"warning","msg":"w","time":"t"}
{"level":"error","msg":"runc create failed: no such file\\n","time":"t"}
{"level":"info","msg":"later"}
{"level":"error","ms`;
  assert.equal(runtimeError(log), "runc create failed: no such file");
  assert.equal(runtimeError("panic: oh\n"), "panic: oh");
  assert.equal(runtimeError("", "first\nlast\n"), "last");
  assert.equal(runtimeError("", ""), "the runtime gave no reason");
});
