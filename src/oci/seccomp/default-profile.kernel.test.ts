import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { arch, tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, suite, test } from "node:test";
import { buildSpec } from "../spec/build.ts";
import { DEFAULT_CAPABILITIES } from "../spec/capabilities.ts";
import { sampleConfig, sampleInput, sampleSecurity } from "../spec/sample-input.ts";

/** Makes each call directly, past the C library, and prints the errno that it gets. */
const PROBE = `
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
static char zero[4096];
static void show(const char *what, long result) { printf("%s=%d\\n", what, result < 0 ? errno : 0); }
int main(void) {
  show("unix", syscall(SYS_socket, 1, 1, 0));
  show("inet", syscall(SYS_socket, 2, 1, 0));
  show("netlink", syscall(SYS_socket, 16, 3, 0));
  show("alg", syscall(SYS_socket, 38, 5, 0));
  show("alg+junk", syscall(SYS_socket, 0x100000026L, 5, 0));
  show("vsock", syscall(SYS_socket, 40, 1, 0));
  show("clone(NEWUSER)", syscall(SYS_clone, 0x10000000L, 0, 0, 0, 0));
  show("clone(NEWNS)", syscall(SYS_clone, 0x20000L, 0, 0, 0, 0));
  show("clone3", syscall(435, 0, 0));
  show("unshare", syscall(SYS_unshare, 0x10000000L));
  show("io_uring_setup", syscall(425, 1, zero));
  show("keyctl", syscall(SYS_keyctl, 0, 0, 0));
  show("bpf", syscall(SYS_bpf, 0, zero, 0));
  show("personality(query)", syscall(SYS_personality, 0xffffffffL));
  show("personality(norandom)", syscall(SYS_personality, 0x40000L));
  show("unknown", syscall(5000));
  show("statx", syscall(SYS_statx, -100, "/", 0, 0xfff, zero));
}
`;

const EXPECTED = `unix=0 inet=0 netlink=0 alg=97 alg+junk=97 vsock=97 clone(NEWUSER)=1 clone(NEWNS)=1 clone3=38 unshare=1
  io_uring_setup=1 keyctl=1 bpf=1 personality(query)=0 personality(norandom)=38 unknown=38 statx=0`;

suite("the default profile, in the kernel", () => {
  let base: string;

  before(() => {
    base = mkdtempSync(join(tmpdir(), "nacelle-seccomp-"));
    for (const dir of ["proc", "dev", "sys"]) mkdirSync(join(base, "rootfs", dir), { recursive: true });
    writeFileSync(join(base, "probe.c"), PROBE);
    execFileSync("gcc", ["-static", "-o", join(base, "rootfs/probe"), join(base, "probe.c")]);
  });
  after(() => rmSync(base, { recursive: true }));

  function output(runtime: string, seccomp: "runtimeDefault" | "localhost", profile?: string): readonly string[] {
    const security = { ...sampleSecurity, maskedPaths: [], readonlyPaths: [] };
    const { spec } = buildSpec({
      ...sampleInput,
      config: {
        ...sampleConfig,
        command: ["/probe"],
        security: { ...security, seccomp: { type: seccomp, localhostRef: "/p" } },
      },
      rootfs: join(base, "rootfs"),
      namespaces: { network: "new", ipc: "new", uts: "new", pid: "new", user: "host" },
      files: { resolvConf: "", hosts: "", hostname: "", shm: "" },
      cgroupsPath: `/${basename(base)}-${runtime}`,
      host: {
        ...sampleInput.host,
        arch: arch() === "arm64" ? "arm64" : "x64",
        capabilities: new Set(DEFAULT_CAPABILITIES),
        minOomScoreAdj: 0,
      },
      ...(profile === undefined ? {} : { localhostProfile: profile }),
    });
    writeFileSync(join(base, "config.json"), JSON.stringify(spec));
    const argv = ["--root", join(base, "state"), "run", "--bundle", base, `${basename(base)}-${runtime}`];
    const hugetlb =
      "if [ -d /sys/fs/cgroup/hugetlb ]; then mount -t cgroup -o hugetlb hugetlb /sys/fs/cgroup/hugetlb; fi";
    const script = `${hugetlb}; exec "$@"`;
    const options = ["--mount", "--propagation", "private", "sh", "-c", script, "sh", runtime, ...argv];
    return execFileSync("unshare", options, { encoding: "utf8", timeout: 30_000 }).trim().split("\n");
  }

  for (const runtime of ["runc", "crun"]) {
    test(`answers as the table says under ${runtime}`, () => {
      assert.deepEqual(output(runtime, "runtimeDefault"), EXPECTED.split(/\s+/));
    });

    test(`gives way to a profile of the node under ${runtime}`, () => {
      const profile = {
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [{ names: ["statx"], action: "SCMP_ACT_ERRNO", errnoRet: 5 }],
      };
      const shown = output(runtime, "localhost", JSON.stringify(profile));
      assert.ok(shown.includes("statx=5") && shown.includes("unshare=0"), shown.join(" "));
    });
  }
});
