import { join } from "node:path";
import type { Operation, Operations } from "../launcher/operations.ts";
import { DomainError, hasCode, invalidArgument, kindOf, messageOf } from "../lib/errors.ts";
import type { ContainerConfig } from "../oci/config.ts";
import type { ImageVolume } from "../oci/spec/input.ts";
import { imageVolumes } from "../oci/spec/mounts.ts";
import type { Paths } from "../sandbox/paths.ts";
import type { PinnedUsers } from "../sandbox/users.ts";
import type { Container } from "./container.ts";
import { type HeldImage, IMAGE_VOLUME_FAILED, type MountedImage } from "./held-images.ts";

interface VolumePorts {
  readonly operations: Operations;
  readonly paths: Paths;
  readonly snapshots: { view(layerDirs: readonly string[], target: string, users?: PinnedUsers): readonly Operation[] };
}

const MOUNT_MS = 20_000;
/** What an image has put into its volumes is copied within this; a kubelet waits as long for an answer. */
const COPY_MS = 120_000;

/** Mounts the images that a container asks for as volumes, each where `Paths.imageVolume` says. Frees nothing. */
export async function mountImages(
  ports: VolumePorts,
  container: Container,
  images: readonly MountedImage[],
  users: PinnedUsers | undefined,
): Promise<void> {
  await Promise.all(images.map((mounted) => mountImage(ports, container, mounted, users)));
}

async function mountImage(
  ports: VolumePorts,
  { id, config }: Container,
  { index, image }: MountedImage,
  users: PinnedUsers | undefined,
): Promise<void> {
  const { operations, paths, snapshots } = ports;
  const target = paths.imageVolume(id, index);
  const subPath = config.mounts[index]?.imageSubPath;
  // The directory is bound above the image it is in: one place to unmount.
  const bind: Operation[] = subPath === undefined ? [] : [{ op: "bindInRoot", root: target, path: subPath, target }];
  const make: Operation = { op: "mkdir", path: target, mode: 0o700, parents: true };
  const what = `mounting the image of config.mounts[${index}]`;
  try {
    await operations.perform([make, ...snapshots.view(image.layerDirs, target, users), ...bind], {
      ...{ owner: id, what, deadlineMs: MOUNT_MS },
    });
  } catch (error) {
    throw notMounted(error, index, config);
  }
}

function notMounted(error: unknown, index: number, { mounts }: ContainerConfig): unknown {
  const { image, imageSubPath = "" } = mounts[index] ?? {};
  const prefix = `${IMAGE_VOLUME_FAILED}: config.mounts[${index}]`;
  const faults = { ENOENT: "does not exist", ENOTDIR: "is no directory", ELOOP: "is a loop of symbolic links" };
  const fault = Object.entries(faults).find(([code]) => imageSubPath !== "" && hasCode(error, code));
  if (fault === undefined) {
    // What a retry may get round is told as such, and not as a fault of ours.
    return new DomainError(kindOf(error) ?? "internal", `${prefix}: ${messageOf(error)}`, { cause: error });
  }
  const where = `${prefix}.image_sub_path ${JSON.stringify(imageSubPath)}`;
  return invalidArgument(`${where} ${fault[1]} in image ${JSON.stringify(image?.image)}`);
}

/** What frees the mounts of `mountImages`. */
export function unmountImages(paths: Paths, { id, config }: Container): readonly Operation[] {
  return config.mounts.flatMap(({ image }, index): Operation[] =>
    image === undefined ? [] : [{ op: "unmount", target: paths.imageVolume(id, index) }],
  );
}

/**
 * A directory of ours for each volume that only the image declares, with a copy of what the image has there. The root file
 * system must be mounted and nothing may run in it. What the image has not got belongs to `owner`. The directories lie in the container's writable folder.
 * Aborting ends it between two volumes.
 */
export async function fillImageVolumes(
  { operations, paths }: Pick<VolumePorts, "operations" | "paths">,
  { id, config }: Container,
  image: HeldImage,
  owner: { readonly uid: number; readonly gid: number },
  signal: AbortSignal,
): Promise<readonly ImageVolume[]> {
  const requested = config.mounts.map(({ containerPath }) => containerPath);
  const volumes = imageVolumes(image.config.volumes, requested).map((containerPath, index) => ({
    containerPath,
    hostPath: join(paths.writable(id), "volumes", String(index)),
  }));
  for (const { containerPath, hostPath } of volumes) {
    signal.throwIfAborted();
    const operationList: Operation[] = [
      { op: "mkdir", path: hostPath, mode: 0o755, parents: true },
      { op: "chown", path: hostPath, ...owner },
      { op: "copyInRoot", root: paths.rootfs(id), path: containerPath, target: hostPath },
    ];
    const what = `filling the image's volume ${containerPath}`;
    await operations.perform(operationList, { owner: id, what, deadlineMs: COPY_MS }).catch((error: unknown) => {
      if (!hasCode(error, "ENOTDIR")) throw error;
      throw invalidArgument(`the image's volume ${JSON.stringify(containerPath)} is no directory in it`);
    });
  }
  return volumes;
}
