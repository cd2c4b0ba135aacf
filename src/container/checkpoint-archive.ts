import { posix } from "node:path";
import type { Operation } from "../launcher/operations.ts";
import type { Container } from "./container.ts";

/** What the archive holds, beside the directory `checkpoint` with criu's images. */
export const MEMBERS = ["checkpoint", "config.dump", "spec.dump", "rootfs-diff.tar"] as const;

/** `config.dump` as checkpointctl reads it. */
export function configDump(container: Container, runtime: string, checkpointedAt: Temporal.Instant): string {
  const { id, config, imageId, imageRef, createdAt } = container;
  return JSON.stringify({
    id,
    name: config.metadata.name,
    rootfsImage: imageId,
    rootfsImageRef: imageRef,
    rootfsImageName: config.image.userSpecifiedImage || config.image.image,
    runtime,
    createdTime: createdAt.toString(),
    checkpointedTime: checkpointedAt.toString(),
    restored: false,
  });
}

/** An empty folder for a checkpoint in progress that only root can look into: it will hold a container's memory. */
export function workFolder(work: string): readonly Operation[] {
  return [
    { op: "rmtree", path: work },
    { op: "mkdir", path: work, mode: 0o700, parents: true },
    ...["checkpoint", "criu"].map((name): Operation => ({ op: "mkdir", path: posix.join(work, name), mode: 0o700 })),
  ];
}

/** The files that do not come from criu. tar writes into files that exist, and so are nobody else's to read. */
export function dumps(work: string, config: string, spec: Buffer): readonly Operation[] {
  const write = (name: string, data: Buffer): Operation => {
    return { op: "writeFile", path: posix.join(work, name), mode: 0o600, data };
  };
  return [
    write("config.dump", Buffer.from(config)),
    write("spec.dump", spec),
    write("rootfs-diff.tar", Buffer.alloc(0)),
    write("archive.tar", Buffer.alloc(0)),
  ];
}

/** What the container has written, as overlayfs keeps it: a deleted file is a character device 0:0. */
export function diffArgs(tar: string, work: string, upper: string): readonly string[] {
  const attributes = ["--numeric-owner", "--sparse", "--xattrs", "--xattrs-include=*"];
  return [tar, "--create", `--file=${posix.join(work, "rootfs-diff.tar")}`, ...attributes, `--directory=${upper}`, "."];
}

export function archiveArgs(tar: string, work: string): readonly string[] {
  const file = `--file=${posix.join(work, "archive.tar")}`;
  return [tar, "--create", file, "--numeric-owner", "--sparse", `--directory=${work}`, ...MEMBERS];
}
