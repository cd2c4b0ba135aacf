import assert from "node:assert/strict";
import { test } from "node:test";
import { DomainError } from "../../lib/errors.ts";
import { DEFAULT_CAPABILITIES } from "../spec/capabilities.ts";
import { defaultSeccompProfile } from "./default-profile.ts";
import { MAX_PROFILE_BYTES, type ProfileContext, parseSeccompProfile } from "./profile.ts";
import { ALLOWED, CONDITIONAL, DENIED } from "./table.ts";

const CONTEXT: ProfileContext = { arch: "x64", capabilities: new Set(["CAP_SYS_ADMIN"]), kernel: [5, 10] };

function parse(profile: unknown, context = CONTEXT) {
  return parseSeccompProfile("/p.json", typeof profile === "string" ? profile : JSON.stringify(profile), context);
}

test("judges every call of the table once and with a reason", () => {
  const groups = [...ALLOWED, ...CONDITIONAL, ...DENIED];
  const names = groups.flatMap((group) => group.names);
  assert.equal(new Set(names).size, names.length);
  assert.ok(names.every((name) => /^[a-z_][a-z0-9_]*$/.test(name)));
  assert.ok(groups.every((group) => group.reason.length > 10));
});

function verdict(profile: ReturnType<typeof defaultSeccompProfile>, name: string): string {
  const rules = profile.syscalls.filter((rule) => rule.names.includes(name));
  if (rules.length === 0) return "absent";
  if (rules.some((rule) => rule.args !== undefined)) return "judged";
  return rules.map((rule) => (rule.action === "SCMP_ACT_ALLOW" ? "allowed" : `errno ${rule.errnoRet}`)).join();
}

test("denies by default what escapes are made of, and allows it with the capability for it", () => {
  const plain = defaultSeccompProfile("x64", new Set(DEFAULT_CAPABILITIES));
  const admin = defaultSeccompProfile("x64", new Set(["CAP_SYS_ADMIN"]));
  for (const name of ["mount", "unshare", "setns", "bpf", "perf_event_open", "fsopen"]) {
    assert.equal(verdict(plain, name), "errno 1", name);
    assert.equal(verdict(admin, name), "allowed", name);
  }
  for (const name of ["keyctl", "io_uring_setup", "userfaultfd", "kexec_load"])
    assert.equal(verdict(admin, name), "errno 1");
  assert.deepEqual([verdict(plain, "clone3"), verdict(admin, "clone3")], ["absent", "allowed"]);
  assert.deepEqual([verdict(plain, "clone"), verdict(admin, "clone")], ["judged", "allowed"]);
  assert.deepEqual([verdict(plain, "chroot"), verdict(admin, "chroot")], ["allowed", "errno 1"]);
  assert.deepEqual([verdict(plain, "socket"), verdict(admin, "socket")], ["judged", "judged"]);
  assert.deepEqual([verdict(plain, "open"), verdict(plain, "never_heard_of")], ["allowed", "absent"]);
});

test("cuts the allowed families of sockets around the denied ones", () => {
  const rules = defaultSeccompProfile("x64", new Set()).syscalls.filter((rule) => rule.names.includes("socket"));
  const matches = (family: number) =>
    rules.filter(({ args }) => args?.every(({ value, valueTwo }) => (family & Number(value)) >>> 0 === valueTwo));
  for (let family = 0; family < 64; family++) {
    const expected = family === 38 || family === 40 ? "SCMP_ACT_ERRNO" : "SCMP_ACT_ALLOW";
    assert.deepEqual(
      matches(family).map(({ action }) => action),
      [expected],
      `family ${family}`,
    );
  }
});

test("knows the ABIs of each machine", () => {
  assert.equal(defaultSeccompProfile("arm64", new Set()).architectures[0], "SCMP_ARCH_AARCH64");
  assert.equal(verdict(defaultSeccompProfile("arm64", new Set()), "modify_ldt"), "absent");
});

test("reads a profile of the OCI format as it is", () => {
  const profile = {
    defaultAction: "SCMP_ACT_ALLOW",
    architectures: ["SCMP_ARCH_X86_64"],
    syscalls: [
      { names: ["chmod"], action: "SCMP_ACT_ERRNO", errnoRet: 13 },
      {
        names: ["clone"],
        action: "SCMP_ACT_KILL",
        args: [{ index: 0, value: 1, valueTwo: 2, op: "SCMP_CMP_MASKED_EQ" }],
      },
    ],
  };
  assert.deepEqual(parse(profile), profile);
});

test("applies the conditions of Docker's format", () => {
  const rule = (names: string[], more: object) => ({ names, action: "SCMP_ACT_ALLOW", args: null, ...more });
  const profile = {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: 1,
    archMap: [
      { architecture: "SCMP_ARCH_AARCH64", subArchitectures: ["SCMP_ARCH_ARM"] },
      { architecture: "SCMP_ARCH_X86_64", subArchitectures: ["SCMP_ARCH_X86"] },
    ],
    syscalls: [
      rule(["a"], { includes: { caps: ["CAP_SYS_ADMIN"] }, excludes: {} }),
      rule(["b"], { includes: { caps: ["CAP_SYS_BOOT"] } }),
      rule(["c"], { excludes: { caps: ["CAP_SYS_ADMIN"] } }),
      rule(["d"], { includes: { arches: ["arm64"] } }),
      rule(["e"], { includes: { minKernel: "5.9", arches: ["amd64"] } }),
      rule(["f"], { includes: { minKernel: "5.11" } }),
      { name: "g", action: "SCMP_ACT_ALLOW", errnoRet: 0 },
    ],
  };
  const parsed = parse(profile);
  assert.deepEqual(
    parsed.syscalls.flatMap(({ names }) => names),
    ["a", "e", "g"],
  );
  assert.deepEqual(parsed.architectures, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
  assert.equal(parsed.syscalls[2]?.errnoRet, undefined);
});

test("keeps all 64 bits of a value", () => {
  const text = `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["x"],"action":"SCMP_ACT_LOG",
    "args":[{"index":1,"value":18446744073709551615,"op":"SCMP_CMP_EQ"}]}]}`;
  assert.match(JSON.stringify(parse(text)), /"value":18446744073709551615/);
  assert.throws(() => parse(text.replace("551615", "551616")), /64 bits/);
  assert.throws(() => parse(text.replace("18446744073709551615", "-1")), /64 bits/);
});

test("names the file and the place of what it cannot honour", () => {
  const allow = { defaultAction: "SCMP_ACT_ALLOW" };
  const bad: readonly [unknown, RegExp][] = [
    ["{", /"\/p.json": the file: it is not JSON/],
    [" ".repeat(MAX_PROFILE_BYTES + 1), /longer than/],
    [[], /the profile: it must be an object/],
    [{}, /defaultAction: "nothing" is not a seccomp action/],
    [{ defaultAction: "SCMP_ACT_NOPE" }, /SCMP_ACT_NOPE/],
    [{ ...allow, syscalls: [{ names: ["x"], action: "SCMP_ACT_NOTIFY" }] }, /syscalls\[0\].action.*listener/],
    [{ ...allow, syscalls: [{ names: [], action: "SCMP_ACT_LOG" }] }, /syscalls\[0\].names/],
    [{ ...allow, syscalls: [{ names: ["x"], action: "SCMP_ACT_LOG", args: [{ index: 6 }] }] }, /args\[0\].index/],
    [{ ...allow, syscalls: {} }, /syscalls: it must be a list/],
    [{ ...allow, listenerPath: "/x" }, /listenerPath/],
    [{ ...allow, flags: ["SECCOMP_FILTER_FLAG_NEW_LISTENER"] }, /flags/],
  ];
  for (const [profile, message] of bad) assert.throws(() => parse(profile), message);
});

test("throws nothing but its own error for texts that are cut or altered anywhere", () => {
  const text = JSON.stringify(defaultSeccompProfile("x64", new Set())).slice(-2500);
  const whole = `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["x"],${text.slice(text.indexOf('"action"'))}`;
  for (let at = 0; at < whole.length; at++) {
    for (const altered of [
      whole.slice(0, at),
      `${whole.slice(0, at)}9${whole.slice(at + 1)}`,
      `${whole.slice(0, at)}[${whole.slice(at)}`,
    ]) {
      try {
        parse(altered);
      } catch (error) {
        assert.ok(error instanceof DomainError, String(error));
      }
    }
  }
});
