import { execFile } from "node:child_process";
import { mkdtemp, readFile, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { LayerEntry } from "./tar.ts";

const run = promisify(execFile);
const programs = join(import.meta.dirname, "programs");

const passwd = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/www:/bin/false
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
`;
const group = `root:x:0:
daemon:x:1:
www-data:x:33:
nogroup:x:65534:
`;

/** A directory entry with the usual mode. */
export function directory(path: string, mode = 0o755): LayerEntry {
  return { kind: "directory", path, mode };
}

/** A file with this text. */
export function file(path: string, content: string | Buffer, mode = 0o644): LayerEntry {
  return { kind: "file", path, mode, data: Buffer.from(content) };
}

/**
 * A small system around Debian's dynamic busybox. Applets are hard links: each can be masked by a bind mount of its
 * own, which a symbolic link cannot, and its shell runs no applet that is masked, as the static package's does.
 */
export async function busyboxSystem(): Promise<LayerEntry[]> {
  const { stdout } = await run("/usr/bin/busybox", ["--list"]);
  const applets = stdout.split("\n").filter((name) => name !== "" && name !== "busybox");
  return [
    ...["bin", "dev", "etc", "home", "lib", "lib64", "proc", "root", "run", "sys", "usr", "var", "www"].map((path) =>
      directory(path, path === "root" ? 0o700 : 0o755),
    ),
    ...["usr/local", "usr/local/bin", "var/lib", "var/log"].map((path) => directory(path)),
    directory("tmp", 0o1777),
    { kind: "symbolicLink", path: "var/run", target: "/run" },
    file("etc/passwd", passwd),
    file("etc/group", group),
    ...(await executable("/usr/bin/busybox", "bin/busybox")),
    ...applets.map((name): LayerEntry => ({ kind: "hardLink", path: `bin/${name}`, target: "bin/busybox" })),
    file("bin/pgrep", await readFile(join(programs, "pgrep")), 0o755),
    file("bin/ipcs", await readFile(join(programs, "ipcs")), 0o755),
    file("www/index.html", "<p>it works\n"),
  ];
}

/** nginx from Debian with its libraries, without what the base system already holds, serving /www on this port. */
export async function nginxServer(port: number, base: readonly LayerEntry[]): Promise<LayerEntry[]> {
  const known = new Set(base.map((entry) => entry.path));
  const config = (await readFile(join(programs, "nginx.conf"), "utf8")).replace("PORT", String(port));
  const own = await executable("/usr/sbin/nginx", "usr/sbin/nginx");
  return [
    ...["etc/nginx", "usr/sbin", "var/lib/nginx", "var/log/nginx"].map((path) => directory(path)),
    file("etc/nginx/nginx.conf", config),
    ...own.filter((entry) => !known.has(entry.path)),
  ];
}

/** httpd is busybox's own, with a name and a first line that tell it apart. */
export async function httpdServer(): Promise<LayerEntry[]> {
  return [file("usr/local/bin/httpd-foreground", await readFile(join(programs, "httpd-foreground")), 0o755)];
}

/** A static executable from `programs/NAME.c`. */
export async function compiled(name: string, path: string, mode: number): Promise<LayerEntry> {
  const folder = await mkdtemp(join(tmpdir(), "nacelle-images-"));
  try {
    const output = join(folder, name);
    await run("gcc", ["-Os", "-static", "-s", "-Wl,--build-id=none", "-o", output, join(programs, `${name}.c`)]);
    return file(path, await readFile(output), mode);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** An executable of this machine and the libraries it loads, each where the loader looks for it. */
async function executable(source: string, path: string): Promise<LayerEntry[]> {
  const { stdout } = await run("ldd", [source]);
  const libraries = stdout
    .split("\n")
    .map((line) => /(?:=> )?(\/\S+) \(0x/.exec(line)?.[1])
    .filter((library) => library !== undefined);
  const entries: LayerEntry[] = [file(path, await readFile(await realpath(source)), 0o755)];
  const folders = new Set<string>();
  for (const library of libraries) {
    const target = library.replace(/^\/usr\/lib/, "/lib").slice(1);
    for (const folder of parents(target)) folders.add(folder);
    entries.push(file(target, await readFile(await realpath(library)), 0o755));
  }
  return [...[...folders].map((folder) => directory(folder)), ...entries];
}

function parents(path: string): string[] {
  const parts = path.split("/").slice(0, -1);
  return parts.map((_, index) => parts.slice(0, index + 1).join("/"));
}
