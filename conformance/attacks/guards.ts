/** A place in the source that stops the attack. */
export interface Layer {
  /** From the root of the checkout. */
  readonly file: string;
  /** Once in that file. */
  readonly text: string;
  /** What to put there to take it out. */
  readonly without: string;
}

/** What stands between an attack of this field's past and us, and the test that runs the attack. */
export interface Guard {
  /** The vulnerabilities of other runtimes that it would be ours without. */
  readonly of: readonly string[];
  /** Every layer of it: where attacks are stopped twice, one alone cannot be seen to matter. */
  readonly layers: readonly Layer[];
  /** A test file, and what its test's name begins with: it fails without the guard. */
  readonly test: string;
  readonly name: string;
}

const containers = "conformance/attacks/containers.test.ts";
const requests = "conformance/attacks/requests.test.ts";
const images = "conformance/attacks/images.test.ts";

const volumes = "conformance/attacks/volumes.test.ts";
const rights = "conformance/attacks/rights.test.ts";

export const guards: readonly Guard[] = [
  {
    of: ["CVE-2022-23648"],
    layers: [
      {
        file: "native/src/operation-root.c",
        text: "#define IN_ROOT (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)",
        without: "#define IN_ROOT RESOLVE_NO_MAGICLINKS",
      },
    ],
    test: volumes,
    name: "shows nothing of the host in the volumes",
  },
  {
    of: ["CVE-2026-41579", "CVE-2025-62161"],
    layers: [
      {
        file: "src/container/mountpoints.ts",
        text: "if (made[index]?.toString() === path) continue;",
        without: "if (made.length > 0 || path) continue;",
      },
    ],
    test: volumes,
    name: "is refused where the runtime makes devices",
  },
  {
    of: ["CVE-2025-31133", "CVE-2025-52565"],
    layers: [
      {
        file: "src/oci/spec/mounts.ts",
        text: 'if (destination === "/dev" && source !== "/dev"',
        without: 'if (destination === "" && source !== "/dev"',
      },
    ],
    test: volumes,
    name: "is refused for /dev",
  },
  {
    of: ["CVE-2023-25173", "CVE-2022-2995"],
    layers: [
      {
        file: "src/oci/user.ts",
        text: "const ids = new Set([gid, ...request.supplementalGroups]);",
        without: "const ids = new Set(request.supplementalGroups);",
      },
    ],
    test: rights,
    name: "has the primary group among the others",
  },
  {
    of: ["CVE-2022-24769", "CVE-2022-29162", "CVE-2022-27652"],
    layers: [
      {
        file: "src/oci/spec/capabilities.ts",
        text: "inheritable: kept,",
        without: "inheritable: given,",
      },
    ],
    test: rights,
    name: "inherits no capability",
  },
  {
    of: ["CVE-2019-5736"],
    layers: [{ file: "src/oci/spec/pause.ts", text: "readonly: true", without: "readonly: false" }],
    test: containers,
    name: "cannot write to the binary",
  },
  {
    of: ["CVE-2024-21626"],
    layers: [
      {
        file: "src/oci/spec/process.ts",
        text: "if (/^\\/(proc|dev)(\\/.*)?\\/fd(\\/|$)/.test(cwd)) {",
        without: "if (cwd === undefined) {",
      },
    ],
    test: "src/oci/spec/process.test.ts",
    name: "starts in a clean directory",
  },
  {
    of: ["CVE-2022-31030", "CVE-2022-1708"],
    layers: [
      {
        file: "src/container/exec-sync.ts",
        text: "maxOutput: ports.execs.maxOutputBytes }",
        without: "maxOutput: 1e12 }",
      },
    ],
    test: containers,
    name: "that floods an exec's output",
  },
  {
    of: ["CVE-2021-21334"],
    layers: [
      {
        file: "src/oci/spec/process.ts",
        text: "const entries = new Map<string, string>();",
        without: 'const entries = ((globalThis as unknown as Record<string, Map<string, string>>)["e"] ??= new Map());',
      },
    ],
    test: containers,
    name: "gets the variables of its own request",
  },
  {
    of: ["CVE-2019-14891"],
    layers: [
      {
        file: "native/src/launcher-cgroup.c",
        text: "join_monitors(entry.mnt_dir, place);",
        without: "(void)join_monitors;",
      },
    ],
    test: containers,
    name: "cannot have its monitor killed",
  },
  {
    of: ["CVE-2022-0811"],
    layers: [
      {
        file: "src/server/convert/sandbox-config.ts",
        text: "if (!/^[A-Za-z0-9_@:,-]+([./][A-Za-z0-9_@:,-]+)+$/.test(key)) throw",
        without: "if (key === undefined) throw",
      },
    ],
    test: requests,
    name: "cannot smuggle a second sysctl",
  },
  {
    of: ["CVE-2022-0532"],
    layers: [
      {
        file: "src/oci/spec/sysctls.ts",
        text: "if (owner === undefined) {",
        without: "if (path === undefined || owner === undefined) { if (path) continue;",
      },
    ],
    test: requests,
    name: "for a sysctl that is the whole node's",
  },
  {
    of: ["CVE-2022-0532"],
    layers: [
      {
        file: "src/oci/spec/sysctls.ts",
        text: "if (hosts[owner])",
        without: "if (hosts[owner] && path === undefined)",
      },
    ],
    test: requests,
    name: "for a sysctl that would go to the host's network",
  },
  {
    of: ["CVE-2025-0750"],
    layers: [
      {
        file: "src/server/convert/field.ts",
        text: 'if (value.split("/").includes("..")) throw',
        without: 'if (value.split("/").includes("\\0")) throw',
      },
    ],
    test: requests,
    name: "names no file outside",
  },
  {
    of: ["CVE-2023-6476", "CVE-2024-3154"],
    layers: [
      {
        file: "src/oci/spec/annotations.ts",
        text: "filter(([name]) => passes(name))",
        without: "filter(([name]) => passes(name) || true)",
      },
    ],
    test: requests,
    name: "cannot command the runtime",
  },
  {
    of: ["CVE-2021-41103", "CVE-2024-25621"],
    layers: [{ file: "src/state/store.ts", text: "chmodSync(root, 0o700);", without: "chmodSync(root, 0o711);" }],
    test: requests,
    name: "leaves no folder of state",
  },
  {
    of: ["CVE-2025-4437", "CVE-2026-47262"],
    layers: [
      {
        file: "native/src/operation-root.c",
        text: "uint32_t max = step->number < READ_MAX ? step->number : READ_MAX;",
        without: "uint32_t max = READ_MAX > 0 ? 1u << 30 : 0;",
      },
    ],
    test: images,
    name: "with a passwd of 32 MB",
  },
  {
    of: ["CVE-2024-40635", "CVE-2026-46680"],
    layers: [
      {
        file: "src/oci/user.ts",
        text: "if (Number.isSafeInteger(id) && id >= 0 && id <= MAX_ID) return;",
        without: "if (Number.isSafeInteger(id | 0)) return;",
      },
    ],
    test: "src/oci/user.test.ts",
    name: "refuses ids that would wrap round",
  },
  {
    of: ["CVE-2026-46680"],
    layers: [
      { file: "src/oci/user.ts", text: "if (/^[+-]/.test(name)) throw", without: "if (name === undefined) throw" },
    ],
    test: "src/oci/user.test.ts",
    name: "takes no number that is none",
  },
  {
    of: ["CVE-2020-15257"],
    layers: [{ file: "native/src/monitor-listen.c", text: " && peer.uid == 0;", without: ";" }],
    test: requests,
    name: "of a program that is not root",
  },
  {
    of: ["CVE-2020-15157"],
    layers: [
      {
        file: "src/image/registry/repository.ts",
        text: "const sent = url.origin === origin.origin ? headers : others;",
        without: "const sent = url.origin === undefined ? others : headers;",
      },
    ],
    test: "src/image/registry/repository.test.ts",
    name: "that redirects to another host does not take the credentials there",
  },
  {
    of: ["CVE-2021-41190"],
    layers: [
      {
        file: "src/image/registry/manifest.ts",
        text: "if (isIndex && isImage) throw",
        without: "if (isIndex && isImage && document === undefined) throw",
      },
    ],
    test: "src/image/registry/manifest.test.ts",
    name: "that is both is refused",
  },
  {
    of: ["CVE-2025-58183"],
    layers: [
      {
        file: "src/image/layer/sparse.ts",
        text: "if (segments.length >= maxSegments) throw",
        without: "if (segments.length < 0) throw",
      },
    ],
    test: "src/image/layer/tar-parser.test.ts",
    name: "with a sparse map of a hundred thousand segments",
  },
  {
    of: ["CVE-2023-25153"],
    layers: [
      { file: "src/image/oci-layout.ts", text: "if (size > maxDocumentBytes) throw", without: "if (size < 0) throw" },
    ],
    test: "src/image/oci-layout.test.ts",
    name: "with an index larger than its bound",
  },
  {
    of: ["CVE-2019-16884"],
    layers: [
      { file: "src/oci/spec/path.ts", text: "&& !COVERABLE.has(clean)) {", without: "&& COVERABLE.has(clean)) {" },
    ],
    test: "src/oci/spec/mounts.test.ts",
    name: "refuses mounts that cover what the kernel tells of processes",
  },
  {
    of: ["GHSA-7ww5-4wqc-m92c"],
    layers: [
      {
        file: "src/oci/spec/build.ts",
        text: "maskedPaths(config.security.maskedPaths),",
        without: "config.security.maskedPaths,",
      },
    ],
    test: "src/oci/spec/build.test.ts",
    name: "masks the power meters",
  },
  {
    of: ["CVE-2026-35469"],
    layers: [
      {
        file: "src/streaming/spdy/frame-parser.ts",
        text: "if (length > MAX_CONTROL_BYTES) throw",
        without: "if (length > 0xffffff) throw",
      },
    ],
    test: "src/streaming/spdy/frames.test.ts",
    name: "refuses a control frame beyond all bounds",
  },
  {
    of: ["CVE-2026-35469"],
    layers: [
      {
        file: "src/streaming/spdy/header-block.ts",
        text: "maxOutputLength: MAX_BLOCK_BYTES",
        without: "maxOutputLength: 1 << 30",
      },
    ],
    test: "src/streaming/spdy/header-block.test.ts",
    name: "refuses a bomb",
  },
  {
    of: ["CVE-2022-23471", "CVE-2025-64329"],
    layers: [
      {
        file: "src/streaming/command.ts",
        text: "using session = await command.open(signal);",
        without: "const session = await command.open(signal);",
      },
    ],
    test: "src/streaming/spdy-command.test.ts",
    name: "carries input and output, then tells success",
  },
];
